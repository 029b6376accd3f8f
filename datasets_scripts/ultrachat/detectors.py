# ruff: noqa: RUF001 (marks of other scripts are a matter of this file)
"""What is wrong with a turn of a simulated dialogue.

A simulated user is an assistant that plays somebody else, and falls out of its part: it answers,
thanks, repeats what stands before it, or talks about its role. Each fault has a detector here; what
people write into a chat must pass, a bare "Why?" and a pasted stack trace too. Words by which a
fault is told are in ``patterns/``. No text is too odd or too long for any of them: time is linear.

``measure_detectors.py`` measures them on turns with known faults.
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from datasets_scripts import boilerplate, expressions
from datasets_scripts.code_spans import mask_code
from datasets_scripts.expressions import Group
from datasets_scripts.ultrachat.foreign import is_foreign
from datasets_scripts.ultrachat.plan import Plan
from datasets_scripts.words import words
from ultra.chat import Completion
from ultra.schema import Message

USER_FAULTS = (
    "empty",
    "length",
    "content_filter",
    "reasoning",
    "role_tags",
    "stage_talk",
    "thanks_only",
    "answers_instead",
    "repeats_itself",
    "copies_assistant",
    "wrong_language",
    "too_long",
)
ASSISTANT_FAULTS = (
    "empty",
    "length",
    "content_filter",
    "reasoning",
    "role_tags",
    "refusal",
    "truncated",
)

PATTERNS = Path(__file__).parent / "patterns"

_LONGEST_TURN = 20_000
"""Characters of a user's turn, code and pasted text among them; none longer is looked into."""
_LONGEST = {"words": 80, "sentence": 120, "sentences": 200, "paragraph": 350}
"""Words of prose, by the plan's length: several times what was asked for, so gross cases only."""
_LONGEST_FAREWELL = 400
"""Characters."""
_STATEMENT = 70
"""Words that nobody says in a chat without asking, wishing or objecting to anything."""
_LIST = 3
"""Lines of a list or headings: with """
_LISTED = 35
"""words that hold no question or wish, an answer."""
_REPEATED, _NEW = 0.8, 0.1
"""A turn repeats another if that share of its n-grams is in it and less of its words are new."""
_COPIED = 0.6
"""Share of a turn's n-grams from an answer; a quotation without marks is less of a turn."""
_COPY_WORDS = 12
"""A shorter turn may well consist of words that were just used."""
_BREVITIES = 3
"""Words: ``go on``, ``why not?`` may be said twice."""

_THOUGHTS = re.compile(
    r"</?(?:think|thinking|thought|thoughts|reasoning|reflection|scratchpad|analysis)>", re.I
)
_QUOTED = re.compile(
    r"""
    "[^"\n]{1,400}" | “[^”\n]{1,400}” | «[^»\n]{1,400}» | „[^“\n]{1,400}“ | 「[^」\n]{1,400}」
    | (?<!\w)'[^'\n]{1,400}'(?!\w) | ‘[^’\n]{1,400}’ | ^[ \t]*>.*
    """,
    re.VERBOSE | re.MULTILINE,
)
_CODE_LINE = re.compile(
    r"""
    (?:\t|[ ]{4}).* | [ ]*(?:at\ [\w.$<>]+\(|File\ "|Traceback\ \(|[$>]\ |\#include\b|import\ ).*
    | [\w.]*(?:Error|Exception|Warning)\b:?.* | .*(?:[{};]|\):|/>|=>)[ \t]*
    """,
    re.VERBOSE,
)
_LIST_LINE = re.compile(r"^[ \t]*(?:[-*+•] |\d{1,3}[.)、] ?|#{1,6} )\S.*", re.MULTILINE)
_CLAUSE_END = re.compile(r"[.!;,:()\n…~。！；，、：—–-]+(?:\s|$)|[。！；，、：…~\n]+")
_POLITE = frozenset(
    b"please again so but and also then ok okay well just now could can would you me kindly".split()
) | {char.encode() for char in "请再那么吧呢啊嗯"}


def finish_fault(completion: Completion) -> str | None:
    """What a completion says itself about how it ended; or that there is nothing in it."""
    if completion.finish_reason in ("length", "content_filter"):
        return completion.finish_reason
    return None if completion.text.strip() else "empty"


def assistant_fault(completion: Completion) -> str | None:
    """What is wrong with an answer, one of ``ASSISTANT_FAULTS``, or None."""
    found = finish_fault(completion)
    if found:
        return found
    text = completion.text
    if len(text) > 2 * _LONGEST_TURN:  # no model's answer; enough to see what it is
        text = f"{text[:_LONGEST_TURN]}\n{text[-_LONGEST_TURN:]}"
    if _THOUGHTS.search(mask_code(text)):
        return "reasoning"
    if _has(text, "control.txt"):
        return "role_tags"
    if expressions.find(_refusals(), text):
        return "refusal"
    return "truncated" if _is_cut_off(completion.text) else None


def user_fault(text: str, messages: Sequence[Message], plan: Plan) -> str | None:
    """What is wrong with a turn of the simulated user, one of ``USER_FAULTS``, or None.

    ``messages`` are those before the turn, from the opening to an answer.
    """
    if not text.strip():
        return "empty"
    if len(text) > _LONGEST_TURN:
        return "too_long"
    text = text.replace("\u2019", "'")
    prose = _prose(text)
    said = words(prose)
    checks: dict[str, Callable[[], bool]] = {
        "reasoning": lambda: _THOUGHTS.search(mask_code(text)) is not None,
        "role_tags": lambda: _has(text, "roles.txt") or _has(text, "control.txt"),
        "stage_talk": lambda: _has(text, "stage.txt"),
        "thanks_only": lambda: _only_thanks(text, messages),
        "repeats_itself": lambda: _repeats(said or words(text), messages),
        "copies_assistant": lambda: _copies(text, messages),
        "answers_instead": lambda: _has(text, "answers.txt") or _only_states(prose, len(said)),
        "wrong_language": lambda: is_foreign(_QUOTED.sub(" ", prose), _own_words(plan)),
        "too_long": lambda: len(said) > _LONGEST[plan.length] * (1 + _unspaced(said)),
    }
    return next((fault for fault, found in checks.items() if found()), None)


def is_goodbye(answer: str) -> bool:
    """Whether an answer only returns thanks or a farewell."""
    return len(answer) <= _LONGEST_FAREWELL and _is_all(answer, "welcome.txt")


@cache
def _groups(name: str) -> list[Group]:
    return expressions.load(PATTERNS / name)


@cache
def _refusals() -> list[Group]:
    return expressions.load(boilerplate.PATTERNS / "refusals.txt")


def _has(text: str, patterns: str) -> bool:
    return expressions.find(_groups(patterns), text) is not None


@cache
def _clauses(*patterns: str) -> re.Pattern[str]:
    groups = (group for name in patterns for group in _groups(name))
    return re.compile("|".join(group.expression for group in groups), re.IGNORECASE)


def _is_all(text: str, *patterns: str) -> bool:
    """Whether each clause of a text is all one of the patterns; smileys do not count."""
    spoken = _spoken(text)
    return bool(spoken) and all(map(_clauses(*patterns).fullmatch, spoken))


def _spoken(text: str) -> list[str]:
    """The clauses of a text, without what stands around them that is no letter, mark or digit."""
    around = "".join(char for char in set(text) if unicodedata.category(char)[0] not in "LMN")
    clauses = (clause.strip(around) for clause in _CLAUSE_END.split(text.replace("\u2019", "'")))
    return [clause for clause in clauses if clause]


def _only_thanks(text: str, messages: Sequence[Message]) -> bool:
    """Thanks, a farewell or assent, and nothing else; mere assent may answer a question."""
    if len(text) > _LONGEST_FAREWELL or any(mark in text for mark in "?？؟"):
        return False
    if not _is_all(text, "thanks.txt", "agreement.txt"):
        return False
    answer = messages[-1]["content"].rstrip()[-200:] if messages else ""
    was_asked = any(mark in answer for mark in "?？؟")
    return not was_asked or any(map(_clauses("thanks.txt").fullmatch, _spoken(text)))


def _only_states(prose: str, count: int) -> bool:
    """Whether a turn explains or lists at length, and asks or wishes for nothing."""
    around, lines = _LIST_LINE.subn("", prose)
    least = _LISTED if lines >= _LIST else _STATEMENT
    least *= 1 + _unspaced(words(prose))
    return count >= least and not _has(around if lines >= _LIST else prose, "asks.txt")


def _repeats(said: list[bytes], messages: Sequence[Message]) -> bool:
    """Whether a turn says again, with hardly a new word, what the user has already said."""
    if len(said) <= _BREVITIES * (1 + _unspaced(said)):
        return False
    said = [word for word in said if word not in _POLITE] or said
    size = 5 if _unspaced(said) else 3
    for turn in messages:
        if turn["role"] == "user":
            before = [word for word in words(turn["content"]) if word not in _POLITE]
            if said == before:
                return True
            new = len(set(said) - set(before)) / len(set(said))
            if new < _NEW and _shared(said, before, size) >= _REPEATED:
                return True
    return False


def _copies(text: str, messages: Sequence[Message]) -> bool:
    """Whether a turn consists of the last answer's words, quotations and code left out."""
    said = words(_QUOTED.sub(" ", _prose(text)))
    if not messages or len(said) < _COPY_WORDS * (1 + _unspaced(said)):
        return False
    size = 8 if _unspaced(said) else 5
    return _shared(said, words(messages[-1]["content"]), size) >= _COPIED


def _shared(one: list[bytes], other: list[bytes], size: int) -> float:
    """Share of the n-grams of one text that are in another; 0 if it has none."""
    grams = list(zip(*(one[start:] for start in range(size)), strict=False))
    there = set(zip(*(other[start:] for start in range(size)), strict=False))
    return sum(gram in there for gram in grams) / len(grams) if grams else 0.0


def _unspaced(said: list[bytes]) -> bool:
    """Whether most words are single characters of a script without blanks between words."""
    single = sum(3 <= len(word) <= 4 and len(word.decode()) == 1 for word in said)
    return 2 * single > len(said)


def _own_words(plan: Plan) -> str:
    """The opening without the text that it is about, which may be in any language."""
    opening = plan.opening
    return opening.text.replace(opening.material, " ") if opening.material else opening.text


def _prose(text: str) -> str:
    """A text without fenced code, and without lines that look like code or a stack trace."""
    masked = mask_code(text)
    pairs = zip(text.split("\n"), masked.split("\n"), strict=True)
    kept = (line for line, mask in pairs if line == mask and not _CODE_LINE.fullmatch(line))
    return "\n".join(kept)


def _is_cut_off(text: str) -> bool:
    """Whether an answer breaks off: in a fence, or where no sentence, list or letter ends."""
    masked = mask_code(text.rstrip())
    if len(re.findall(r"^[ \t>]*```", text, re.MULTILINE)) % 2:
        return True
    last = masked[masked.rfind("\n") + 1 :].strip()[-_LONGEST_FAREWELL:]
    if not _clauses("cut_off.txt").search(last):
        return False
    return not (last.endswith(",") and len(last.split()) <= 3)  # Yours sincerely,
