"""Opening lines: what is read, and errors that name file and row."""

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import orjson
import pytest

from datasets_scripts.ultrachat.build import SAMPLE
from datasets_scripts.ultrachat.openings.opening import Opening, Sector, read
from ultra.errors import InputError, SettingError

GOOD = b'{"sector": "world", "topic": "Birds", "opening": "Why do birds sing?"}\n'
OTHER = b'{"sector": "creation", "opening": "  Write a haiku.\\n"}\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "mine.jsonl"


def test_openings_come_in_their_order_and_know_their_file(file: Path) -> None:
    file.write_bytes(OTHER + b"\n" + GOOD)
    assert list(read(file, "all")) == [
        Opening("creation", "", "Write a haiku.", "mine.jsonl"),
        Opening("world", "Birds", "Why do birds sing?", "mine.jsonl"),
    ]


def test_compressed_openings_are_read(file: Path) -> None:
    file.write_bytes(gzip.compress(GOOD))
    assert [opening.topic for opening in read(file, "all")] == ["Birds"]


def test_one_sector_can_be_chosen(file: Path) -> None:
    file.write_bytes(GOOD + OTHER + GOOD)
    assert [opening.sector for opening in read(file, "world")] == ["world", "world"]


@pytest.mark.parametrize("content", [b"", GOOD])
def test_a_sector_without_an_opening_is_an_error(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(SettingError, match=r"mine\.jsonl: holds no opening of sector material"):
        list(read(file, "material"))


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (b'{"sector": "sports", "opening": "x"}', "sector 'sports' is none of world, creation"),
        (b'{"opening": "x"}', "sector None is none of"),
        (b'{"sector": ["world"], "opening": "x"}', "is none of"),
        (b'{"sector": "world"}', "'opening' must be a text"),
        (b'{"sector": "world", "opening": " \\n"}', "'opening' must be a text"),
        (b'{"sector": "world", "opening": 3}', "'opening' must be a text"),
        (b'{"sector": "world", "opening": "x", "topic": null}', "and so must 'topic'"),
    ],
)
def test_a_wrong_opening_is_named(file: Path, line: bytes, what: str) -> None:
    file.write_bytes(GOOD + OTHER + line + b"\n" + GOOD)
    with pytest.raises(InputError) as caught:
        list(read(file, "world"))
    assert str(caught.value).startswith(f"{file}: opening 3: ")
    assert what in str(caught.value)


def test_an_opening_is_read_as_it_was_written(file: Path) -> None:
    opening = Opening("material", "", "Sum up: it rained.", "a (b)", "Emails", "it rained.", "m")
    file.write_bytes(orjson.dumps(opening.row()))
    assert list(read(file, "all")) == [opening]
    assert "topic" in Opening("world", "", "x", "").row()
    assert "kind" not in Opening("world", "", "x", "").row()


@pytest.mark.parametrize("key", ["source", "kind", "material", "model"])
def test_what_is_given_beyond_must_be_a_text(file: Path, key: str) -> None:
    row: dict[str, Any] = {"sector": "world", "opening": "x", key: 3}
    file.write_bytes(orjson.dumps(row))
    with pytest.raises(InputError, match=f"'{key}'"):
        list(read(file, "all"))


def test_openings_are_read_when_they_are_asked_for(file: Path) -> None:
    file.write_bytes(GOOD + b"broken\n")
    openings: Iterator[Opening] = read(file, "all")
    assert next(openings).topic == "Birds"
    with pytest.raises(InputError, match=r"mine\.jsonl:2"):
        next(openings)


@pytest.mark.parametrize("line", [b'{"sector": ', b"[1]", b"\xff", b'{"opening": "\\ud800"}'])
def test_a_line_that_is_no_object_is_named(file: Path, line: bytes) -> None:
    file.write_bytes(GOOD + line + b"\n")
    with pytest.raises(InputError) as caught:
        list(read(file, "all"))
    assert str(caught.value).startswith(f"{file}:2: ")


def test_an_archive_that_breaks_off_is_named(file: Path) -> None:
    file.write_bytes(gzip.compress(GOOD * 50)[:-12])
    with pytest.raises(InputError, match=r"mine\.jsonl"):
        list(read(file, "all"))


@pytest.mark.parametrize("sector", get_args(Sector))
def test_the_sample_has_openings_of_every_sector(sector: Sector) -> None:
    openings = list(read(SAMPLE, sector))
    assert len(openings) >= 5
    assert all(opening.topic for opening in openings)
    assert len({opening.text for opening in openings}) == len(openings)
    assert sum(1 for line in SAMPLE.read_bytes().splitlines() if orjson.loads(line)) == 24
