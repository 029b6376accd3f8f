"""How an input is cut into pieces, and the memory that it takes."""

import gzip
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import orjson
import pytest

from datasets_scripts.sharegpt import dumps, inputs
from tests.conftest import ROOT
from tests.datasets_scripts.helpers import (
    Json,
    row,
    zipped,
)
from tests.datasets_scripts.sharegpt.raw import (
    MANY,
    PAGE,
    TWO,
    ids,
)


def test_small_files_go_together_and_large_ones_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "FILES", 4)
    monkeypatch.setattr(inputs, "SMALL", 2000)
    for n in range(9):
        (tmp_path / f"{n}.html").write_bytes(PAGE)
    (tmp_path / "large.json").write_bytes(orjson.dumps(MANY))
    pieces = list(inputs.pieces(tmp_path))
    assert [len(piece.files) for piece in pieces if piece.files] == [4, 4, 1]
    assert {piece.source for piece in pieces if not piece.files} == {"large.json"}
    assert sum(piece.size for piece in pieces) == inputs.total_size(tmp_path)


def test_a_piece_holds_few_bytes_of_an_archive_and_few_of_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "SMALL", 3 * len(PAGE))
    (tmp_path / "m.zip").write_bytes(zipped({f"{n}.html": PAGE for n in range(7)}))
    assert [len(piece.files) for piece in inputs.pieces(tmp_path / "m.zip")] == [3, 3, 1]
    monkeypatch.setattr(inputs, "BATCH", 2 * len(PAGE))
    for n in range(5):
        (tmp_path / f"{n}.html").write_bytes(PAGE)
    (tmp_path / "m.zip").unlink()
    assert [len(piece.files) for piece in inputs.pieces(tmp_path)] == [2, 2, 1]


def test_the_order_of_pieces_is_that_of_names(tmp_path: Path) -> None:
    for name in ("b/x", "a/y", "c", "a/b/z"):
        (tmp_path / f"{name}.html").parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{name}.html").write_bytes(PAGE)
    (piece,) = inputs.pieces(tmp_path)
    assert [source for source, _ in piece.files] == ["c.html", "a/y.html", "a/b/z.html", "b/x.html"]


def keys(root: Path) -> list[bytes]:
    return [piece.key for piece in inputs.pieces(root)]


def test_a_piece_keeps_its_key_until_its_content_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "SMALL", 2000)
    (tmp_path / "a.html").write_bytes(PAGE)
    (tmp_path / "b.zip").write_bytes(zipped({"x.html": PAGE, "y.json": orjson.dumps(TWO)}))
    (tmp_path / "c.json").write_bytes(orjson.dumps(MANY))
    before = keys(tmp_path)
    assert keys(tmp_path) == before
    assert len(set(before)) == len(before) >= 3
    other = [*MANY[:-1], MANY[-1] | {"views": 1}]
    (tmp_path / "c.json").write_bytes(orjson.dumps(other))
    assert keys(tmp_path) != before
    (tmp_path / "c.json").write_bytes(orjson.dumps(MANY))
    assert keys(tmp_path) == before
    os.utime(tmp_path / "a.html", ns=(1, 1))
    changed = keys(tmp_path)
    assert len(set(changed) - set(before)) == 1


def test_a_file_that_may_be_read_at_last_is_another_piece(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_bytes(PAGE)
    before, then = keys(tmp_path), (tmp_path / "a.html").stat().st_ctime_ns
    while (tmp_path / "a.html").stat().st_ctime_ns == then:  # a file system's clock is coarse
        (tmp_path / "a.html").chmod(0o600)
    assert keys(tmp_path) != before


def test_pieces_of_equal_content_are_told_apart_by_file_and_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut, line = dumps.cut, orjson.dumps(TWO[1]) + b"\n"
    monkeypatch.setattr(dumps, "cut", lambda file: cut(file, len(line)))
    for name in ("a.jsonl.gz", "b.jsonl.gz"):
        (tmp_path / name).write_bytes(gzip.compress(line * 3))
    pieces = list(inputs.pieces(tmp_path))
    assert len({piece.rows for piece in pieces}) == 1
    assert len({piece.key for piece in pieces}) == len(pieces) == 6


def test_a_file_that_changes_changes_no_other_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "FILES", 2)
    for n in range(6):
        (tmp_path / f"{n}.html").write_bytes(PAGE)
    before = keys(tmp_path)
    (tmp_path / "1.html").write_bytes(PAGE + b" ")
    after = keys(tmp_path)
    assert [one == other for one, other in zip(before, after, strict=True)] == [False, True, True]


def test_a_key_does_not_depend_on_where_the_folder_is(tmp_path: Path) -> None:
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "x.json.gz").write_bytes(gzip.compress(orjson.dumps(MANY), mtime=0))
    assert keys(tmp_path / "one") == keys(tmp_path / "two")


def test_a_dump_that_is_cut_anywhere_gives_the_same_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "SMALL", 10)
    cut = dumps.cut
    monkeypatch.setattr(dumps, "cut", lambda file: cut(file, 700))
    (tmp_path / "x.json").write_bytes(orjson.dumps(MANY))
    assert len(keys(tmp_path)) > 20
    assert ids(list(inputs.read_all(tmp_path))) == [one["id"] for one in MANY]


# Memory

_MEASURE = """
import re, sys
from pathlib import Path
from datasets_scripts.sharegpt import inputs
def peak():  # that of getrusage is the parent's, if it had more when it started this process
    return int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
start = peak()
count = sum(1 for piece in inputs.pieces(Path(sys.argv[1])) for _ in inputs.read(piece, []))
print(count, peak() - start)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no account of memory here")
@pytest.mark.parametrize("form", ["array", "guesses fail", "tar"])
def test_memory_does_not_grow_with_the_size_of_a_dump(form: str, tmp_path: Path) -> None:
    fields: Json = {"views": 1} if form == "guesses fail" else {}
    one = orjson.dumps(row("x", "question " * 100, "[{answer}, {" * 400, **fields))
    count = 60 * 2**20 // len(one)
    file = tmp_path / ("x.tar" if form == "tar" else "x.json")
    with file.open("wb") as opened:
        size = count * (len(one) + 1) + 1
        if form == "tar":
            member = tarfile.TarInfo("x.json")
            member.size = size
            opened.write(member.tobuf())
        opened.write(b"[" + one)
        for _ in range(count - 1):
            opened.write(b"," + one)
        opened.write(b"]" + bytes(-size % 512 + 1024 if form == "tar" else 0))
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    found, grown = map(int, done.stdout.split())
    assert found == count
    assert 0 < grown < 40 * 1024  # KiB
