"""A repository of the loopback Hub: a bare git repository, written without git.

Objects are named by their content and refs are files, all written whole or not at all, so a server
that is killed loses no commit and a reader sees a commit or does not. ``git`` reads, checks and
clones the same folder, and commit ids are the ones git would give. Content in LFS lies beside the
objects as ``git lfs`` keeps it.
"""

import hashlib
import re
import time
import uuid
import zlib
from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple, Self

AUTHOR = "loopback"
_LFS = b"version https://git-lfs.github.com/spec/v1\n"
_POINTER_BYTES = 200  # a pointer file is shorter
_REF_NAME = re.compile(r"(?!.*(\.\.|//|/\.|\.lock(/|$)))\w([\w./+-]*[\w+-])?")
_FILE_NAME = re.compile(r"(?!\.\.?$|\.git$)[^/\0]+", re.IGNORECASE)


class Entry(NamedTuple):
    """A file or a folder of a commit."""

    oid: str
    """Of the git object."""
    size: int
    """Bytes of the content; 0 for a folder."""
    folder: bool = False
    sha256: str | None = None
    """Of the content, if that is in LFS."""

    @property
    def etag(self) -> str:
        return self.sha256 or self.oid


class Commit(NamedTuple):
    """One commit; ``date`` is in seconds since 1970."""

    id: str
    parent: str | None
    date: int
    message: str


class Repository:
    """One bare git repository on the disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def create(cls, folder: Path, private: bool) -> Self:
        """Make a repository with one commit, all at once.

        Raises:
            OSError: something with this name is there.
        """
        new = cls(folder.with_name(f"{folder.name}.{uuid.uuid4().hex}"))
        for name in ("objects", "refs/heads", "refs/tags", "lfs"):
            (new.folder / name).mkdir(parents=True)
        (new.folder / "HEAD").write_text("ref: refs/heads/main\n")
        (new.folder / "config").write_text("[core]\n\trepositoryformatversion = 0\n\tbare = true\n")
        if private:
            (new.folder / "private").touch()
        attributes = new.add_blob(b"* -text\n")
        new.commit("main", {".gitattributes": attributes}, "initial commit", None)
        new.folder.rename(folder)
        return cls(folder)

    @property
    def private(self) -> bool:
        return (self.folder / "private").exists()

    def refs(self, kind: str) -> dict[str, str]:
        """The commit of each of the "heads" or "tags", by name."""
        top = self.folder / "refs" / kind
        files = (
            path for path in sorted(top.rglob("*")) if path.is_file() and path.suffix != ".lock"
        )
        return {path.relative_to(top).as_posix(): path.read_text().strip() for path in files}

    def set_ref(self, kind: str, name: str, commit: str) -> None:
        """Point a branch or tag at a commit.

        Raises:
            ValueError: git would refuse the name.
        """
        if not _REF_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a good name for a branch or tag")
        _write(self.folder / "refs" / kind / f"{name}", f"{commit}\n".encode(), suffix=".lock")

    def delete_ref(self, kind: str, name: str) -> None:
        (self.folder / "refs" / kind / name).unlink()

    def resolve(self, revision: str) -> str:
        """The commit that a branch, a tag, a commit id or ``HEAD`` names.

        Raises:
            KeyError: none.
        """
        if re.fullmatch("[0-9a-f]{40}", revision) and self._object(revision).exists():
            return revision
        name = "main" if revision == "HEAD" else revision
        return (self.refs("tags") | self.refs("heads"))[name]

    def history(self, commit: str) -> list[Commit]:
        """A commit and all before it, newest first."""
        found: list[Commit] = []
        following: str | None = commit
        while following:
            head, _, message = self._read(following).decode().partition("\n\n")
            fields = dict(line.split(" ", 1) for line in head.splitlines())
            date = int(fields["committer"].split()[-2])
            found.append(Commit(following, fields.get("parent"), date, message.rstrip("\n")))
            following = found[-1].parent
        return found

    def tree(self, commit: str) -> dict[str, Entry]:
        """All files and folders of a commit by path, in git's order."""
        return _tree(self.folder, commit)

    def content(self, entry: Entry) -> bytes:
        return self.lfs(entry.sha256).read_bytes() if entry.sha256 else self._read(entry.oid)

    def lfs(self, sha256: str) -> Path:
        """Where content in LFS lies, once it is there."""
        if not re.fullmatch("[0-9a-f]{64}", sha256):
            raise ValueError(f"{sha256!r} is no SHA-256")
        return self.folder / "lfs" / "objects" / sha256[:2] / sha256[2:4] / sha256

    def add_lfs(self, content: bytes) -> None:
        _write(self.lfs(hashlib.sha256(content).hexdigest()), content)

    def add_blob(self, content: bytes) -> str:
        return self._add("blob", content)

    def add_pointer(self, sha256: str) -> str:
        """Add the file that stands in git for content in LFS."""
        size = self.lfs(sha256).stat().st_size
        return self._add("blob", _LFS + f"oid sha256:{sha256}\nsize {size}\n".encode())

    def commit(
        self, branch: str, files: Mapping[str, str], message: str, parent: str | None
    ) -> str:
        """Make these blobs by path the next commit of a branch.

        Raises:
            ValueError: a path or the branch has a name that git would refuse.
        """
        tree = self._add_tree(files)
        who = f"{AUTHOR} <{AUTHOR}@example.com> {int(time.time())} +0000"
        lines = [f"tree {tree}", *([f"parent {parent}"] if parent else [])]
        lines += [f"author {who}", f"committer {who}", "", message, ""]
        commit = self._add("commit", "\n".join(lines).encode())
        self.set_ref("heads", branch, commit)
        return commit

    def _add_tree(self, files: Mapping[str, str]) -> str:
        here: dict[str, tuple[str, str]] = {}
        below: dict[str, dict[str, str]] = defaultdict(dict)
        for path, oid in files.items():
            name, _, rest = path.partition("/")
            if not _FILE_NAME.fullmatch(name) or path.endswith("/"):
                raise ValueError(f"{path!r} is not a good path")
            if rest:
                below[name][rest] = oid
            else:
                here[name] = ("100644", oid)
        if both := here.keys() & below.keys():
            raise ValueError(f"{min(both)!r} would be a file and a folder")
        trees = {f"{name}/": ("40000", self._add_tree(inner)) for name, inner in below.items()}
        rows = sorted((here | trees).items(), key=lambda row: row[0].encode())  # git's order
        return self._add(
            "tree",
            b"".join(
                f"{mode} {name.rstrip('/')}\0".encode() + bytes.fromhex(oid)
                for name, (mode, oid) in rows
            ),
        )

    def _object(self, oid: str) -> Path:
        return self.folder / "objects" / oid[:2] / oid[2:]

    def _add(self, kind: str, body: bytes) -> str:
        raw = f"{kind} {len(body)}\0".encode() + body
        oid = hashlib.sha1(raw, usedforsecurity=False).hexdigest()
        if not self._object(oid).exists():
            _write(self._object(oid), zlib.compress(raw, 1))
        return oid

    def _read(self, oid: str) -> bytes:
        return zlib.decompress(self._object(oid).read_bytes()).partition(b"\0")[2]

    def _entry(self, oid: str) -> Entry:
        """A blob as an entry, of which no more is read than tells its size."""
        with self._object(oid).open("rb") as file:
            start = zlib.decompressobj().decompress(file.read(4096), 2 * _POINTER_BYTES)
        head, _, body = start.partition(b"\0")
        size = int(head.split()[1])
        if size < _POINTER_BYTES and body.startswith(_LFS):
            sha256, length = re.findall(rb"sha256:(\w+)\nsize (\d+)", body)[0]
            return Entry(oid, int(length), sha256=sha256.decode())
        return Entry(oid, size)

    def _walk(self, tree: str, above: str) -> dict[str, Entry]:
        found: dict[str, Entry] = {}
        rows = re.finditer(rb"(\d+) ([^\0]+)\0(.{20})", self._read(tree), re.DOTALL)
        for mode, name, raw in (row.groups() for row in rows):
            path, oid = above + name.decode(), raw.hex()
            if mode == b"40000":
                found[path] = Entry(oid, 0, folder=True)
                found |= self._walk(oid, f"{path}/")
            else:
                found[path] = self._entry(oid)
        return found


@cache
def _tree(folder: Path, commit: str) -> dict[str, Entry]:
    """What a commit holds never changes, and is asked for with every file that is read."""
    repository = Repository(folder)
    tree = repository._read(commit)[5:45].decode()
    return repository._walk(tree, "")


def _write(path: Path, content: bytes, suffix: str = ".tmp") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{uuid.uuid4().hex}{suffix}")
    temporary.write_bytes(content)
    temporary.replace(path)
