"""What a judge's words say: read strictly, or not at all.

New judging is read by the strict parsers, ``last_line_choice``, ``last_scores``, ``last_rating``
and ``last_ranking``: the last explicit word counts, no side is preferred, and what is not there is
``Unscored`` with a reason. Published judgments are recomputed with the parsers that they were made
with, whose faults are theirs, but whose failures (-1, "error", nan) are ``Unscored`` here, too.
"""

import ast
import json
import math
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast

from benchmarks import score_pair
from benchmarks.score_pair import HIGHEST, LOWEST, Scores
from ultra import command
from ultra.errors import InputError, SettingError

Choice = Literal["A", "B", "C"]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_MARK = re.compile(r"\[\[([ABC])\]\]")
_RATING = re.compile(
    r"\[\[ ?([0-9]{1,3}(?:\.[0-9]{1,3})?)(?: ?/ ?10)? ?\]\](?: ?/ ?10\b| out of 10\b)?"
)
_SENTENCE_END = re.compile(r"(?<!^[0-9])[.!?][\"”')*_]*\s+")
_LEAD = _words(
    "a I i we my our the this that it is are as so in of for to here therefore thus hence overall"
    " conclusion summary final verdict choice decision rating score grade judgment evaluation"
    " assessment follows following below would rate rated give gives giving assign receives"
    " deserves assistant s response"
)
"""Words that may stand beside a mark; sides of a comparison and words of denial are not."""
_RANKED = re.compile(
    r"""\[\s*\{\s*['"]model['"]\s*:\s*['"]model_([12])['"]\s*,\s*['"]rank['"]\s*:\s*([12])\s*\}\s*"""
    r""",\s*\{\s*['"]model['"]\s*:\s*['"]model_([12])['"]\s*,\s*['"]rank['"]\s*:\s*([12])\s*\}"""
    r"""\s*,?\s*\]"""
)


@dataclass(frozen=True)
class Unscored:
    """No verdict could be read, and why."""

    reason: str


def last_line_choice(text: str) -> Choice | Unscored:
    """The one ``[[A]]``, ``[[B]]`` or ``[[C]]`` that the last sentence of the last line is.

    The judge was asked to end with it; "Final verdict:" and other words that add nothing are let
    through beside it, and emphasis around it. Marks further up may be taken back, those within a
    sentence may be denied or told of, and those in quoted lines, in code or after "It ends with:"
    are somebody else's: none of them ever counts. Nothing here prefers one side.
    """
    return cast(Choice | Unscored, _last_mark(text, _MARK))


def last_rating(text: str) -> float | Unscored:
    """The one ``[[n]]`` that the last sentence is, from 0 to 10; else as for a choice."""
    mark = _last_mark(text, _RATING)
    if isinstance(mark, Unscored):
        return mark
    rating = float(mark)
    return rating if LOWEST <= rating <= HIGHEST else Unscored("out_of_range")


def _last_mark(text: str, pattern: re.Pattern[str]) -> str | Unscored:
    heading, line = ["", "", *_own_lines(text)][-2:]
    found = set(pattern.findall(line))
    if len(found) != 1:
        return Unscored("two_verdicts" if found else "no_verdict" if text.strip() else "empty")
    start = next(pattern.finditer(line)).start()
    before = _SENTENCE_END.split(line[:start])[-1]
    if not _adds_nothing(before + pattern.sub(" ", line[start:])):
        return Unscored("verdict_in_a_sentence")
    introduced = heading.rstrip("*_ ").endswith(":")
    if introduced and not _adds_nothing(_SENTENCE_END.split(heading)[-1]):
        return Unscored("verdict_in_a_sentence")
    return str(found.pop())


def _own_lines(text: str) -> list[str]:
    """The lines that are neither empty nor marked as a quotation or as code."""
    lines, fenced = [], False
    for line in map(str.strip, text.splitlines()):
        if line.startswith(("~~~", "```")):
            fenced = not fenced
        elif line and not fenced and not line.startswith(">"):
            lines.append(line)
    return lines


def _adds_nothing(words: str) -> bool:
    """Whether what stands beside a mark leaves it what it is: no other words, no open quotation."""
    if words.count('"') % 2 or words.count("“") != words.count("”"):
        return False
    found = re.sub(r"[\W_]+", " ", words).split()
    return all((word if len(word) == 1 else word.lower()) in _LEAD for word in found)


def last_scores(text: str) -> Scores | Unscored:
    """The last explicit pair of scores, see :func:`benchmarks.score_pair.read`."""
    scores = score_pair.read(text)
    return Unscored(scores) if isinstance(scores, str) else scores


def first_line_scores(text: str) -> Scores | Unscored:
    """Two numbers that are all of the first line (FastChat ``eval_gpt_review.py``, 2023).

    The published parser writes -1, -1 where it fails, and never checks the range.
    """
    return _two_numbers(text.partition("\n")[0]) or Unscored("no_verdict")


def openchat_scores(text: str) -> Scores | Unscored:
    """The last line of two numbers, or else the last JSON list of two (OpenChat, July 2023).

    The published parser writes 0, 0 where it fails, and never checks the range.
    """
    for line in reversed(text.strip().split("\n")):
        if scores := _two_numbers(line.strip()):
            return scores
    lists = re.findall(r"\[ *([0-9.]{1,20}) *, *([0-9.]{1,20}) *\]", text)
    return (_two_numbers(" ".join(lists[-1])) if lists else None) or Unscored("no_verdict")


def last_two_lines_scores(text: str) -> Scores | Unscored:
    """What follows the last colon of the last two lines (Wang et al., arXiv 2305.17926)."""
    lines = [line.rpartition(":")[2].strip() for line in text.split("\n")[-2:]]
    return _two_numbers(" ".join(lines)) or Unscored("no_verdict")


def _two_numbers(line: str) -> Scores | None:
    parts = line.replace(",", " ").split(" ")
    try:
        one, two = (float(part) for part in parts)
    except ValueError:
        return None
    # -1 is how a failure was written down, and Python reads "nan" as a number.
    return (one, two) if math.isfinite(one + two) and min(one, two) >= 0 else None


def first_rating(text: str) -> float | Unscored:
    """The first ``[[n]]``, or else the first ``[n]`` (MT-bench, ``llm_judge/common.py``)."""
    for pattern in (r"\[\[([0-9]+\.?[0-9]*)\]\]", r"\[([0-9]+\.?[0-9]*)\]"):
        if found := re.search(pattern, text):
            rating = float(found[1])
            return rating if math.isfinite(rating) else Unscored("no_verdict")
    return Unscored("no_verdict")


def first_choice(text: str) -> Choice | Unscored:
    """``[[A]]`` if it is anywhere, else ``[[B]]``, else ``[[C]]`` (MT-bench): sides differ."""
    choices: tuple[Choice, ...] = ("A", "B", "C")
    return next((one for one in choices if f"[[{one}]]" in text), Unscored("no_verdict"))


def ranking_choice(text: str) -> Choice | Unscored:
    """Whom a list of ``{'model': 'model_1', 'rank': 1}`` puts first (AlpacaEval 1)."""
    try:
        ranks = {row["model"]: row["rank"] for row in ast.literal_eval(text[:10_000].strip())}
    except (ValueError, SyntaxError, TypeError, KeyError, MemoryError, RecursionError):
        return Unscored("no_verdict")
    choices: dict[Any, Choice] = {1: "A", 2: "B"}
    rank = ranks.get("model_1")
    return choices[rank] if type(rank) is int and rank in choices else Unscored("no_verdict")


def last_ranking(text: str) -> Choice | Unscored:
    """Whom a list of both models and their ranks, 1 and 2, puts first; nothing may stand beside it.

    As AlpacaEval 1 asks for it; a fence of code around it is let through.
    """
    fence = re.fullmatch(r"```(?:python|json)?\n(.*)\n```", text[:1000].strip(), re.DOTALL)
    found = _RANKED.fullmatch(fence[1].strip() if fence else text[:1000].strip())
    if found is None:
        return Unscored("no_verdict" if text.strip() else "empty")
    one, rank, other, last = found.groups()
    if one == other or rank == last:
        return Unscored("contradictory")
    return "A" if (one == "1") == (rank == "1") else "B"


def token_choice(text: str) -> Choice | Unscored:
    """The single token ``m``, the first answer, or ``M``, the second (AlpacaEval 2)."""
    choices: dict[str, Choice] = {"m": "A", "M": "B"}
    return choices.get(text.strip()) or Unscored("no_verdict" if text.strip() else "empty")


def token_preference(top_logprobs: Sequence[dict[str, Any]]) -> float | Unscored:
    """How far the judge preferred the second answer shown, from 0 to 1 (AlpacaEval 2).

    1 - p(m) / (p(m) + p(M)), from the ``top_logprobs`` of its one token in the OpenAI form; a token
    that is not among them has p = 0. The upstream preference is 1 more than this.
    """
    weights = {"m": 0.0, "M": 0.0}
    for entry in top_logprobs:
        logprob = entry.get("logprob")
        if entry.get("token") in weights and isinstance(logprob, int | float):
            weights[entry["token"]] = math.exp(min(logprob, 0.0))
    total = weights["m"] + weights["M"]
    return weights["M"] / total if total > 0 else Unscored("no_verdict")


Verdict = Choice | Scores | float
Parser = Callable[[str], Verdict | Unscored]

PARSERS: dict[str, Parser] = {
    "last_line_choice": last_line_choice,
    "last_scores": last_scores,
    "last_rating": last_rating,
    "first_line_scores": first_line_scores,
    "openchat_scores": openchat_scores,
    "last_two_lines_scores": last_two_lines_scores,
    "first_rating": first_rating,
    "first_choice": first_choice,
    "ranking_choice": ranking_choice,
    "last_ranking": last_ranking,
    "token_choice": token_choice,
}
"""What a protocol file can name as its ``parser``; ``last_…`` and ``token_choice`` are strict."""
PAIR_PARSERS = {"last_scores", "first_line_scores", "openchat_scores", "last_two_lines_scores"}
CHOICE_PARSERS = {
    "last_line_choice",
    "first_choice",
    "last_ranking",
    "ranking_choice",
    "token_choice",
}
GRADE_PARSERS = {"last_rating", "first_rating"}
"""Which of them read what."""


@dataclass(frozen=True)
class Settings:
    """Read judges' words from stdin, lines of {"text": ...}, and print what they say."""

    protocol: str = "pairwise"
    """Name of a protocol, whose parser is used, or of a parser."""
    jsonl: bool = True
    """Lines of JSON, {"verdict", "reason"}; else the verdict or the reason alone."""


def read_lines(settings: Settings) -> None:
    """Print a line for each line read.

    Raises:
        SettingError: no protocol and no parser has this name.
        InputError: a line is no JSON object with a text.
    """
    parser = _parser(settings.protocol)
    for text in _texts():
        read = parser(text)
        if isinstance(read, Unscored):
            line = {"verdict": "unscored", **asdict(read)}
        else:
            line = {"verdict": read, "reason": ""}
        print(json.dumps(line) if settings.jsonl else line["reason"] or line["verdict"])


def _texts() -> Iterator[str]:
    # Python's own parser takes halves of surrogate pairs, which judges' tokens can end in.
    for number, line in enumerate(sys.stdin.buffer, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"stdin:{number}: not JSON ({error})") from error
        text = row.get("text") if isinstance(row, dict) else None
        if not isinstance(text, str):
            raise InputError(f'stdin:{number}: expected an object with a "text"')
        yield text


def _parser(name: str) -> Parser:
    if name in PARSERS:
        return PARSERS[name]
    from benchmarks import protocol  # which needs this module's parsers

    if name not in protocol.names() and not name.endswith((".yaml", ".yml")):
        known = [*protocol.names(), *PARSERS]
        hint = command.did_you_mean(name, known)
        raise SettingError(f"protocol {name}: unknown, it is one of: {', '.join(known)}{hint}")
    return PARSERS[protocol.written(name)[0]["parser"]]


if __name__ == "__main__":
    command.main(Settings, read_lines)
