"""Archives of pages and dumps: whole, odd and damaged."""

import gzip
import io
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from datasets_scripts.pipeline import Drop
from datasets_scripts.sharegpt import inputs
from datasets_scripts.sharegpt.inputs import Record
from tests.datasets_scripts.helpers import (
    page,
    row,
    tarred,
    zipped,
    zstd,
)
from tests.datasets_scripts.sharegpt.raw import (
    LINES,
    PAGE,
    TWO,
    Read,
    drops,
    ids,
    read_all,
)

MEMBERS = {
    "a.html": PAGE,
    "deep/er/b.html.gz": gzip.compress(page(row("b", "q", "r"))),
    "deep/c.json": orjson.dumps([row("c", "q", "r")]),
    "deep/d.jsonl.zst": zstd(orjson.dumps(row("d", "q", "r"))),
    "deep/bad.html": b"<html>",
    "other.json": b'{"name": "x"}',
    "notes.txt": b"x",
    ".hidden.html": PAGE,
    "__MACOSX/deep/._c.json": b"\0\5\x16\7",
}
ARCHIVES = {
    "m.zip": zipped(MEMBERS),
    "m.tar": tarred(MEMBERS),
    "m.tar.gz": gzip.compress(tarred(MEMBERS)),
    "m.tgz": gzip.compress(tarred(MEMBERS)),
    "m.tar.zst": zstd(tarred(MEMBERS)),
    "stored.ZIP": zipped(MEMBERS, zipfile.ZIP_STORED),
    "bz2.zip": zipped(MEMBERS, zipfile.ZIP_BZIP2),
    "lzma.zip": zipped(MEMBERS, zipfile.ZIP_LZMA),
}


@pytest.mark.parametrize("chunk", [2**20, 100])
@pytest.mark.parametrize("name", ARCHIVES)
def test_an_archive_holds_what_the_folder_in_it_holds(
    name: str, chunk: int, tmp_path: Path, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "SMALL", chunk)
    in_folder, ignored = read(**{f"{name}/{inside}": raw for inside, raw in MEMBERS.items()})
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed" / name).write_bytes(ARCHIVES[name])
    in_archive, also_ignored = read_all(tmp_path / "packed")
    by_itself, _ = read_all(tmp_path / "packed" / name)

    def by_source(found: list[Record]) -> list[Record]:
        return sorted(found, key=lambda one: one.source)

    assert by_source(in_archive) == by_source(by_itself) == by_source(in_folder)
    assert sorted(ids(in_archive)) == ["a", "b", "c", "d"]
    assert drops(in_archive) == [(f"{name}/deep/bad.html", Drop("no_next_data"))]
    assert ignored == also_ignored == [f"{name}/other.json"]


@pytest.mark.parametrize(
    "pack",
    [
        zipped,
        lambda files: gzip.compress(tarred(files)),
        tarred,
    ],
)
def test_an_archive_in_an_archive_is_passed_over(pack: Callable[..., bytes], read: Read) -> None:
    inner = zipped({"z.html": PAGE})
    found, _ = read(**{"m.zip": pack({"nested.zip": inner, "x.html": PAGE, "t.tar.gz": inner})})
    assert [one.source for one in found] == ["m.zip/x.html"]


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_a_member_name_is_never_a_path(pack: Callable[..., bytes], read: Read) -> None:
    names = ["/etc/x.html", "../../x.html", "C:\\x.html", "a/../b//x.html", "x" * 300 + ".html"]
    found, _ = read(**{"m.zip": pack({name: page(row(name, "q", "r")) for name in names})})
    assert sorted(ids(found)) == sorted(names)
    assert all(one.source.startswith("m.zip/") for one in found)


def test_a_member_name_in_tar_that_is_not_utf8_is_replaced(read: Read) -> None:
    name = os.fsdecode(b"caf\xe9.html")
    found, _ = read(**{"m.tar": tarred({name: PAGE, name.replace("html", "json"): LINES})})
    assert {one.source for one in found} == {
        "m.tar/caf\N{REPLACEMENT CHARACTER}.html",
        "m.tar/caf\N{REPLACEMENT CHARACTER}.json",
    }
    assert len(ids(found)) == 3


def test_a_member_name_in_zip_that_is_not_utf8_is_no_obstacle(read: Read) -> None:
    raw = zipped({"caf!.html": PAGE})  # without the flag of UTF-8: read in the old code page
    found, _ = read(**{"m.zip": raw.replace(b"caf!", b"caf\xe9")})
    assert ids(found) == ["a"]


def test_a_member_name_in_zip_that_claims_to_be_utf8_is_no_obstacle(read: Read) -> None:
    raw = zipped({"caf\N{LATIN SMALL LETTER E WITH ACUTE}.html": PAGE, "b.jsonl": LINES})
    found, _ = read(**{"m.zip": raw.replace(b"caf\xc3\xa9", b"caf\xff\xff")})
    assert found


def test_a_large_dump_in_an_archive_is_many_pieces(tmp_path: Path) -> None:
    rows = [row(f"id{n}", "q" * 10_000, "r" * 10_000) for n in range(200)]
    (tmp_path / "m.tar.gz").write_bytes(gzip.compress(tarred({"x.json": orjson.dumps(rows)}), 1))
    pieces = list(inputs.pieces(tmp_path))
    assert len(pieces) >= 3
    assert len({piece.key for piece in pieces}) == len(pieces)
    assert sum(piece.size for piece in pieces) == pytest.approx(
        (tmp_path / "m.tar.gz").stat().st_size, rel=0.5
    )
    assert ids(list(inputs.read_all(tmp_path))) == [one["id"] for one in rows]


def with_flag(raw: bytes, name: bytes) -> bytes:
    """A zip archive with one member marked as encrypted."""
    damaged = bytearray(raw)
    local, central = raw.index(name) - 30, raw.rindex(name) - 46
    damaged[local + 6] |= 1
    damaged[central + 8] |= 1
    return bytes(damaged)


def with_other(raw: bytes, old: bytes, new: bytes) -> bytes:
    assert raw.count(old) >= 1
    assert len(old) == len(new)
    return raw.replace(old, new, 1)


STORED = zipped({"1.html": PAGE, "2.json": orjson.dumps(TWO), "3.html": PAGE}, zipfile.ZIP_STORED)


@pytest.mark.parametrize(
    ("raw", "source", "detail"),
    [
        (with_flag(STORED, b"2.json"), "m.zip/2.json", "encrypted"),
        (with_other(STORED, b'"id":"b"', b'"id":"c"'), "m.zip/2.json", "CRC"),
        (with_other(STORED, b"2.json", b"!.json"), "m.zip/2.json", "differ"),
    ],
)
def test_a_bad_member_of_a_zip_costs_only_itself(
    raw: bytes, source: str, detail: str, read: Read
) -> None:
    found, _ = read(**{"m.zip": raw})
    assert ids(found) == ["a", "a"]
    ((where, drop),) = drops(found)
    assert (where, drop.reason) == (source, "truncated")
    assert detail in drop.detail


def test_a_page_with_a_bad_checksum_in_a_zip_is_one_drop(read: Read) -> None:
    found, _ = read(**{"m.zip": with_other(STORED, b'"id":"a"', b'"id":"c"')})
    assert sorted(ids(found)) == ["a", "a", "b"]
    assert [(where, drop.reason) for where, drop in drops(found)] == [("m.zip/1.html", "truncated")]


def damaged_zip(kind: str) -> bytes:
    if kind == "list of members":
        place = STORED.index(b"PK\1\2")
        return STORED[:place] + b"PK\0\0" + STORED[place + 4 :]
    packed = zipped({"1.html": PAGE, "2.json": orjson.dumps(TWO)}, zipfile.ZIP_LZMA)
    place = packed.index(b"2.json") + 20
    return packed[:place] + b"\xff" * 8 + packed[place + 8 :]


@pytest.mark.parametrize("place", [6, 8, 10, 16])
@pytest.mark.parametrize("part", [b"PK\1\2", b"PK\3\4"])
@pytest.mark.parametrize("value", [99, 0xFF])
def test_a_bad_byte_of_a_zip_is_no_exception(
    part: bytes, place: int, value: int, read: Read
) -> None:
    raw = bytearray(zipped({"x.json": LINES, "caf\N{LATIN SMALL LETTER E WITH ACUTE}.html": PAGE}))
    raw[raw.rindex(part) + place] = value
    found, _ = read(**{"m.zip": bytes(raw), "z.html": PAGE})
    assert found[-1].source == "z.html" or found[0].source == "z.html"


def test_a_zip_of_a_version_to_come_is_a_drop(read: Read) -> None:
    raw = bytearray(STORED)
    raw[raw.index(b"PK\1\2") + 6] = 99
    found, _ = read(**{"m.zip": bytes(raw), "x.html": PAGE})
    assert ids(found) == ["a"]
    ((where, drop),) = drops(found)
    assert (where, drop.reason) == ("m.zip", "truncated")
    assert "9.9" in drop.detail


def test_a_member_whose_two_names_differ_in_their_letters_costs_only_itself(read: Read) -> None:
    raw = zipped({"caf\N{LATIN SMALL LETTER E WITH ACUTE}.html": PAGE, "b.jsonl": LINES})
    found, _ = read(**{"m.zip": with_other(raw, b"caf\xc3\xa9", b"caf\xff\xff")})
    assert ids(found) == ["a", "b"]
    assert [drop.reason for _, drop in drops(found)] == ["truncated"]


@pytest.mark.parametrize("kind", ["list of members", "lzma"])
def test_a_damaged_zip_is_a_drop_and_no_exception(kind: str, read: Read) -> None:
    found, _ = read(**{"m.zip": damaged_zip(kind), "x.html": PAGE})
    assert "a" in ids(found)
    assert [drop.reason for _, drop in drops(found)] == ["truncated"]


def test_a_zip_that_breaks_off_is_one_drop_that_says_so(read: Read) -> None:
    found, _ = read(**{"m.zip": STORED[:-30], "x.html": PAGE})
    assert ids(found) == ["a"]
    assert [drop.reason for _, drop in drops(found)] == ["truncated"]


TAR = tarred({f"{n}.html": page(row(f"{n}", "q", os.urandom(20_000).hex())) for n in range(9)})


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("m.tar", TAR[: len(TAR) // 2]),
        ("m.tar.gz", gzip.compress(TAR)[: len(TAR) // 4]),
        ("m.tgz", gzip.compress(TAR)[: len(TAR) // 4]),
        ("m.tar.zst", zstd(TAR)[: len(TAR) // 4]),
    ],
)
def test_of_a_tar_that_breaks_off_what_was_before_is_kept(
    name: str, raw: bytes, read: Read
) -> None:
    found, _ = read(**{name: raw, "x.html": PAGE})
    kept = sorted(ids(found))
    assert kept == [*map(str, range(len(kept) - 1)), "a"]
    assert 2 < len(kept) < 9
    ((where, drop),) = drops(found)
    assert (where, drop.reason) == (name, "truncated")


DUMP = [row(f"{n}", "q", os.urandom(500).hex()) for n in range(3000)]


@pytest.mark.parametrize(
    "pack", [bytes, gzip.compress, zstd], ids=["m.tar", "m.tar.gz", "m.tar.zst"]
)
def test_of_a_tar_that_breaks_off_in_a_dump_the_rows_before_are_kept(
    pack: Callable[[bytes], bytes], read: Read
) -> None:
    raw = pack(tarred({"1.html": PAGE, "2.json": orjson.dumps(DUMP), "3.html": PAGE}))
    found, _ = read(**{"m.tar": raw[: len(raw) * 3 // 5]})
    kept = [id for id in ids(found) if id != "a"]
    assert kept == [one["id"] for one in DUMP[: len(kept)]]
    assert len(kept) > 1500
    assert ids(found).count("a") == 1
    assert [drop.reason for _, drop in drops(found)] == ["truncated"]


@pytest.mark.parametrize(
    "pack",
    [
        zipped,
        tarred,
    ],
)
@pytest.mark.parametrize("name", ["2.html.gz", "2.jsonl.gz", "2.json.zst"])
def test_a_packed_member_that_breaks_off_costs_only_itself(
    name: str, pack: Callable[..., bytes], read: Read
) -> None:
    raw = (zstd if name.endswith("zst") else gzip.compress)(PAGE if "html" in name else LINES)
    members = {"1.html": PAGE, name: raw[:-20], "3.html": PAGE}
    found, _ = read(**{"m.tgz": pack(members)})
    assert ids(found) == ["a", "a"]
    ((where, drop),) = drops(found)
    assert (where, drop.reason) == (f"m.tgz/{name}", "truncated")


@pytest.mark.parametrize("kind", ["damaged", "cut"])
def test_a_bad_header_in_a_tar_is_reported(kind: str, read: Read) -> None:
    place = TAR.index(b"5.html")
    raw = TAR[: place + 100] if kind == "cut" else with_other(TAR, b"5.html", b"6.html")
    found, _ = read(**{"m.tar": raw})
    assert len(ids(found)) == 5
    assert [drop.reason for _, drop in drops(found)] == ["truncated"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_a_link_in_a_tar_costs_nothing_that_follows(kind: bytes, read: Read) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        link = tarfile.TarInfo("link.html")
        link.type, link.linkname = kind, "x.html"
        archive.addfile(link)
        member = tarfile.TarInfo("x.html")
        member.size = len(PAGE)
        archive.addfile(member, io.BytesIO(PAGE))
    found, _ = read(**{"m.tar": packed.getvalue()})
    assert ids(found) == ["a"]


@pytest.mark.parametrize("kind", [tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_what_is_no_file_in_a_tar_is_passed_over(kind: bytes, read: Read) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        odd = tarfile.TarInfo("folder.json")
        odd.type = kind
        archive.addfile(odd)
        member = tarfile.TarInfo("x.html")
        member.size = len(PAGE)
        archive.addfile(member, io.BytesIO(PAGE))
    found, ignored = read(**{"m.tar": packed.getvalue()})
    assert [one.source for one in found] == ["m.tar/x.html"]
    assert not ignored


def test_a_blank_file_in_an_archive_is_listed_too(read: Read) -> None:
    _, ignored = read(**{"m.zip": zipped({"empty.jsonl": b"\n", "x.html": PAGE})})
    assert ignored == ["m.zip/empty.jsonl"]
