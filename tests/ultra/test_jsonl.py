import gzip
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ultra import jsonl
from ultra.errors import InputError

texts = st.text(st.characters(exclude_categories=["Cs"]))  # no lone surrogates
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
    max_leaves=10,
)
objects = st.dictionaries(texts, values, max_size=5)
untimed = settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
ROWS = [{"id": "1", "text": "a\u2028b\u0085c\r\n\0\"'\\ 😀"}, {"id": "2", "text": ""}]


@untimed
@given(st.lists(objects, max_size=5))
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "round-trip.jsonl"
    assert jsonl.write(path, rows) == len(rows)
    assert list(jsonl.read(path)) == rows
    assert path.read_bytes().count(b"\n") == len(rows)


def in_frames(raw: bytes) -> bytes:
    """As ``cat a.zst b.zst`` gives it."""
    return b"".join(zstandard.compress(line) for line in raw.splitlines(keepends=True))


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress, in_frames])
def test_compression_is_known_by_content_whatever_the_name(
    pack: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(pack(b"".join(map(jsonl.dump, ROWS))))
    assert list(jsonl.read(path)) == ROWS


def test_blank_lines_and_a_missing_last_newline_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a":1}\n\n  \r\n{"a":2}')
    assert list(jsonl.read(path)) == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize("content", [b"", b"\n", zstandard.compress(b"")])
def test_an_empty_file_holds_no_rows(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(content)
    assert list(jsonl.read(tmp_path / "rows.jsonl")) == []


@pytest.mark.parametrize("line", [b'{"a":', b"[1]", b"1", b'{"a":"\xff"}', b'{"a":NaN}'])
def test_a_bad_line_is_named(line: bytes, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a":1}\n\n' + line + b"\n")
    with pytest.raises(InputError, match=r"rows\.jsonl:3: "):
        list(jsonl.read(path))


@pytest.mark.parametrize("name", ["gone.jsonl", "."])
def test_a_missing_file_or_a_folder_is_an_input_error(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        list(jsonl.read(tmp_path / name))


def cut(raw: bytes) -> bytes:
    return raw[: len(raw) // 2]


def scratched(raw: bytes) -> bytes:
    return raw[: len(raw) // 2] + b"scratched" + raw[len(raw) // 2 + 9 :]


def with_rubbish_behind(raw: bytes) -> bytes:
    return raw + b"rubbish behind the end"


@pytest.mark.parametrize(
    ("pack", "damage"),
    [
        (gzip.compress, cut),
        (gzip.compress, scratched),
        (gzip.compress, with_rubbish_behind),
        (zstandard.compress, cut),
        (zstandard.compress, scratched),
        (zstandard.compress, with_rubbish_behind),
        (in_frames, cut),
    ],
)
def test_a_damaged_compressed_file_is_an_input_error_that_names_it(
    pack: Callable[[bytes], bytes], damage: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    rows = [{"a": random.Random(number).getrandbits(60)} for number in range(1000)]
    path = tmp_path / "rows.jsonl"
    path.write_bytes(damage(pack(b"".join(map(jsonl.dump, rows)))))
    with pytest.raises(InputError, match=r"rows\.jsonl"):
        list(jsonl.read(path))


@pytest.mark.parametrize(
    ("pack", "damage"),
    [
        (gzip.compress, cut),
        (gzip.compress, scratched),
        (zstandard.compress, cut),
        (zstandard.compress, with_rubbish_behind),
    ],
)
def test_damage_is_told_while_reading(
    pack: Callable[[bytes], bytes], damage: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(damage(pack(random.Random(0).randbytes(100_000))))
    with jsonl.open_binary(path) as file, pytest.raises(jsonl.BROKEN):
        file.read()
    path.write_bytes(damage(pack(b'{"a":1}\n' * 50_000)))
    with pytest.raises(
        InputError, match=r"rows\.jsonl: damaged or breaks off \(.+\); get it again"
    ):
        list(jsonl.read(path))


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress, in_frames])
def test_a_file_is_read_in_pieces_of_any_size(
    pack: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    raw = b"".join(jsonl.dump({"a": number}) for number in range(20_000))
    path = tmp_path / "rows.jsonl"
    path.write_bytes(pack(raw))
    for size in (7777, len(raw), -1):
        with jsonl.open_binary(path) as file:
            assert b"".join(iter(lambda: file.read(size), b"")) == raw  # noqa: B023


def test_a_failing_source_writes_nothing(tmp_path: Path) -> None:
    def rows() -> Any:
        yield {"a": 1}
        raise InputError("source")

    with pytest.raises(InputError, match="source"):
        jsonl.write(tmp_path / "rows.jsonl", rows())
    assert list(tmp_path.iterdir()) == []


@untimed
@given(objects)
def test_a_digest_does_not_depend_on_the_order_of_keys(value: dict[str, Any]) -> None:
    assert jsonl.digest(dict(reversed(value.items()))) == jsonl.digest(value)


@pytest.mark.parametrize("other", [{"a": "1"}, {"a": 1, "b": None}, {"A": 1}, [{"a": 1}]])
def test_a_digest_tells_values_apart(other: Any) -> None:
    assert jsonl.digest(other) != jsonl.digest({"a": 1})


def test_a_digest_is_the_same_on_every_machine() -> None:
    assert jsonl.digest({"b": "é", "a": [1, None]}) == "b1d54b661e094be0d98a74ef435e7d53"


@pytest.mark.parametrize(
    ("text", "clean"),
    [("a\ud83d", "a\ufffd"), ("\ude00b", "\ufffdb"), ("\ud83d\ude00", "😀"), ("é😀\0", "é😀\0")],
)
def test_halves_of_surrogate_pairs_are_replaced_and_pairs_joined(text: str, clean: str) -> None:
    assert jsonl.scrub(text) == clean
