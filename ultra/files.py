"""Files that are whole or not there: write to a temporary name, fsync, rename."""

import fcntl
import glob
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from ultra.errors import OutputError

_HOST = os.uname().nodename


@contextmanager
def atomic(path: Path) -> Iterator[BinaryIO]:
    """Open ``path`` for writing; it appears, complete and durable, when the block ends well.

    After an exception in the block the old file, if any, is untouched and nothing is left behind.
    What a killed process left is swept up by the next one that writes the same file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path)
    temporary = path.with_name(f".{path.name}.{_HOST}-{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _sweep(path: Path) -> None:
    """Remove temporary files of processes of this machine that are no more."""
    for left in path.parent.glob(glob.escape(f".{path.name}.{_HOST}-") + "*.tmp"):
        writer = left.name.rpartition("-")[2].removesuffix(".tmp")
        if Path("/proc/self").exists() and not Path("/proc", writer).exists():
            left.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a small UTF-8 text file atomically."""
    with atomic(path) as file:
        file.write(text.encode("utf-8"))


def sync(path: Path) -> None:
    """Make a file, or the names inside a directory, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def rename_tree(source: Path, target: Path) -> None:
    """Give a finished directory its name, once every file in it is on the disk."""
    for path in sorted(source.rglob("*")):
        sync(path)
    sync(source)
    try:
        source.rename(target)
    except OSError as error:
        raise OutputError(f"{target}: came to be there in the meantime ({error})") from error
    sync(target.parent)


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Make a directory, if need be, and keep other processes that ask for it out of the block.

    Raises:
        OutputError: another process holds it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        lock(descriptor, directory)
        yield
    finally:
        os.close(descriptor)


def lock(descriptor: int, path: Path) -> None:
    """Lock an open file or directory until it is closed, or until this process ends.

    Raises:
        OutputError: another process holds it.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise OutputError(f"{path}: another run is writing to it; wait for it") from error


def require_same(path: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Hold what is complete at ``path`` to what would be made there now.

    Raises:
        OutputError: names the fields in which they differ, and the way out.
    """
    other = [key for key, value in wanted.items() if found.get(key) != value]
    if other:
        raise OutputError(
            f"{path}: already complete, with other {' and '.join(other)}; "
            "choose another --out (OUT= with make) or remove it"
        )


def sha256(path: Path) -> str:
    """Hex sha256 of a file, read in pieces."""
    import hashlib  # loads OpenSSL, which most commands can do without

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
