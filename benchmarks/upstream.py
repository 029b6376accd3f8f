"""Files that others published and that are not ours to ship: found here, or fetched once, and held
to their digest.

``sources.csv`` knows each by name, public address, revision, sha256, size and licence. A file is
looked for in the folder that ULTRA_BENCHMARKS_DIR names, then in the cache (ULTRA_CACHE, or
``ultra-suite`` in XDG_CACHE_HOME), and is fetched into the cache if it stands in neither.
"""

import csv
import functools
import hashlib
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from benchmarks import published
from ultra import command, files
from ultra.errors import InputError, SettingError

if TYPE_CHECKING:
    from httpx2 import Response

SOURCES = Path(__file__).parent / "sources.csv"
TRIES = 4
PAUSE_SECONDS = 1.0
"""Before the second try; twice as long before each further one."""
TIMEOUT_SECONDS = 30.0
"""For a connection, and for each piece of an answer."""
MOST_BYTES = 64 * 2**20
"""More than any file of a size that is not known may have."""


@dataclass(frozen=True)
class Source:
    """What is known of a published file.

    ``address`` is empty for what was derived and is nowhere to be had; ``bytes`` is 0 where the
    size is not known. Where the digest of the published file is not known, ``sha256`` is that of an
    equal one which was made again, and ``content`` that of the instructions and outputs in it.
    """

    name: str
    address: str
    revision: str
    sha256: str
    content: str
    bytes: int
    licence: str


@functools.cache
def sources() -> dict[str, Source]:
    """All published files, by name."""
    with SOURCES.open(encoding="utf-8", newline="") as file:
        return {row["name"]: _source(row) for row in csv.DictReader(file)}


def _source(row: dict[str, str]) -> Source:
    address = row["address"].replace("{revision}", row["revision"])
    return Source(**{**row, "address": address, "bytes": int(row["bytes"] or 0)})  # type: ignore[arg-type]


def cache() -> Path:
    """The folder of what was fetched."""
    if own := os.environ.get("ULTRA_CACHE", ""):
        return Path(own) / "benchmarks"
    caches = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(caches) if caches else Path.home() / ".cache") / "ultra-suite" / "benchmarks"


def published_folder(chosen: Path | None = None) -> Path | None:
    """The folder that a person keeps published files in: ``chosen``, or ULTRA_BENCHMARKS_DIR.

    Raises:
        SettingError: it is not there.
    """
    named = os.environ.get("ULTRA_BENCHMARKS_DIR", "")
    folder = chosen or (Path(named) if named else None)
    if folder is not None and not folder.is_dir():
        setting = "benchmarks_dir" if chosen else "ULTRA_BENCHMARKS_DIR"
        raise SettingError(f"{setting}: {folder} is no folder")
    return folder


def path(name: str, folder: Path | None = None) -> Path:
    """A local copy of a published file, its digest checked.

    ``folder`` takes the place of ULTRA_BENCHMARKS_DIR.

    Raises:
        SettingError: no published file has this name, or the folder is not there.
        InputError: the file is another one than was published, or cannot be fetched.
    """
    known = sources()
    if name not in known:
        raise SettingError(
            f"{name}: no such published file is known{command.did_you_mean(name, known)}"
        )
    source = known[name]
    found = _find(source, folder)
    if found is not None:
        _check(source, found)
        return found
    return _fetch(source)


def local(name: str, folder: Path | None = None) -> Path | None:
    """Where a published file stands here, unchecked; None if it would have to be fetched."""
    return _find(sources()[name], folder)


def _find(source: Source, folder: Path | None) -> Path | None:
    places = (published_folder(folder), cache())
    here = (place / source.name for place in places if place is not None)
    return next((path for path in here if path.is_file()), None)


def _check(source: Source, found: Path) -> None:
    digest = files.sha256(found)
    if digest == source.sha256 or (source.content and _content(found) == source.content):
        return
    again = f" ({source.address} has it)" if source.address else ""
    raise InputError(
        f"{found}: is not the published file, its sha256 is {digest}, not {source.sha256}; "
        f"remove it, or get it again{again}"
    )


def _content(path: Path) -> str:
    """The sha256 of what an AlpacaEval file says, whatever its form and order; else nothing."""
    try:
        rows = published.rows(path)
        pairs = sorted([str(row.get("instruction")), str(row.get("output"))] for row in rows)
        return hashlib.sha256(orjson.dumps(pairs)).hexdigest()
    except (InputError, orjson.JSONEncodeError):  # of no rows, or with halves of surrogate pairs
        return ""


class _IncompleteError(Exception):
    """A fetch that another try may complete."""


def _fetch(source: Source) -> Path:
    way_out = f"put it at {source.name} in a folder and set ULTRA_BENCHMARKS_DIR to that folder"
    if not source.address:
        raise InputError(f"{source.name}: is not here, and has no public address; {way_out}")
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        raise InputError(
            f"{source.name}: is not here, and HF_HUB_OFFLINE is set; unset it, or {way_out}"
        )
    print(
        f"fetching {source.name} (licence {source.licence}) from {source.address}", file=sys.stderr
    )
    why = ""
    for attempt in range(TRIES):
        if attempt:
            time.sleep(PAUSE_SECONDS * 2 ** (attempt - 1))
        try:
            return _download(source)
        except _IncompleteError as error:
            why = str(error)
    raise InputError(
        f"{source.name}: cannot be fetched from {source.address} ({why}, {TRIES} tries); {way_out}"
    )


def _download(source: Source) -> Path:
    """Write the file to the cache; it appears there whole and checked, or not at all.

    Raises:
        InputError: the address has no such file, or another one.
        _IncompleteError: the server or the connection failed.
    """
    import httpx2
    from tqdm import tqdm

    target = cache() / source.name
    try:
        with (
            httpx2.stream(
                "GET", source.address, follow_redirects=True, timeout=TIMEOUT_SECONDS
            ) as answer,
            tqdm(
                total=source.bytes or None,
                unit="B",
                unit_scale=True,
                desc=source.name,
                disable=None,
            ) as bar,
            files.atomic(target) as file,
        ):
            _check_status(source, answer)
            for piece in _pieces(source, answer):
                file.write(piece)
                bar.update(len(piece))
            file.flush()
            _check_fetched(source, Path(file.name))
    except httpx2.TransportError as error:
        raise _IncompleteError(f"{type(error).__name__}: {error}") from error
    except httpx2.HTTPError as error:
        raise InputError(f"{source.name}: {source.address} cannot be read ({error})") from error
    return target


def _check_status(source: Source, answer: "Response") -> None:
    status = answer.status_code
    if status in (408, 425, 429) or status >= 500:
        raise _IncompleteError(f"status {status}")
    if status != 200:
        raise InputError(
            f"{source.name}: {source.address} answers with status {status}; put the file into a "
            "folder under that name and set ULTRA_BENCHMARKS_DIR to the folder"
        )


def _pieces(source: Source, answer: "Response") -> Iterator[bytes]:
    """What the server sends, and no more of it than the file has."""
    most = source.bytes or MOST_BYTES
    size = 0
    for piece in answer.iter_bytes():
        size += len(piece)
        if size > most:
            raise InputError(f"{source.name}: {source.address} sends more than {most:,} bytes")
        yield piece
    if size < source.bytes:
        raise _IncompleteError(f"it broke off after {size:,} of {source.bytes:,} bytes")


def _check_fetched(source: Source, found: Path) -> None:
    digest = files.sha256(found)
    if digest == source.sha256 or (source.content and _content(found) == source.content):
        return
    raise InputError(
        f"{source.name}: {source.address} sent another file, its sha256 is {digest}, not "
        f"{source.sha256}; put the published one into a folder under that name and set "
        "ULTRA_BENCHMARKS_DIR to the folder"
    )
