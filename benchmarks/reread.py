"""Published judgments read again from the judge's words alone, by the strict parsers or others.

Apart from ``published``, for what was read once needs no parser, and importing them takes time.
"""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from benchmarks import reading, verdict
from benchmarks.published import Annotation, Game, Grade, Review, Winner, is_switched
from benchmarks.verdict import Parser, Unscored

Row = dict[str, Any]

_NOT_READ = {
    "empty",
    "no_verdict",
    "two_verdicts",
    "verdict_in_a_sentence",
    "one_score",
    "out_of_range",
    "contradictory",
}
"""Why a reply that came whole holds no verdict."""


def annotation(one: Annotation, row: dict[str, Any]) -> Annotation:
    """The preference from the judge's log probabilities alone, as AlpacaEval 2 kept them in a row.

    Answers that are the same were never shown to a judge, and are a draw.
    """
    if row["output_1"] == row["output_2"]:
        return one._replace(preference=0.5)
    try:
        tokens = row["raw_completion"]["logprobs"]["content"]
        read = verdict.token_preference(tokens[0]["top_logprobs"])
    except (KeyError, IndexError, TypeError, AttributeError):
        read = Unscored("no_logprobs")
    if isinstance(read, Unscored):
        return one._replace(preference=None)
    return one._replace(preference=1 - read if is_switched(row["instruction"]) else read)


def review(one: Review, parser: Parser = verdict.last_scores) -> Review:
    """The review with its scores read from its text alone."""
    scores = parser(one.text)
    if not isinstance(scores, tuple):
        return one._replace(scores=None)
    return one._replace(scores=scores if one.model_first else scores[::-1])


def grade(one: Grade, parser: Parser = verdict.last_rating) -> Grade:
    """The grade, read from its text alone."""
    score = parser(one.text)
    return one._replace(score=score if isinstance(score, float) else None)


def game(one: Game, parser: Parser = verdict.last_line_choice) -> Game:
    """The comparison with its winners read from its texts alone; model_2 is A in the second."""
    sides: list[dict[Any, Winner]] = [
        {"A": "model_1", "B": "model_2", "C": "tie"},
        {"A": "model_2", "B": "model_1", "C": "tie"},
    ]
    first, second = (side.get(parser(text)) for side, text in zip(sides, one.texts, strict=True))
    return one._replace(winners=(first, second))


def own(row: Row, parser: Parser) -> Row:
    """A judgment of one's own with its verdict read again, from the words or the token's chances.

    One that no reply came for, or whose reply was cut off or filtered, is as it was.
    """
    if not row["tries"] or (row["reason"] and row["reason"] not in _NOT_READ):
        return row
    model_first = row["order"] == "model_first"
    if row["kind"] == "pair_weighted":
        found = reading.chances(row["logprobs"], model_first)
    else:
        found = reading.words(row["text"], parser, model_first)
    return {**row, **asdict(found), "logprobs": row["logprobs"]}


def read_differently(texts: Iterable[tuple[str, str, str]]) -> int:
    """How many texts two parsers read differently; (text, parser, other parser) each.

    Not being read is one reading, whatever the reason.
    """
    count = 0
    for text, *names in texts:
        one, two = (verdict.PARSERS[name](text) for name in names)
        unread = isinstance(one, Unscored), isinstance(two, Unscored)
        count += unread[0] != unread[1] or (not unread[0] and one != two)
    return count
