"""The raw input in every form, and what in it cannot be read."""

import errno
import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from datasets_scripts.pipeline import Drop
from datasets_scripts.sharegpt import inputs, pages
from datasets_scripts.sharegpt.pages import RawConversation
from tests.datasets_scripts.helpers import (
    page,
    row,
    tarred,
    zipped,
    zstd,
)
from tests.datasets_scripts.sharegpt.raw import (
    BOM,
    LINES,
    MANY,
    PAGE,
    ROW,
    TWO,
    Read,
    drops,
    ids,
    read_all,
)
from ultra.errors import InputError

# Forms

FORMS = [
    ("x.html", PAGE, "a"),
    ("x.HTM", PAGE, "a"),
    ("x.html", BOM + PAGE, "a"),
    ("x.html.gz", gzip.compress(PAGE), "a"),
    ("x.htm.zst", zstd(PAGE), "a"),
    ("x.html", zstd(PAGE), "a"),
    ("x.json", PAGE, "a"),
    ("x.json", BOM + PAGE, "a"),
    ("x.jsonl", b"\n " + PAGE, "a"),
    ("x.json.gz", gzip.compress(PAGE), "a"),
    ("x.json", orjson.dumps(TWO), "ab"),
    ("x.json", json.dumps(TWO, indent=2).encode("utf-8"), "ab"),
    ("x.json", BOM + b" \n" + orjson.dumps(TWO), "ab"),
    ("x.JSON.zst", zstd(orjson.dumps(TWO)), "ab"),
    ("x.json.gz", gzip.compress(BOM + orjson.dumps(TWO)), "ab"),
    ("x.json", orjson.dumps(ROW), "a"),
    ("x.json", json.dumps(ROW, indent=1).encode("ascii"), "a"),
    ("x.html.json", orjson.dumps(TWO), "ab"),
    ("x.jsonl", LINES, "ab"),
    ("x.ndjson", LINES, "ab"),
    ("x.NDJSON.gz", gzip.compress(LINES), "ab"),
    ("x.jsonl", BOM + LINES.replace(b"\n", b"\r\n\r\n"), "ab"),
    ("x.jsonl", LINES.rstrip(), "ab"),
    ("x.jsonl.gz", gzip.compress(LINES) + gzip.compress(LINES), "abab"),
    ("x.jsonl.zst", zstd(LINES) + zstd(LINES), "abab"),
]


@pytest.mark.parametrize("small", [2**20, 10])
@pytest.mark.parametrize(("name", "raw", "wanted"), FORMS)
def test_conversations_are_read_from_every_form(
    name: str, raw: bytes, wanted: str, small: int, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "SMALL", small)  # of 10 bytes: each file is read as a stream
    found, ignored = read(**{name: raw})
    assert ids(found) == list(wanted)
    assert isinstance(found[0], RawConversation)
    assert found[0].items == ROW["conversations"]
    assert {one.source for one in found} == {name}
    assert not ignored


@pytest.mark.parametrize(("name", "raw", "wanted"), FORMS)
def test_a_file_is_the_same_by_itself_in_a_folder_and_in_an_archive(
    name: str, raw: bytes, wanted: str, tmp_path: Path, read: Read
) -> None:
    in_folder, _ = read(**{name: raw})
    by_itself, _ = read_all(tmp_path / name)
    assert by_itself == in_folder
    (tmp_path / name).unlink()
    in_archive, _ = read(**{"t.zip": zipped({name: raw})})
    assert ids(in_archive) == ids(in_folder) == list(wanted)


@pytest.mark.parametrize("raw", [orjson.dumps(TWO), gzip.compress(LINES), LINES])
def test_a_single_file_is_read_whatever_its_name(raw: bytes, tmp_path: Path) -> None:
    (tmp_path / "sg_90k_part1").write_bytes(raw)
    found, _ = read_all(tmp_path / "sg_90k_part1")
    assert [(one.id, one.source) for one in found] == [("a", "sg_90k_part1"), ("b", "sg_90k_part1")]


@pytest.mark.parametrize("raw", [PAGE, gzip.compress(PAGE), b"\r\n" + PAGE])
def test_a_single_page_is_read_whatever_its_name(raw: bytes, tmp_path: Path) -> None:
    (tmp_path / "saved page.txt").write_bytes(raw)
    assert ids(read_all(tmp_path / "saved page.txt")[0]) == ["a"]


def test_an_archive_is_told_by_its_bytes(tmp_path: Path) -> None:
    members = {"x.html": PAGE}
    for name, raw in (("z", zipped(members)), ("t", tarred(members))):
        (tmp_path / name).write_bytes(raw)
        assert ids(read_all(tmp_path / name)[0]) == ["a"]


def test_folders_are_searched_and_hidden_files_are_not(read: Read) -> None:
    found, ignored = read(**{"deep/er/x.html": PAGE, "deep/._x.html": PAGE, "x.txt": PAGE})
    assert [one.source for one in found] == ["deep/er/x.html"]
    assert not ignored


def test_the_records_are_the_same_at_one_time_and_piece_by_piece(
    tmp_path: Path, read: Read
) -> None:
    found, _ = read(**{"x.html": PAGE, "y.jsonl": LINES, "z.zip": zipped({"x.html": PAGE})})
    assert list(inputs.read_all(tmp_path)) == found


# What breaks off, what is too large, what is something else


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("x.html.gz", gzip.compress(PAGE)[:-20]),
        ("x.html.gz", gzip.compress(PAGE)[:20] + b"!" * 40),
        ("x.html.zst", zstd(PAGE)[:-20]),
        ("x.html", zstd(PAGE)[:-20]),
        ("x.json.gz", gzip.compress(orjson.dumps(TWO))[:-20]),
        ("x.jsonl.gz", gzip.compress(LINES)[:-20]),
        ("x.jsonl.gz", gzip.compress(LINES)[:5]),
        ("x.json.zst", zstd(orjson.dumps(TWO))[:-20]),
        ("x.jsonl.zst", zstd(LINES)[:-20]),
        ("x.jsonl", zstd(LINES)[:-20]),
    ],
)
def test_a_packed_file_that_breaks_off_is_one_drop(name: str, raw: bytes, read: Read) -> None:
    found, ignored = read(**{name: raw, "y.html": PAGE})
    assert ids(found)[-1:] == ["a"]
    ((where, drop),) = drops(found)
    assert (where, drop.reason) == (name, "truncated")
    assert drop.detail
    assert "\n" not in drop.detail
    assert not ignored


@pytest.mark.parametrize("small", [2**20, 10])
def test_a_dump_that_breaks_off_keeps_what_could_be_read(
    small: int, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "SMALL", small)
    found, _ = read(**{"x.json": orjson.dumps(MANY)[:-5]})
    assert ids(found) == [one["id"] for one in MANY[:-1]]
    assert drops(found) == [("x.json", Drop("truncated", "breaks off after 249 conversations"))]


def test_a_page_is_read_up_to_a_size(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "LARGE_PAGE", 3000)
    long = page(row("long", "q", "r" * 5000))
    found, _ = read(
        **{"m.zip": zipped({"long.html": long, "x.html": PAGE}), "z.html.gz": gzip.compress(long)}
    )
    assert ids(found) == ["a"]
    assert {(where, drop.reason) for where, drop in drops(found)} == {
        ("m.zip/long.html", "truncated"),
        ("z.html.gz", "truncated"),
    }


def test_a_page_is_read_up_to_the_same_size_in_a_folder(
    read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "LARGE_PAGE", 3000)
    found, _ = read(**{"long.html": page(row("long", "q", "r" * 5000))})
    assert [drop.reason for _, drop in drops(found)] == ["truncated"]


@pytest.mark.parametrize("small", [2**20, 1])
@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("package.json", b'{"name": "x", "items": 3}'),
        ("package.json", json.dumps({"name": "x", "scripts": {}}, indent=2).encode()),
        ("numbers.json", b"[1, 2, 3]"),
        ("log.jsonl", b'{"event": 1}\n' * 300),
        ("log.jsonl", b'{"id": null, "event": 1}\n' * 300),
        ("log.jsonl.gz", gzip.compress(b'{"event": 1}\n' * 300)),
        ("empty.json", b"[]"),
        ("empty.jsonl", b"\n"),
    ],
)
def test_a_file_of_something_else_is_passed_over_and_listed(
    name: str, raw: bytes, small: int, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "SMALL", small)
    found, ignored = read(**{name: raw, "x.html": PAGE})
    assert [one.source for one in found] == ["x.html"]
    assert ignored == [name]


@pytest.mark.parametrize("small", [2**20, 10])
def test_a_dump_is_not_judged_by_its_first_rows_having_no_turns(
    small: int, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "SMALL", small)
    failed = [{"id": f"bad{n}", "error": "timeout"} for n in range(101)]
    found, ignored = read(**{"x.json": orjson.dumps([*failed, *MANY[:30]])})
    assert ids(found) == [one["id"] for one in MANY[:30]]
    assert [one.id for one in found[:101]] == [one["id"] for one in failed]
    assert drops(found) == [("x.json", Drop("no_content"))] * 101
    assert not ignored


@pytest.mark.parametrize("look", [inputs.require, inputs.total_size, read_all])
def test_an_input_that_is_not_there_is_an_error(
    look: Callable[[Path], object], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="nowhere: no such file or folder"):
        look(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["notes.txt", ".hidden.html", "table.parquet"])
def test_a_folder_without_pages_and_dumps_is_an_error(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("x")
    with pytest.raises(InputError, match=r"holds no \.html, \.json or \.jsonl"):
        inputs.require(tmp_path)


@pytest.mark.parametrize("name", ["x.html", "a/b/x.jsonl.zst", "x.tgz", "X.JSON", "x.htm.gz"])
def test_a_folder_in_which_something_may_be_read_is_none(name: str, tmp_path: Path) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("x")
    inputs.require(tmp_path)


@pytest.mark.parametrize("look", [inputs.require, inputs.total_size, read_all])
def test_an_input_that_is_neither_a_file_nor_a_folder_is_an_error(
    look: Callable[[Path], object], tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe.html")
    with pytest.raises(InputError, match=r"pipe\.html: neither a file nor a folder"):
        look(tmp_path / "pipe.html")


@pytest.mark.parametrize("look", [inputs.require, inputs.total_size, read_all])
def test_an_input_that_is_a_loop_of_links_is_an_error(
    look: Callable[[Path], object], tmp_path: Path
) -> None:
    (tmp_path / "loop.html").symlink_to(tmp_path / "loop.html")
    with pytest.raises(InputError, match=r"loop\.html: cannot be read"):
        look(tmp_path / "loop.html")


@pytest.mark.parametrize("name", ["x.html", "x.json"])
def test_a_file_that_goes_while_it_waits_is_an_error_that_names_it(
    name: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(LINES)
    (piece,) = inputs.pieces(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(InputError, match=f"{name}: cannot be read"):
        list(inputs.read(piece, []))


def test_a_file_name_that_is_not_utf8_is_no_obstacle(tmp_path: Path) -> None:
    try:
        (tmp_path / os.fsdecode(b"caf\xe9.html")).write_bytes(PAGE)
    except OSError:
        pytest.skip("this file system takes only names in UTF-8")
    ((found,), _) = read_all(tmp_path)
    assert found.source == "caf\N{REPLACEMENT CHARACTER}.html"
    assert found.id == "a"


# Names that cannot be read

Deny = Callable[[str], None]


@pytest.fixture
def deny(monkeypatch: pytest.MonkeyPatch) -> Deny:
    """Forbid to open a name; a chmod would not keep out the superuser."""

    def run(name: str, reason: int = errno.EACCES) -> None:
        def refusing(call: Callable[..., Any]) -> Callable[..., Any]:
            def refuse(path: Any, *rest: Any, **named: Any) -> Any:
                if os.fspath(path).endswith(name):
                    raise OSError(reason, os.strerror(reason), path)
                return call(path, *rest, **named)

            return refuse

        monkeypatch.setattr("builtins.open", refusing(open))
        monkeypatch.setattr(os, "scandir", refusing(os.scandir))

    return run


@pytest.mark.parametrize("name", ["gone.html", "gone.json", "gone.zip", "gone", "a/gone.jsonl"])
def test_a_link_to_nowhere_is_one_drop(name: str, tmp_path: Path, read: Read) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / name).symlink_to(tmp_path / "nowhere")
    found, ignored = read(**{"x.html": PAGE})
    assert ids(found) == ["a"]
    assert drops(found) == [(name, Drop("unreadable", "No such file or directory"))]
    assert not ignored
    assert inputs.total_size(tmp_path) == len(PAGE)


def test_a_link_to_itself_is_one_drop(tmp_path: Path, read: Read) -> None:
    (tmp_path / "loop.html").symlink_to(tmp_path / "loop.html")
    found, _ = read(**{"x.html": PAGE})
    assert drops(found) == [("loop.html", Drop("unreadable", os.strerror(errno.ELOOP)))]
    assert ids(found) == ["a"]
    assert inputs.total_size(tmp_path) == len(PAGE)


@pytest.mark.parametrize("small", [2**20, 10])
@pytest.mark.parametrize("name", ["shut.html", "shut.json", "shut.json.gz", "shut"])
def test_a_file_that_may_not_be_read_is_one_drop(
    name: str, small: int, read: Read, deny: Deny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "SMALL", small)
    deny(name)
    found, ignored = read(**{name: LINES, "x.html": PAGE})
    assert drops(found) == [(name, Drop("unreadable", "Permission denied"))]
    assert ids(found) == ["a"]
    assert not ignored


def test_a_folder_that_may_not_be_read_is_one_drop(tmp_path: Path, read: Read, deny: Deny) -> None:
    deny("shut")
    found, _ = read(**{"a/shut/x.html": PAGE, "b.html": PAGE})
    assert drops(found) == [("a/shut", Drop("unreadable", "Permission denied"))]
    assert ids(found) == ["a"]
    assert inputs.total_size(tmp_path) == len(PAGE)


@pytest.mark.parametrize("name", ["shut", "shut.json"])
def test_an_input_that_may_not_be_read_is_an_error(name: str, tmp_path: Path, deny: Deny) -> None:
    root = tmp_path / name
    root.write_bytes(LINES) if root.suffix else root.mkdir()
    deny(name)
    with pytest.raises(InputError, match=f"{name}: cannot be read"):
        read_all(root)


@pytest.mark.parametrize("name", ["x.html", "x.json.gz", "x", "folder"])
def test_a_failing_disk_is_an_error_and_no_drop(
    name: str, tmp_path: Path, read: Read, deny: Callable[[str, int], None]
) -> None:
    deny(name, errno.EIO)
    with pytest.raises(InputError, match=f"{name}: cannot be read"):
        read(**{name if name != "folder" else "folder/x.html": PAGE})


def test_a_pipe_is_listed_and_never_opened(tmp_path: Path, read: Read) -> None:
    os.mkfifo(tmp_path / "pipe.html")
    os.mkfifo(tmp_path / "pipe")
    found, ignored = read(**{"x.html": PAGE})
    assert [one.source for one in found] == ["x.html"]
    assert ignored == ["pipe.html"]
    inputs.total_size(tmp_path)


def test_a_linked_folder_is_read_once_and_a_loop_ends(tmp_path: Path, read: Read) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "x.html").write_bytes(PAGE)
    root = tmp_path / "root"
    (root / "b").mkdir(parents=True)
    (root / "b" / "y.html").write_bytes(PAGE)
    (root / "c").symlink_to(tmp_path / "elsewhere")
    (root / "d").symlink_to(tmp_path / "elsewhere")
    (root / "b" / "up").symlink_to(root)
    found, _ = read_all(root)
    assert [one.source for one in found] == ["b/y.html", "c/x.html"]
    assert inputs.total_size(root) == 2 * len(PAGE)


@pytest.mark.parametrize(
    ("start", "found"),
    [
        (b"<!doctype html><html>", True),
        (BOM + b"\r\n <!DOCTYPE\nHTML>", True),
        (b"<HTML lang=en>", True),
        (b"<htmlx>", False),
        (b"<?xml version='1.0'?>", False),
        (b"function () { return '<html>' }", False),
        (b"x", False),
    ],
)
def test_in_a_folder_a_name_without_a_dot_is_a_page_if_it_begins_as_one(
    start: bytes, found: bool, read: Read
) -> None:
    names = ("AbC12", "a/saved page", "x.html_files/css2")
    records, ignored = read(**dict.fromkeys(names, start + PAGE), **{"x.js": b"<html>"})
    assert sorted(one.source for one in records) == (sorted(names) if found else [])
    assert len(ids(records)) == len(records)
    assert not ignored


# Rows


def test_raw_values_that_are_odd_stop_nothing_behind_them(read: Read) -> None:
    odd: list[Any] = [3, None, "x", [], {}, {"id": "c", "items": None}]
    found, _ = read(**{"x.json": orjson.dumps([ROW, *odd, TWO[1]])})
    assert ids(found) == ["a", "b"]
    assert drops(found) == [("x.json", Drop("no_content"))] * 6


@pytest.mark.parametrize("form", ["array", "lines"])
def test_a_bad_row_costs_only_itself(form: str, read: Read) -> None:
    bad = b'{"id": "x", "conversations": ["Caf\xe9"'
    rows = [orjson.dumps(TWO[0]), bad, orjson.dumps(TWO[1])]
    raw = (
        b"[%b]" % b", ".join([rows[0], bad + b"]}", rows[2]])
        if form == "array"
        else b"\n".join(rows)
    )
    found, _ = read(**{"x.json": raw})
    assert [one.id for one in found] == ["a", "", "b"]
    ((_, drop),) = drops(found)
    assert drop.reason == "not_utf8"
    assert drop.detail.startswith('{"id": "x"')


def test_a_row_is_what_pages_makes_of_it(read: Read) -> None:
    found, _ = read(**{"x.jsonl": LINES})
    assert found == [pages.read_record("x.jsonl", one) for one in TWO]
