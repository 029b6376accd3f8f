"""Small raw and released things that several of these tests make or look into."""

import io
import tarfile
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import zstandard

from ultra.schema import Conversation, Message, Role

Json = dict[str, Any]

_ROLES: dict[str, Role] = {"s": "system", "u": "user", "a": "assistant"}


def talk(words: str) -> list[Message]:
    """``"u1 a2"``: one turn a word, its role by the first letter, its content the word."""
    return [{"role": _ROLES[word[0]], "content": word} for word in words.split()]


def conversation(words: str, id: str = "x", source: str = "s", **provenance: Any) -> Conversation:
    return Conversation(id, talk(words), {"source": source, **provenance})


def row(id: str, *texts: str, **fields: Any) -> Json:
    """A row of a dump: texts of the two sides in turn, the person first."""
    sides = ("human", "gpt")
    turns = [{"from": sides[n % 2], "value": text} for n, text in enumerate(texts)]
    return {"id": id, "conversations": turns, **fields}


def page(row: Json) -> bytes:
    """A saved page that holds a row of a dump."""
    content = {"items": row["conversations"]}
    data = orjson.dumps({"props": {"pageProps": {"id": row["id"], "content": content}}})
    return (
        b'<!DOCTYPE html><html><body><p>Caf\xc3\xa9</p><script id="__NEXT_DATA__" '
        b'type="application/json">' + data.replace(b"<", b"\\u003c") + b"</script></body></html>"
    )


def zstd(raw: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(raw)


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip archive; with ``zipfile.ZIP_STORED`` its members can be found and damaged."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for name, raw in files.items():
            archive.writestr(name, raw)
    return packed.getvalue()


def tarred(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, raw in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(raw)
            archive.addfile(member, io.BytesIO(raw))
    return packed.getvalue()


def files_of(release: Path) -> dict[str, bytes]:
    return {
        file.relative_to(release).as_posix(): file.read_bytes()
        for file in sorted(release.rglob("*"))
        if file.is_file()
    }


def rows_of(release: Path, config: str = "all") -> list[Json]:
    """All rows of a configuration of a release, by id."""
    return sorted(_lines(release, f"data/{config}/*.jsonl"), key=lambda row: str(row["id"]))


def drops_of(release: Path) -> list[Json]:
    return _lines(release, "dropped/*.jsonl")


def reasons_of(manifest: Json) -> dict[str, int]:
    """How many were dropped for each reason, over all steps."""
    reasons: Counter[str] = Counter()
    for step in manifest["steps"]:
        reasons.update(step["dropped"])
    return dict(reasons)


def _lines(release: Path, pattern: str) -> list[Json]:
    files = sorted(release.glob(pattern))
    return [orjson.loads(line) for file in files for line in file.read_bytes().splitlines()]
