"""What a release holds, in figures: turns, text by role, lengths, languages, lexical diversity.

Each row is described once, where it is made (:func:`describe`); at the end the descriptions of the
rows of a configuration are summed (:class:`Statistics`). A length is counted in words (what stands
between blanks, marks of punctuation included; of scripts that are written without blanks, as Han,
kana and Thai, each character), or in the tokens of a named tokenizer. Lexical diversity is of words
as ``words.py`` parts them, in which case and punctuation make no difference.

All figures are sums of whole numbers, so no order of the rows changes them.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import orjson

from datasets_scripts.words import UNSPACED, words
from ultra import files
from ultra.errors import InputError
from ultra.schema import ROLES, Message, Role

Count = Callable[[str], int]
"""The length of a text, in words or tokens."""

SAMPLE = 100
"""Conversations of a configuration in which lexical diversity is measured, which takes five times
the time of all the rest: those with the smallest hashes of their first question."""
_MTLD_WORDS = 50
"""An utterance of fewer words has no diversity: a stretch of the measure is about that long."""
_UNSPACED = re.compile(f"[{''.join(f'{chr(low)}-{chr(high)}' for low, high in UNSPACED)}]")
_QUANTILES = {"min": 0, "5%": 5, "25%": 25, "50%": 50, "75%": 75, "95%": 95, "max": 100}


def count_words(text: str) -> int:
    """The number of words of a text."""
    if not text.isascii():
        text = _UNSPACED.sub(" . ", text)
    return len(text.split())


def counter(tokenizer: Path | None) -> Count:
    """What counts lengths: tokens of a ``tokenizer.json`` or the folder that holds it, or words.

    Raises:
        InputError: there is no tokenizer.
    """
    if tokenizer is None:
        return count_words
    from tokenizers import Tokenizer

    file = _tokenizer_file(tokenizer)
    try:
        model = Tokenizer.from_str(file.read_text(encoding="utf-8"))
    except Exception as error:  # the library raises nothing narrower
        raise InputError(f"{file}: not a tokenizer of the tokenizers library ({error})") from error
    model.no_truncation()  # the file may say to cut and to fill up, as for training
    model.no_padding()

    def count_tokens(text: str) -> int:
        return len(model.encode(text, add_special_tokens=False))

    return count_tokens


def identity(tokenizer: Path | None) -> dict[str, str] | None:
    """What a manifest says of a tokenizer: the name of its folder, and its digest.

    Raises:
        InputError: there is none, which is better known before a build than during it.
    """
    if tokenizer is None:
        return None
    counter(tokenizer)
    file = _tokenizer_file(tokenizer)
    return {"name": file.resolve().parent.name, "sha256": files.sha256(file)}


def _tokenizer_file(path: Path) -> Path:
    return path / "tokenizer.json" if path.is_dir() else path


def describe(messages: Iterable[Message], language: str | None, count: Count) -> str:
    """One row, for :meth:`Statistics.add`: its language, characters and lengths by role, as JSON.

    A ``language`` of None was not looked for.
    """
    characters = dict.fromkeys(ROLES, 0)
    lengths: dict[str, list[int]] = {role: [] for role in ROLES}
    for turn in messages:
        characters[turn["role"]] += len(turn["content"])
        lengths[turn["role"]].append(count(turn["content"]))
    return orjson.dumps([language, characters, lengths]).decode()


class Statistics:
    """The sum over rows, in memory that grows with the square root of the text.

    A histogram has one entry for each length that occurs; a thousand of them are half a million
    words.
    """

    def __init__(self, unit: str) -> None:
        self._unit = unit
        self._turns = Counter[int]()
        self._characters = Counter[str]()
        self._lengths = {role: Counter[int]() for role in ROLES}
        self._languages = Counter[str]()
        self._sampled = 0
        self._diversities: dict[str, list[int]] = {role: [] for role in ROLES}

    def add(self, described: str) -> None:
        """Add a row as :func:`describe` gave it."""
        language, characters, lengths = orjson.loads(described)
        self._turns[sum(map(len, lengths.values()))] += 1
        for role in ROLES:
            self._characters[role] += characters[role]
            self._lengths[role].update(lengths[role])
        if language is not None:
            self._languages[language] += 1

    def add_diversity(self, messages: Iterable[Message]) -> None:
        """Add the lexical diversity of each long enough utterance of a sampled row."""
        self._sampled += 1
        for turn in messages:
            spoken = words(turn["content"])
            if len(spoken) >= _MTLD_WORDS:
                self._diversities[turn["role"]].append(round(100 * mtld(spoken)))

    def table(self) -> dict[str, Any]:
        """The figures for the manifest; empty without a row.

        ``turns`` (of a conversation) and ``length`` (of a turn, in ``unit``) have ``sum`` and
        quantiles: the smallest value that this share of all values does not exceed. ``mtld`` is the
        mean over the ``utterances`` of the ``sampled`` conversations, rounded to a tenth.
        """
        if not self._turns:
            return {}
        return {
            "conversations": self._turns.total(),
            "turns": _distribution(self._turns),
            "unit": self._unit,
            "roles": {role: self._of_role(role) for role in ROLES if self._lengths[role]},
            "sampled": self._sampled,
            "mtld_words": _MTLD_WORDS,
            "languages": dict(sorted(self._languages.items(), key=lambda one: (-one[1], one[0]))),
        }

    def _of_role(self, role: Role) -> dict[str, Any]:
        lengths, diversities = self._lengths[role], self._diversities[role]
        found: dict[str, Any] = {
            "turns": lengths.total(),
            "characters": self._characters[role],
            "length": _distribution(lengths),
        }
        if diversities:
            mean = round(sum(diversities) / len(diversities) / 100, 1)
            found["mtld"] = {"mean": mean, "utterances": len(diversities)}
        return found


def _distribution(histogram: Counter[int]) -> dict[str, int]:
    total, seen = histogram.total(), 0
    found = {"sum": sum(value * count for value, count in histogram.items())}
    wanted = iter(_QUANTILES.items())
    name, percent = next(wanted)
    for value, count in sorted(histogram.items()):
        seen += count
        while 100 * seen >= percent * total:
            found[name] = value
            name, percent = next(wanted, ("", 101))
    return found


def mtld(spoken: Sequence[bytes]) -> float:
    """Measure of textual lexical diversity: over how many words, on average, few come back.

    It is the mean length of a stretch of the text in which different words are more than 0.72 of
    all, taken forwards and backwards. A text in which no word comes back has its own length.

    McCarthy & Jarvis, "MTLD, vocd-D, and HD-D: A validation study of sophisticated approaches to
    lexical diversity assessment", Behavior Research Methods 42 (2010), 381-392.
    """
    return (_mtld_one_way(spoken) + _mtld_one_way(spoken[::-1])) / 2


def _mtld_one_way(spoken: Sequence[bytes]) -> float:
    """In whole numbers: different / length <= 0.72 is repeats / length >= 7 / 25."""
    factors = 0.0
    seen: set[bytes] = set()
    start = repeats = 0
    for place, word in enumerate(spoken, 1):
        if word not in seen:
            seen.add(word)
            continue
        repeats += 1  # only here can the share fall
        if 25 * repeats >= 7 * (place - start):
            factors += 1
            seen.clear()
            start, repeats = place, 0
    if length := len(spoken) - start:
        factors += 25 * repeats / (7 * length)  # the begun stretch counts for how far it has come
    return len(spoken) / factors if factors else float(len(spoken))
