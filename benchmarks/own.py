"""Judgments of one's own as the rows that published ones are read into: one code scores both.

A question that was judged in both orders, in several samples or by turns has several rows. Within
an order its samples are averaged first, then the orders, so that neither position weighs more
because more of its calls were read.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from benchmarks.agreement import length_correlation
from benchmarks.metrics import mean, mean_scores, winner
from benchmarks.published import Annotation, Game, Grade, Review, Winner, in_order

Row = dict[str, Any]
HIGHEST = 10.0
"""The best grade."""
POINTS = {"model": 1.0, "tie": 0.5, "baseline": 0.0}
PARSERS = {
    "pair_choice": ("first_choice", "last_line_choice"),
    "pair_scores": ("first_line_scores", "last_scores"),
    "pair_weighted": ("token_choice", "token_choice"),
    "grade": ("first_rating", "last_rating"),
    "ranking": ("ranking_choice", "last_ranking"),
}

_TOKENS = ("prompt_tokens", "completion_tokens")


def parsers(row: Row) -> tuple[str, str]:
    """The published parser and the strict one of what its judge was asked to write."""
    return PARSERS["ranking" if row["protocol_name"] == "alpaca_eval" else row["kind"]]


def replies(row: Row) -> list[str]:
    """The words of its judge, or of each judge of a panel."""
    return row.get("texts") or [row["text"]]


def ordered(rows: Iterable[Row]) -> list[Row]:
    """Rows by question, turn, order and sample: no figure depends on the order of a file."""

    def place(row: Row) -> tuple[Any, ...]:
        return *in_order(row["id"]), row["turn"], row["order"] != "model_first", row["sample"]

    return sorted(rows, key=place)


def item(row: Row) -> str:
    """What one verdict is about: a question, or one turn of it."""
    return f"{row['id']}/{row['turn']}" if row["turn"] else str(row["id"])


def point(row: Row) -> float | None:
    """The model's points in one call, 0 to 1; None if it is unscored. A grade is taken by tens."""
    if row["verdict"] == "unscored":
        return None
    if row["verdict"] == "graded":
        return float(row["scores"][0]) / HIGHEST
    preference: float | None = row["preference"]
    return POINTS[row["verdict"]] if preference is None else preference - 1


def points_by_order(rows: Iterable[Row]) -> dict[str, dict[str, float | None]]:
    """The model's points on each item in each order, the mean over the samples that were read."""
    samples: dict[str, dict[str, list[float | None]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        samples[item(row)][row["order"]].append(point(row))
    return {
        name: {order: _mean_of_known(of) for order, of in orders.items()}
        for name, orders in samples.items()
    }


def points(rows: Iterable[Row]) -> dict[str, float | None]:
    """The model's points on each item; None if one of its orders is unscored.

    Half of the orders would bring back the preference for a position that both of them cancel.
    """
    found: dict[str, float | None] = {}
    for name, orders in points_by_order(rows).items():
        known = [one for one in orders.values() if one is not None]
        found[name] = mean(known) if len(known) == len(orders) else None
    return found


def outcomes(rows: Iterable[Row]) -> dict[str, float | None]:
    """What each item adds to the wins, ties and losses of its figure: 1, 0.5 or 0 for the model.

    None if it is unscored. Scores are averaged before they are compared, and in MT-bench a win in
    one order alone is a tie.
    """
    rows = list(rows)
    if rows[0]["kind"] == "pair_scores":
        means = mean_scores(reviews(rows))
        sides = {name: pair and _side(0.5 + pair[0] - pair[1]) for name, pair in means.items()}
    elif rows[0]["suite"] == "mt_bench":
        sides = dict(zip(points_by_order(rows), map(winner, games(rows)), strict=True))
    else:
        sides = {name: _side(found) for name, found in points(rows).items()}
    worth = {"model_1": 1.0, "tie": 0.5, "model_2": 0.0}
    return {name: worth[side] if side else None for name, side in sides.items()}


def flip_rate(rows: Iterable[Row]) -> float | None:
    """Percent of items, scored in both orders, whose winner changed with the order."""
    flips = []
    for orders in points_by_order(rows).values():
        known = [_side(one) for one in orders.values() if one is not None]
        if len(known) == len(orders) > 1:
            flips.append(len({*known}) > 1)
    return 100 * sum(flips) / len(flips) if flips else None


def reviews(rows: Iterable[Row]) -> list[Review]:
    """Calls that gave both answers scores."""
    return [
        Review(
            question=item(row),
            category=row["category"],
            scores=(row["scores"][0], row["scores"][1]) if row["scores"] else None,
            text=row["text"],
            model_first=row["order"] == "model_first",
            published=PARSERS["pair_scores"][0],
        )
        for row in rows
    ]


def grades(rows: Iterable[Row]) -> list[Grade]:
    """The grade of each turn, the mean over the samples that were read."""
    samples: dict[tuple[str, int], list[Row]] = defaultdict(list)
    for row in rows:
        samples[row["id"], row["turn"]].append(row)
    read = []
    for (question, turn), of in samples.items():
        score = _mean_of_known(row["scores"][0] if row["scores"] else None for row in of)
        read.append(Grade(of[0]["model"], question, turn, score, of[0]["text"]))
    return read


def games(rows: Iterable[Row]) -> list[Game]:
    """Comparisons in both orders; an order that was not asked for is as good as unscored."""
    rows = list(rows)
    by_order = points_by_order(rows)
    firsts = {item(row): row for row in reversed(rows)}
    return [
        Game(
            model_1=firsts[name]["model"],
            model_2=firsts[name]["baseline"],
            question=firsts[name]["id"],
            turn=firsts[name]["turn"],
            winners=(_side(orders.get("model_first")), _side(orders.get("baseline_first"))),
            texts=("", ""),
        )
        for name, orders in by_order.items()
    ]


def annotations(rows: Iterable[Row], instructions: Mapping[str, str]) -> list[Annotation]:
    """AlpacaEval's preferences; ``instructions`` by id, where length control is to know them."""
    rows = list(rows)
    firsts = {item(row): row for row in reversed(rows)}
    return [
        Annotation(
            instruction=instructions.get(firsts[name]["id"], name),
            model=firsts[name]["model"],
            baseline=firsts[name]["baseline"],
            preference=found,
            model_length=firsts[name]["characters"],
            baseline_length=firsts[name]["baseline_characters"],
        )
        for name, found in points(rows).items()
    ]


def _side(points: float | None) -> Winner | None:
    if points is None:
        return None
    return "model_1" if points > 0.5 else "model_2" if points < 0.5 else "tie"


def _mean_of_known(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return mean(known) if known else None


def divided(rows: Iterable[Row]) -> dict[str, dict[str, str]]:
    """The category of each item and, in a suite that has them, its difficulty."""
    rows = list(rows)
    names = {name: row for row in rows for name in (row["id"], item(row))}
    found = {"category": {name: row["category"] for name, row in names.items()}}
    if any(row["difficulty"] for row in rows):
        found["difficulty"] = {name: str(row["difficulty"]) for name, row in names.items()}
    return found


def habits(rows: list[Row]) -> Row:
    """What may speak against a judge, what it took, and how long the answers were.

    ``flip_rate`` in percent, ``length_correlation`` from -1 to 1, ``one_order`` the questions of
    which one order alone was scored; lengths in characters. ``usd`` is None if any price is.
    """
    lengths = {item(row): row["characters"] for row in rows if row["characters"]}
    more = {item(row): row["characters"] - row["baseline_characters"] for row in rows}
    one_order = [
        sum(one is None for one in orders.values()) not in (0, len(orders))
        for orders in points_by_order(rows).values()
    ]
    prices = [row["usd"] for row in rows]
    usage = {name: sum(row["usage"].get(name, 0) for row in rows) for name in _TOKENS}
    compared = rows[0]["kind"] != "grade"
    pairs = [(more[name], one) for name, one in points(rows).items()] if compared else []
    return {
        "flip_rate": flip_rate(rows) if compared else None,
        "one_order": sum(one_order),
        "length_correlation": length_correlation(pairs),
        "characters": sum(lengths.values()) / len(lengths) if lengths else None,
        **usage,
        "usd": None if None in prices else math.fsum(prices),
    }
