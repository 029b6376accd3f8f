"""Find the files of an input in its folders, in an order that only names decide.

A file is found by its name: a page, a dump or an archive of them. One whose name has no dot in it,
such as a page saved under its id, is found if it begins as a page does; of the many others that a
browser saves beside a page nothing is said. Hidden files are left out. Links are followed, and each
folder is read once, so that a loop of links ends.
"""

# ruff: noqa: PTH116, PTH118, PTH123  # Path objects would cost more than reading

import errno
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ultra import jsonl
from ultra.errors import InputError

NAME = re.compile(r"\.(html?|jsonl?|ndjson|zip|tar|tgz)(\.gz|\.zst)?$", re.IGNORECASE)
_START_OF_PAGE = re.compile(rb"(\xef\xbb\xbf)?\s*<(!doctype\s+html|html)\b", re.IGNORECASE)
_ODD = {
    *(errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG),  # a link, for the most part
    *(errno.EACCES, errno.EPERM),
}
"""Errors that lie in one name. Any other, such as that of a failing disk, lies in the machine."""


class Found(NamedTuple):
    """A file; or a name that cannot be read, folders too, with the reason in place of a state.

    ``source`` is the name relative to the input.
    """

    path: str
    source: str
    state: os.stat_result | str


def find(root: Path) -> Iterator[Found]:
    """The files of an input: those of a folder before those of the folders in it.

    Raises:
        InputError: the input is not there or cannot be read, or the machine fails to read a name.
    """
    try:
        state = root.stat()
        if stat.S_ISDIR(state.st_mode):
            os.scandir(root).close()
    except FileNotFoundError as error:
        raise InputError(f"{root}: no such file or folder") from error
    except OSError as error:
        raise InputError(f"{root}: cannot be read ({error.strerror})") from error
    if stat.S_ISDIR(state.st_mode):
        yield from _walk(str(root))
    elif stat.S_ISREG(state.st_mode):
        yield Found(str(root), jsonl.scrub(root.name), state)
    else:
        raise InputError(f"{root}: neither a file nor a folder; give the path of one")


def _walk(root: str) -> Iterator[Found]:
    start = len(os.path.join(root, ""))
    waiting, seen = [root], set[tuple[int, int]]()
    while waiting:
        folder = waiting.pop()
        try:
            state = os.stat(folder)
            if (state.st_dev, state.st_ino) in seen:
                continue
            seen.add((state.st_dev, state.st_ino))
            names, folders = _listed(folder)
        except OSError as error:
            yield Found(folder, jsonl.scrub(folder[start:]), _why(folder, error))
            continue
        waiting += (os.path.join(folder, name) for name in sorted(folders, reverse=True))
        for name in sorted(names):
            if not name.startswith(".") and (NAME.search(name) or "." not in name):
                path = os.path.join(folder, name)
                yield from _look(path, jsonl.scrub(path[start:]))


def _listed(folder: str) -> tuple[list[str], list[str]]:
    """The files and the folders in a folder: names, for there may be a million of them."""
    names: list[str] = []
    folders: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            (folders if _is_folder(entry) else names).append(entry.name)
    return names, folders


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that cannot be followed
        return False


def _look(path: str, source: str) -> Iterator[Found]:
    """The file, if it is one to read, or why that cannot be told."""
    try:
        state = os.stat(path)
        if NAME.search(source) or (stat.S_ISREG(state.st_mode) and _begins_as_page(path)):
            yield Found(path, source, state)
    except OSError as error:
        yield Found(path, source, _why(path, error))


def _begins_as_page(path: str) -> bool:
    with open(path, "rb", buffering=0) as file:
        return bool(_START_OF_PAGE.match(file.read(64)))


def _why(path: str, error: OSError) -> str:
    if error.errno in _ODD:
        return os.strerror(error.errno)
    raise InputError(f"{path}: cannot be read ({error.strerror})") from error
