"""Benchmark questions, and where a conversation says the same words in a row as one of them.

What a turn says and what a question asks are compared as runs of words (``words.py`` says what a
word is). An overlap is exact, and holds for one question and one role:

- at 8: eight words in a row of the question stand in one turn;
- at 13: so do thirteen, the length that Brown et al., Language Models are Few-Shot Learners, 2020,
  appendix C, took; or the whole turn is just the question (one turn of it), if that is shorter.

Two things are no overlap, being said by many: words that ``SHARED`` questions of one suite have in
common are its template, and belong to none of them; and a whole turn of fewer than ``LEAST_WORDS``
words is small talk. Paraphrases and translations are not found.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import orjson

from datasets_scripts.words import words
from ultra import files, jsonl
from ultra.errors import InputError
from ultra.schema import Message, Role

Length = Literal[8, 13]
SHORT: Length = 8
LONG: Length = 13
SHARED = 5
"""Questions of one suite with the same words that make these its template.

In the published suites such templates stand in 10 questions or more, and a phrase that no template
explains in 3 at most.
"""
LEAST_WORDS = 4

_ANCHOR = 5
_STRIDE = SHORT - _ANCHOR + 1
"""Any eight words in a row hold five that begin at a multiple of this: of a conversation only those
are looked up, a quarter of all."""
_IDS = ("id", "question_id", "idx")
_TEXTS = ("text", "instruction", "prompt", "data")
_WANTED = f"'turns', a list of texts, or one text as {', '.join(map(repr, _TEXTS))}"
_NAMELESS = frozenset({"question", "questions"})
"""Names of files that tell nothing: the suite is called as their folder."""

K = TypeVar("K", int, bytes)


@dataclass(frozen=True)
class Question:
    """What a benchmark asks, in one or more turns."""

    suite: str
    id: str
    turns: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.suite}/{self.id}"


@dataclass(frozen=True)
class Overlap:
    """That one role says what a question asks. ``n`` is 13 where both lengths overlap."""

    question: str
    """``suite/id``."""
    n: Length
    role: Role
    span: str
    """The words in common, as they are compared."""


class Questions:
    """The questions of one file, indexed by the hashes of their words in a row.

    ``name`` and ``digest`` are the file's name and its sha256.
    """

    def __init__(self, name: str, digest: str, questions: Sequence[Question]) -> None:
        self.name, self.digest, self.questions = name, digest, questions
        turns = [[words(turn) for turn in question.turns] for question in questions]
        self._texts = [b"".join(map(_joined, said)) for said in turns]
        self._grams = self._owners([_hashes(said, SHORT) for said in turns])
        self._anchors = _hashes([turn for said in turns for turn in said], _ANCHOR)
        short = [[turn for turn in said if LEAST_WORDS <= len(turn) < LONG] for said in turns]
        self._whole = self._owners([set(map(_joined, said)) for said in short])

    @classmethod
    def load(cls, path: Path) -> "Questions":
        """Read ``{"id", "suite", "turns": [...]}``, as JSON Lines or in one JSON array.

        ``question_id`` or ``idx`` will do for ``id``, as will the number of the row; one ``text``,
        ``instruction``, ``prompt`` or ``data`` for the turns; and for ``suite`` the file's name,
        or its folder's if the file is just called questions. Keys may be in any case.

        Raises:
            InputError: there is no such file, a row is no question, two have one name, or there
                are none.
        """
        if not os.path.isfile(path):  # noqa: PTH113 - Path's raises for names too long
            raise InputError(
                f"questions: {path}: is no file; give JSON Lines or a JSON array of questions, "
                f"each with {_WANTED}"
            )
        suite = _suite(path)
        questions = [_question(row, path, n, suite) for n, row in enumerate(_rows(path), 1)]
        if not questions:
            raise InputError(f"{path}: holds no questions")
        (name, count), *_ = Counter(question.name for question in questions).most_common(1)
        if count > 1:
            raise InputError(f"{path}: two questions are {name}; give each an 'id' of its own")
        return cls(path.name, files.sha256(path), questions)

    def __reduce__(self) -> tuple[Any, ...]:
        """Indexed again in the process that unpickles it, where words hash otherwise."""
        return Questions, (self.name, self.digest, self.questions)

    def overlaps(self, messages: Iterable[Message]) -> list[Overlap]:
        """The longest overlap of each question with each role, by question and role."""
        found: dict[tuple[int, Role], tuple[Length, bytes]] = {}
        for turn in messages:
            said, role = words(turn["content"]), turn["role"]
            if LEAST_WORDS <= len(said) < LONG:
                for number in self._whole.get(_joined(said), ()):
                    found[number, role] = LONG, _joined(said)
            for start, number in self._hits(said):
                n, _ = found.get((number, role), (0, b""))
                span = self._span(said, start, number) if n < LONG else None
                if span and span[0] > n:
                    found[number, role] = span
        return [
            Overlap(self.questions[number].name, n, role, span.decode().strip())
            for (number, role), (n, span) in sorted(found.items())
        ]

    def _hits(self, said: list[bytes]) -> Iterator[tuple[int, int]]:
        """Where eight words begin that, by their hash, a question has too; and its number."""
        anchors = zip(*(said[place::_STRIDE] for place in range(_ANCHOR)), strict=False)
        for number, anchor in enumerate(anchors):
            if hash(anchor) in self._anchors:
                last = number * _STRIDE
                for start in range(max(0, last - _STRIDE + 1), last + 1):
                    for owner in self._grams.get(hash(tuple(said[start : start + SHORT])), ()):
                        yield start, owner

    def _span(self, said: list[bytes], start: int, number: int) -> tuple[Length, bytes] | None:
        """Thirteen words around these eight, or the eight, if the question does have them."""
        text = self._texts[number]
        short = _joined(said[start : start + SHORT])
        if short not in text:
            return None
        first, last = max(0, start + SHORT - LONG), min(start, len(said) - LONG)
        for place in range(first, last + 1):
            span = _joined(said[place : place + LONG])
            if span in text:
                return LONG, span
        return SHORT, short

    def _owners(self, keys: list[set[K]]) -> dict[K, tuple[int, ...]]:
        """The questions that have a key, but for suites in which ``SHARED`` of them have it."""
        owners: dict[K, list[int]] = defaultdict(list)
        for number, its_keys in enumerate(keys):
            for one in its_keys:
                owners[one].append(number)
        same: dict[tuple[int, ...], tuple[int, ...]] = {}  # equal tuples are kept once
        kept = ((one, self._without_templates(numbers)) for one, numbers in owners.items())
        return {one: same.setdefault(numbers, numbers) for one, numbers in kept if numbers}

    def _without_templates(self, numbers: list[int]) -> tuple[int, ...]:
        if len(numbers) < SHARED:
            return tuple(numbers)
        suites = Counter(self.questions[number].suite for number in numbers)
        return tuple(n for n in numbers if suites[self.questions[n].suite] < SHARED)


def _joined(said: Sequence[bytes]) -> bytes:
    """Words between blanks, to be found in other words; two blanks part the turns of a question."""
    return b" " + b" ".join(said) + b" "


def _hashes(turns: Iterable[Sequence[bytes]], n: int) -> set[int]:
    """Python's hashes of all runs of ``n`` words; they differ between processes."""
    return {
        hash(gram)
        for said in turns
        for gram in zip(*(said[place:] for place in range(n)), strict=False)
    }


def _rows(path: Path) -> Iterable[Any]:
    try:
        with jsonl.open_binary(path) as file:
            start = next((line for line in file if line.strip()), b"")
            if start.lstrip().startswith(b"["):
                return cast(list[Any], orjson.loads(start + file.read()))
    except jsonl.BROKEN as error:
        raise InputError(f"{path}: damaged or breaks off ({error}); get it again") from error
    except orjson.JSONDecodeError as error:
        raise InputError(f"{path}: not JSON ({error})") from error
    return jsonl.read(path)


def _suite(path: Path) -> str:
    name = path.name.removesuffix(".gz").removesuffix(".zst")
    stem = Path(name).stem
    return path.resolve().parent.name if stem.casefold() in _NAMELESS else stem


def _question(written: Any, path: Path, number: int, default_suite: str) -> Question:
    place = f"{path}: question {number}"
    if not isinstance(written, dict):
        raise InputError(f"{place}: expected a JSON object with {_WANTED}")
    row = {key.casefold(): value for key, value in written.items()}
    id = next((row[key] for key in _IDS if key in row), number)
    suite = row.get("suite", default_suite)
    if not isinstance(id, str | int) or not isinstance(suite, str):
        raise InputError(f"{place}: 'id' must be a text or a number, 'suite' a text")
    turns = row.get("turns", [row[key] for key in _TEXTS if key in row][:1])
    if not isinstance(turns, list) or not turns or not all(isinstance(one, str) for one in turns):
        raise InputError(f"{place}: wants {_WANTED}")
    return Question(suite, str(id), tuple(map(jsonl.scrub, turns)))
