"""Small raw and released things that several of these tests make or look into."""

from pathlib import Path
from typing import Any

import orjson

from ultra.schema import Conversation, Message, Role

Json = dict[str, Any]

_ROLES: dict[str, Role] = {"s": "system", "u": "user", "a": "assistant"}


def talk(words: str) -> list[Message]:
    """``"u1 a2"``: one turn a word, its role by the first letter, its content the word."""
    return [{"role": _ROLES[word[0]], "content": word} for word in words.split()]


def conversation(words: str, id: str = "x", source: str = "s", **provenance: int) -> Conversation:
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


def files_of(release: Path) -> dict[str, bytes]:
    return {
        file.relative_to(release).as_posix(): file.read_bytes()
        for file in sorted(release.rglob("*"))
        if file.is_file()
    }


def rows_of(release: Path) -> list[Json]:
    """All rows of a release, by id."""
    return sorted(_lines(release, "data/*/*.jsonl"), key=lambda row: str(row["id"]))


def drops_of(release: Path) -> list[Json]:
    return _lines(release, "dropped/*.jsonl")


def reasons_of(manifest: Json) -> dict[str, int]:
    """How many were dropped for each reason, over all steps."""
    return {reason: n for step in manifest["steps"] for reason, n in step["dropped"].items()}


def _lines(release: Path, pattern: str) -> list[Json]:
    files = sorted(release.glob(pattern))
    return [orjson.loads(line) for file in files for line in file.read_bytes().splitlines()]
