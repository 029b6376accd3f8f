"""What a process does with a piece of the input: read, convert, clean, and describe its rows."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import orjson
import xxhash

from datasets_scripts import dedup, near_duplicates, pipeline, statistics
from datasets_scripts.pipeline import Drop, Ledger, Step
from datasets_scripts.questions import Questions
from datasets_scripts.results import Result
from datasets_scripts.sharegpt import inputs, turns
from datasets_scripts.sharegpt.inputs import Piece, Record
from datasets_scripts.sharegpt.pages import Unreadable
from datasets_scripts.spool import Entry
from datasets_scripts.statistics import Count
from ultra import release
from ultra.schema import Conversation

CORPUS = "sharegpt"
READ = "read"
GPT4 = {"Model: GPT-4", "GPT-4"}
"""Labels of the page's model menu: OpenChat's filter took the first; the second is that of the
week before 22 March 2023."""


_DETAIL = 120
"""Characters of what was seen that the drop report shows."""
_PIECE = re.compile(r"([A-Za-z0-9]{7})_[0-9]+")
"""The id that FastChat gave a piece of a page's conversation: the pieces share the page's root."""


class Worker:
    """Steps made once in a process, for all pieces that it works on.

    ``shown`` is what becomes of the words of a conversation in the drop report; ``count`` is what
    lengths are counted in, if statistics are wanted.
    """

    def __init__(
        self,
        steps: Mapping[str, Step],
        questions: Questions | None = None,
        near_duplicates: bool = False,
        shown: Callable[[str], str] = str,
        count: Count | None = None,
    ) -> None:
        self.steps, self.questions, self.shown, self.count = steps, questions, shown, count
        self.near_duplicates = near_duplicates

    def __call__(self, piece: Piece) -> Result:
        ledger = Ledger([READ, *self.steps])
        drops: list[tuple[str, ...]] = []
        entries: list[list[Any]] = []
        lines: list[bytes] = []
        ignored: list[str] = []
        total = 0
        for record in inputs.read(piece, ignored):
            total += record.digest
            result = self._clean(record, ledger)
            if isinstance(result, Conversation):
                entry, line = self._describe(result)
                entries.append(_packed(entry, line))
                lines.append(line)
            else:
                id, step, drop = result
                detail = self.shown(drop.detail)[:_DETAIL]  # an address cut in two is not found
                drops.append((id, record.source, step, drop.reason, detail))
        found = {
            "steps": ledger.table(),
            "dropped": drops,
            "ignored": ignored,
            "digest": f"{total % 2**128:032x}",
            "rows": entries,
        }
        return Result(orjson.dumps(found), b"".join(lines))

    def _clean(self, record: Record, ledger: Ledger) -> Conversation | tuple[str, str, Drop]:
        """The conversation after all steps, or its id, and the step that dropped it and why."""
        ledger.enter(READ)
        start = record.drop if isinstance(record, Unreadable) else turns.to_conversation(record)
        if isinstance(start, Drop):
            ledger.drop(READ, start.reason)
            return record.id, READ, start
        result = pipeline.apply(self.steps, start, ledger)
        return (start.id, *result) if isinstance(result, tuple) else result

    def look(self, piece: Piece) -> dict[str, Any]:
        """What a call finds, of reading alone."""
        ignored: list[str] = []
        digests = [record.digest for record in inputs.read(piece, ignored)]
        steps = [{"step": READ, "in": len(digests)}]
        digest = f"{sum(digests) % 2**128:032x}"
        return {"steps": steps, "ignored": ignored, "digest": digest, "rows": []}

    def _describe(self, conversation: Conversation) -> tuple[Entry, bytes]:
        row = conversation.row()
        if piece := _PIECE.fullmatch(conversation.id):
            row["root"] = xxhash.xxh3_128_hexdigest(piece[1].encode())
        entry = dedup.entry(conversation, row["root"])
        entry.configs = " ".join(_configs(conversation.provenance))
        if self.near_duplicates:
            entry.signature = near_duplicates.signature(conversation.messages)
        if self.questions and (found := self.questions.overlaps(conversation.messages)):
            entry.overlaps = orjson.dumps(found).decode()
        if self.count:
            language = str(row["language"]) if "language" in self.steps else None
            entry.described = statistics.describe(conversation.messages, language, self.count)
        return entry, release.line_of(row, CORPUS)


def _configs(provenance: Mapping[str, str | int | float]) -> Iterator[str]:
    yield "all"
    if provenance["model"] in GPT4:
        yield "gpt4"
    if provenance["language"] == "en":
        yield "en"


def _packed(entry: Entry, line: bytes) -> list[Any]:
    """An entry and its line's digest and size as JSON."""
    return [
        xxhash.xxh3_128_hexdigest(line),
        len(line),
        entry.id,
        entry.source,
        entry.root,
        entry.content.hex(),
        [prefix.hex() for prefix in entry.prefixes],
        entry.counts,
        entry.configs,
        entry.signature and entry.signature.hex(),
        entry.overlaps,
        entry.described,
    ]


def placed(rows: list[list[Any]], place: int) -> Iterator[tuple[Entry, bytes, int, int]]:
    """The rows that a piece found, with the place of each line in the file of results."""
    fromhex = bytes.fromhex
    for line, size, id, source, *rest in rows:
        root, content, prefixes, counts, configs, signature, *written = rest
        entry = Entry(
            id,
            source,
            root,
            fromhex(content),
            tuple(map(fromhex, prefixes)),
            counts,
            configs,
            signature and fromhex(signature),
            *written,
        )
        yield entry, fromhex(line), place, size
        place += size
