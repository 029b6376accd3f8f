"""The raw input as pieces of work: saved pages, dumps and archives of them, here or on the Hub.

A piece is some small files or some rows of a dump. :func:`pieces` hands them out without reading
more than it must; :func:`read` takes the conversations out of one, in any process. What a file is,
is found by looking: an archive or a compressed file by its first bytes, a page by ``<`` or by its
name, else a dump.
"""

import io
import os
import re
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Self, cast

import xxhash

from datasets_scripts.sharegpt import dumps, pages
from datasets_scripts.sharegpt.pages import RawConversation, Unreadable
from ultra import jsonl
from ultra.errors import InputError

_PAGE = re.compile(r"\.html?(\.gz|\.zst)?$", re.IGNORECASE)
_NAME = re.compile(r"\.(html?|jsonl?|zip|tar|tgz)(\.gz|\.zst)?$", re.IGNORECASE)
_PACKED = re.compile(r"\.(zip|tar|tgz|gz|zst)$", re.IGNORECASE)
_ARCHIVE = re.compile(r"\.(zip|tar|tgz)(\.gz|\.zst)?$", re.IGNORECASE)
_ZIP = (b"PK\3\4", b"PK\5\6")
_HUB = re.compile(
    r"hf://datasets/(?P<repository>[^/@]+/[^/@]+)(@(?P<revision>[^/]+))?(/(?P<path>.*))?"
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

    ``hf://datasets/org/name@revision/path`` is downloaded into the Hub's cache.

    Raises:
        InputError: the Hub has no such files, or cannot be reached.
    """
    if not address.startswith("hf://"):
        return Path(address), {}
    found = _HUB.fullmatch(address)
    if found is None:
        raise InputError(f"{address}: not of the form hf://datasets/org/name@revision/path")
    repository, revision, inside = found["repository"], found["revision"], found["path"] or ""
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
        InputError: it is not there, or holds no file that could be a page or a dump.
    """
    if next(_find(root), None) is None:
        raise InputError(f"{root}: holds no .html, .json or .jsonl file and no archive of them")


def total_size(root: Path) -> int:
    """Bytes of the input, for a progress bar."""
    return sum(os.stat(path).st_size for path in _find(root) if os.path.exists(path))


def pieces(root: Path) -> Iterator[Piece]:
    """Cut the input into pieces, in an order that only its names decide.

    Raises:
        InputError: a file cannot be opened.
    """
    start = len(os.path.join(root if root.is_dir() else root.parent, ""))
    batch = _Batch()
    for path in _find(root):
        source = jsonl.scrub(path[start:] if path != str(root) else root.name)
        try:
            state = os.stat(path)
            if path != str(root) and _is_small(path, state.st_size):
                identity = f"{source}\0{state.st_size}\0{state.st_mtime_ns}".encode()
                yield from batch.add(source, path, state.st_size, identity)
            else:
                with open(path, "rb") as file:
                    yield from _stream(file, source, batch)
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror})") from error
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


def _find(root: Path) -> Iterator[str]:
    """The files of an input. Names, not paths: there may be a million of them."""
    if not root.is_dir():
        if not root.exists():
            raise InputError(f"{root}: no such file or folder")
        yield str(root)
        return
    for parent, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            if _NAME.search(name) and not name.startswith("."):
                yield os.path.join(parent, name)


def _is_small(name: str, size: int) -> bool:
    """Whether a process may read it whole: any page, and what is small as it is."""
    return bool(_PAGE.search(name)) or (size <= SMALL and not _PACKED.search(name))


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
    except (zipfile.BadZipFile, ValueError) as error:  # ValueError: a name is no UTF-8
        yield _rest(source, error)
        return
    with archive:
        for entry in filter(lambda entry: _is_wanted(entry.filename), archive.infolist()):
            inside = f"{source}/{entry.filename}"
            try:
                with archive.open(entry) as member:
                    yield from _member(cast(BinaryIO, member), inside, batch)
            except (*dumps.DAMAGE, RuntimeError, OSError) as error:
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
    return bool(_NAME.search(base)) and not base.startswith(".") and not _ARCHIVE.search(base)


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
    if _PAGE.search(source) or opened.peek(64).lstrip().startswith(b"<"):
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
        yield Piece(xxhash.xxh3_128_digest(source.encode()), 0, (), source)


def _rest(source: str, error: Exception) -> Piece:
    broken = dumps.Broken("truncated", f"the file breaks off ({error})")
    source = jsonl.scrub(source)
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
    except OSError as error:
        raise InputError(f"{file!s}: cannot be read ({error.strerror})") from error
    if _PAGE.search(source) or raw[:64].lstrip().startswith(b"<"):
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
