"""The raw input as pieces of work: saved pages, dumps and archives of them, here or on the Hub.

A piece is some small files or some rows of a dump. :func:`pieces` hands them out without reading
more than it must; :func:`read` takes the conversations out of one, in any process. What a file is,
is found by looking: an archive or a compressed file by its first bytes, a page by ``<`` or by its
name, else a dump. A name in a folder that cannot be read is a drop; what is no file, like a pipe,
and a file of something else are listed.
"""

import io
import os
import re
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Self, cast
from urllib.parse import unquote

import xxhash

from datasets_scripts.sharegpt import dumps, folders, pages
from datasets_scripts.sharegpt.folders import Found
from datasets_scripts.sharegpt.pages import RawConversation, Unreadable
from ultra import jsonl
from ultra.errors import InputError

_PAGE = re.compile(r"\.html?(\.gz|\.zst)?$", re.IGNORECASE)
_PACKED = re.compile(r"\.(zip|tar|tgz|gz|zst)$", re.IGNORECASE)
_ARCHIVE = re.compile(r"\.(zip|tar|tgz)(\.gz|\.zst)?$", re.IGNORECASE)
_ZIP = (b"PK\3\4", b"PK\5\6")
_MARKUP = re.compile(rb"(\xef\xbb\xbf)?\s*<")
_HUB = re.compile(
    r"hf://datasets/(?P<repository>[^/@]+/[^/@]+)"
    r"(@(?P<revision>refs/pr/\d+|refs/convert/\w+|[^/]+))?(/(?P<path>.*))?"
)

FILES = 64
"""Small files in a piece, at most."""
SMALL = 2**20
"""Bytes of a file that is handed out whole, at most, if it is no page."""
BATCH = 2**23
"""Bytes of the files of a piece: no more are added."""
LARGE_PAGE = 2**26
"""Bytes of a saved page that are read; one that is larger is truncated there."""

Record = RawConversation | Unreadable


@dataclass(frozen=True, slots=True)
class Piece:
    """Work for one process: small files (with their bytes, if they stood in an archive), or rows.

    ``key`` tells it from every other piece of this input and of a changed one; ``size`` is the
    bytes of the input behind it.
    """

    key: bytes
    size: int
    files: tuple[tuple[str, str | bytes], ...] = ()
    source: str = ""
    rows: dumps.Rows | dumps.Broken | None = None


def fetch(address: str) -> tuple[Path, dict[str, str]]:
    """The input as a path, and for the manifest where it is from if it is on the Hub.

    ``hf://datasets/org/name@revision/path`` is downloaded into the Hub's cache. A slash in a
    revision is written ``%2F``, except in those that the Hub makes itself, such as ``refs/pr/1``.

    Raises:
        InputError: the Hub has no such files, or cannot be reached.
    """
    if not address.startswith("hf://"):
        return Path(address), {}
    found = _HUB.fullmatch(address)
    if found is None:
        raise InputError(f"{address}: not of the form hf://datasets/org/name@revision/path")
    repository, inside = found["repository"], found["path"] or ""
    revision = unquote(found["revision"]) if found["revision"] else None
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    wanted = [inside, f"{inside.rstrip('/')}/*"] if inside else None
    try:
        folder = snapshot_download(
            repository, repo_type="dataset", revision=revision, allow_patterns=wanted
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        why = " ".join(str(error).split())
        raise InputError(f"{address}: cannot be downloaded ({why})") from error
    # The cache keeps each commit in a folder that is named after it.
    return Path(folder, inside), {"address": address, "commit": Path(folder).name}


def require(root: Path) -> None:
    """Hold an input to have something to read in it.

    Raises:
        InputError: it cannot be read, or holds no file that could be a page or a dump.
    """
    if next(_find(root), None) is None:
        raise InputError(f"{root}: holds no .html, .json or .jsonl file and no archive of them")


def total_size(root: Path) -> int:
    """Bytes of the input, for a progress bar."""
    states = (found.state for found in _find(root))
    return sum(state.st_size for state in states if not isinstance(state, str))


def pieces(root: Path) -> Iterator[Piece]:
    """Cut the input into pieces, in an order that only its names decide.

    Raises:
        InputError: the input cannot be read, or goes while it is read.
    """
    batch = _Batch()
    for found in _find(root):
        if isinstance(found.state, str):
            yield _broken(found.source, dumps.Broken("unreadable", found.state))
        elif not stat.S_ISREG(found.state.st_mode):
            yield _ignored(found.source)
        elif found.path != str(root) and _is_small(found.path, found.state.st_size):
            yield from batch.add(found.source, found.path, found.state.st_size, _identity(found))
        else:
            yield from _opened(found, root, batch)
    yield from batch.flush()


def read(piece: Piece, ignored: list[str]) -> Iterator[Record]:
    """Take the conversations out of a piece; files without any are added to ``ignored``."""
    for source, file in piece.files:
        yield from _read_file(source, file, ignored)
    if piece.rows is not None:
        yield from _read_rows(piece.source, piece.rows)
    elif not piece.files:
        ignored.append(piece.source)


def read_all(root: Path) -> Iterator[Record]:
    """All conversations of an input, one at a time."""
    for piece in pieces(root):
        yield from read(piece, [])


_find = folders.find


def _is_small(name: str, size: int) -> bool:
    """Whether a process may read it whole: any page, and what is small as it is."""
    return bool(_PAGE.search(name)) or (size <= SMALL and not _PACKED.search(name))


def _identity(found: Found) -> bytes:
    """Whatever changes with the bytes of a file, or with who may read them."""
    state = cast(os.stat_result, found.state)
    times = f"{state.st_mtime_ns}\0{state.st_ctime_ns}"
    return f"{found.source}\0{state.st_size}\0{times}".encode()


class _Batch:
    """Small files until they make a piece."""

    def __init__(self) -> None:
        self._files: list[tuple[str, str | bytes]] = []
        self._size = self._held = 0
        self._state = xxhash.xxh3_128()

    def add(self, source: str, file: str | bytes, size: int, identity: bytes) -> Iterator[Piece]:
        self._files.append((source, file))
        self._state.update(identity + b"\0")
        self._size += size
        self._held += len(file) if isinstance(file, bytes) else 0
        if len(self._files) >= FILES or self._size >= BATCH or self._held >= SMALL:
            yield from self.flush()

    def flush(self) -> Iterator[Piece]:
        if self._files:
            yield Piece(self._state.digest(), self._size, tuple(self._files))
        self._files, self._size, self._held = [], 0, 0
        self._state.reset()


def _opened(found: Found, root: Path, batch: _Batch) -> Iterator[Piece]:
    """The pieces of a file that is not handed out whole."""
    try:
        with open(found.path, "rb") as file:
            yield from _stream(file, found.source, batch)
    except OSError as error:
        if isinstance(error, PermissionError) and found.path != str(root):
            yield _broken(found.source, dumps.Broken("unreadable", str(error.strerror)))
            return
        raise InputError(f"{found.path}: cannot be read ({error.strerror})") from error


def _stream(raw: io.BufferedReader, source: str, batch: _Batch) -> Iterator[Piece]:
    """The pieces of a large or packed file, of which only reading shows what comes."""
    done = 0
    for piece in _members(raw, source, batch):
        at = max(done, raw.tell())  # an archive's list of members stands at its end
        yield replace(piece, size=piece.size + at - done)
        done = at


def _members(raw: io.BufferedReader, source: str, batch: _Batch) -> Iterator[Piece]:
    if raw.peek(4).startswith(_ZIP):
        yield from _zip_members(raw, source, batch)
        return
    last: Piece | None = None
    try:
        opened = jsonl.unpacked(raw)
        if opened.peek(512)[257:262] != b"ustar":
            yield from _member(opened, source, batch)
            return
        with tarfile.open(fileobj=opened, mode="r|", tarinfo=_Header) as stream:
            for member in stream:
                file = stream.extractfile(member) if member.isreg() else None
                if file is not None and _is_wanted(member.name):
                    for last in _member(cast(BinaryIO, file), f"{source}/{member.name}", batch):
                        yield last
    except dumps.DAMAGE as error:
        if last is None or not isinstance(last.rows, dumps.Broken):  # which has said so
            yield _rest(source, error)


def _zip_members(raw: io.BufferedReader, source: str, batch: _Batch) -> Iterator[Piece]:
    try:
        archive = zipfile.ZipFile(raw)
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        # NotImplementedError: of a later version of zip; ValueError: a name is no UTF-8
        yield _rest(source, error)
        return
    with archive:
        for entry in filter(lambda entry: _is_wanted(entry.filename), archive.infolist()):
            inside = f"{source}/{entry.filename}"
            try:
                with archive.open(entry) as member:
                    yield from _member(cast(BinaryIO, member), inside, batch)
            except (*dumps.DAMAGE, RuntimeError, OSError, UnicodeDecodeError) as error:
                # RuntimeError is what zipfile raises for a member with a password
                yield _rest(inside, error)


_BAD_HEADER = (tarfile.InvalidHeaderError, tarfile.TruncatedHeaderError)  # type: ignore[attr-defined]


class _Header(tarfile.TarInfo):
    """A damaged header is an error; tarfile takes it for the end of the archive."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(archive)
        except _BAD_HEADER as error:
            raise tarfile.ReadError(str(error)) from error


def _is_wanted(name: str) -> bool:
    """Whether a file inside an archive is a page or a dump. Archives in archives are not opened."""
    base = PurePosixPath(name).name
    return (
        bool(folders.NAME.search(base)) and not base.startswith(".") and not _ARCHIVE.search(base)
    )


def _member(file: BinaryIO, source: str, batch: _Batch) -> Iterator[Piece]:
    """A page or dump inside an archive, or by itself."""
    opened, source = jsonl.unpacked(file), jsonl.scrub(source)
    try:
        yield from _content(opened, source, batch)
    except jsonl.BROKEN as error:
        if opened is file:
            raise  # it is the archive that breaks off
        yield _rest(source, error)


def _content(opened: io.BufferedReader, source: str, batch: _Batch) -> Iterator[Piece]:
    if _PAGE.search(source) or _MARKUP.match(opened.peek(64)):
        page = _read(opened)
        yield from batch.add(source, page, 0, source.encode() + xxhash.xxh3_128_digest(page))
        return
    number = -1
    for number, rows in enumerate(dumps.cut(opened)):
        key = xxhash.xxh3_128(f"{source}\0{number}\0{rows[1]}\0".encode())
        key.update(rows[0] if isinstance(rows[0], bytes) else rows[0].encode())
        if not number and isinstance(rows, dumps.Rows) and not dumps.holds_conversations(rows):
            yield Piece(key.digest(), 0, (), source)
            return
        yield Piece(key.digest(), 0, (), source, rows)
    if number < 0:  # blank
        yield _ignored(source)


def _ignored(source: str) -> Piece:
    return Piece(xxhash.xxh3_128_digest(source.encode()), 0, (), source)


def _rest(source: str, error: Exception) -> Piece:
    return _broken(jsonl.scrub(source), dumps.Broken("truncated", f"the file breaks off ({error})"))


def _broken(source: str, broken: dumps.Broken) -> Piece:
    return Piece(xxhash.xxh3_128_digest(f"{source}\0{broken}".encode()), 0, (), source, broken)


def _read_file(source: str, file: str | bytes, ignored: list[str]) -> Iterator[Record]:
    """A small file: a page, or the rows of a dump."""
    try:
        raw = file if isinstance(file, bytes) else _read_path(file)
        if jsonl.is_packed(raw):
            raw = _read(jsonl.unpacked(io.BytesIO(raw)))
    except jsonl.BROKEN as error:
        yield pages.unreadable(source, "truncated", str(error))
        return
    except PermissionError as error:
        yield pages.unreadable(source, "unreadable", str(error.strerror))
        return
    except OSError as error:
        raise InputError(f"{file!s}: cannot be read ({error.strerror})") from error
    if _PAGE.search(source) or _MARKUP.match(raw[:64]):
        yield pages.read_page(source, raw)
        return
    for number, rows in enumerate(dumps.cut(io.BytesIO(raw))):
        if not number and isinstance(rows, dumps.Rows) and not dumps.holds_conversations(rows):
            break
        yield from _read_rows(source, rows)
    else:
        if raw.strip(b"\xef\xbb\xbf \t\r\n"):
            return
    ignored.append(source)


def _read_path(path: str) -> bytes:
    # One read, into bytes of the right size.
    with open(path, "rb", buffering=0) as file:
        return file.read(min(os.fstat(file.fileno()).st_size, LARGE_PAGE)) or b""


def _read(file: BinaryIO) -> bytes:
    """A page, up to the size that one may have; a packed one may hold any number of zeros."""
    parts, left = [], LARGE_PAGE
    while left and (part := file.read(min(left, 2**20))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _read_rows(source: str, rows: dumps.Rows | dumps.Broken) -> Iterator[Record]:
    if isinstance(rows, dumps.Broken):
        yield pages.unreadable(source, *rows)
        return
    for value, raw in dumps.rows(rows):
        if value is pages.BAD:
            yield pages.bad_record(source, raw)
        else:
            yield pages.read_record(source, value)
