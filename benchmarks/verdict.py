"""What a judge's words say: read strictly, or not at all.

New judging is read by the strict parsers, ``last_line_choice``, ``last_scores`` and
``last_rating``: the last explicit word counts, no side is preferred, and what is not there is
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
from pathlib import Path
from typing import Any, Literal, cast

import yaml

from benchmarks import score_pair
from benchmarks.score_pair import HIGHEST, LOWEST, Scores
from ultra import command
from ultra.errors import InputError, SettingError

Choice = Literal["A", "B", "C"]

_MARK = re.compile(r"\[\[([ABC])\]\]")
_RATING = re.compile(r"\[\[ ?([0-9]{1,3}(?:\.[0-9]{1,3})?)(?: ?/ ?10)? ?\]\]")
_LEAD = re.compile(r"((my|the|so) )?(final )?((verdict|choice|decision|rating|score)( is)?)?")
"""The words that may stand beside a mark, in lower case, one blank between them."""


@dataclass(frozen=True)
class Unscored:
    """No verdict could be read, and why."""

    reason: str


def last_line_choice(text: str) -> Choice | Unscored:
    """The one ``[[A]]``, ``[[B]]`` or ``[[C]]`` that is all the last line says.

    The judge was asked to end with such a line; "Final verdict:" before it and emphasis around it
    are let through. Marks further up, or within a sentence, may be quoted from an answer or denied,
    so they never count. Nothing here prefers one side.
    """
    return cast(Choice | Unscored, _last_mark(text, _MARK))


def last_rating(text: str) -> float | Unscored:
    """The one ``[[n]]`` that is all the last line says, from 0 to 10; else as for a choice."""
    mark = _last_mark(text, _RATING)
    if isinstance(mark, Unscored):
        return mark
    rating = float(mark)
    return rating if LOWEST <= rating <= HIGHEST else Unscored("out_of_range")


def _last_mark(text: str, pattern: re.Pattern[str]) -> str | Unscored:
    line = next((line for line in reversed(text.splitlines()) if line.strip()), "")
    found = set(pattern.findall(line))
    if len(found) != 1:
        return Unscored("two_verdicts" if found else "no_verdict" if line else "empty")
    words = re.sub(r"[\W_]+", " ", pattern.sub(" ", line)).strip().lower()
    if not _LEAD.fullmatch(words):
        return Unscored("verdict_in_a_sentence")
    return str(found.pop())


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
    "token_choice": token_choice,
}
"""What a protocol file can name as its ``parser``; the first three are strict."""


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
    path = Path(__file__).parent / "protocols" / f"{Path(name).name}.yaml"
    if path.is_file():
        name = yaml.safe_load(path.read_text(encoding="utf-8"))["parser"]
    if name not in PARSERS:
        known = ", ".join([*sorted(one.stem for one in path.parent.glob("*.yaml")), *PARSERS])
        hint = command.did_you_mean(name, PARSERS)
        raise SettingError(f"protocol {name}: unknown, it is one of: {known}{hint}")
    return PARSERS[name]


if __name__ == "__main__":
    command.main(Settings, read_lines)
