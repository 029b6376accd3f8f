"""From judgments to numbers: one's own here, published ones by way of ``metrics``.

As a command it recomputes a table from judgments, published or one's own: ``published`` reads the
files, ``recompute`` makes the lines, formulae are in ``metrics`` and ``length_control``.
"""

import os
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import orjson

from benchmarks import published, recompute
from benchmarks.published import Form
from ultra import command
from ultra.errors import InputError, SettingError

if TYPE_CHECKING:
    from benchmarks.length_control import Reference

POINTS = {"model": 1.0, "tie": 0.5, "baseline": 0.0}


@dataclass(frozen=True)
class Score:
    """How often a model's answer was preferred to the baseline's.

    ``n`` questions were scored, ``unscored`` were not and count nowhere. ``win_rate`` and
    ``standard_error`` are in percent and None where n is too small (0, or below 2).
    """

    n: int
    unscored: int
    win_rate: float | None
    standard_error: float | None
    wins: int
    ties: int
    losses: int


def points(judgments: Iterable[dict[str, Any]]) -> dict[str, float | None]:
    """The model's points on each question, 0 to 1; None if one of its orders is unscored."""
    verdicts: dict[str, list[str]] = defaultdict(list)
    for row in judgments:
        verdicts[row["id"]].append(row["verdict"])
    return {
        id: None if "unscored" in of else statistics.fmean(POINTS[verdict] for verdict in of)
        for id, of in verdicts.items()
    }


def win_rate(judgments: Iterable[dict[str, Any]]) -> Score:
    """Win rate over questions, each judged once in every order.

    A question's points are the mean over its orders of 1 for the model, 0.5 for a tie, 0 for the
    baseline, so a preference for a position cancels out. A question with an unscored order is left
    out whole, because half of it would bring that preference back. The standard error is the sample
    standard deviation of the points over the square root of n (as in AlpacaEval's ``win_rate``).
    """
    by_question = points(judgments)
    scored = [point for point in by_question.values() if point is not None]
    n = len(scored)
    return Score(
        n=n,
        unscored=len(by_question) - n,
        win_rate=100 * statistics.fmean(scored) if n else None,
        standard_error=100 * statistics.stdev(scored) / n**0.5 if n > 1 else None,
        wins=sum(point > 0.5 for point in scored),
        ties=sum(point == 0.5 for point in scored),
        losses=sum(point < 0.5 for point in scored),
    )


def wilson_interval(score: Score) -> tuple[float, float] | None:
    """The 95 % score interval of a win rate, in percent (Wilson 1927, with n the questions).

    Unlike win rate ± 1.96 standard errors it is no point where every answer won or lost. It takes
    the points for wins and losses only, so with ties it is a little too wide.
    """
    if score.win_rate is None:
        return None
    z, n, share = 1.959964, score.n, score.win_rate / 100
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * (share * (1 - share) / n + z**2 / (4 * n**2)) ** 0.5
    return 100 * max(0.0, middle - half), 100 * min(1.0, middle + half)


def flip_rate(judgments: Iterable[dict[str, Any]]) -> float | None:
    """Percent of questions, scored in both orders, whose verdict changed with the order."""
    verdicts: dict[str, set[str]] = defaultdict(set)
    for row in judgments:
        verdicts[row["id"]].add(row["verdict"])
    scored = [of for of in verdicts.values() if "unscored" not in of]
    return 100 * sum(len(of) > 1 for of in scored) / len(scored) if scored else None


PREFERENCES: set[Form] = {"annotations", "own"}
REVIEWS: set[Form] = {"reviews", "openchat", "own"}
SUITES: dict[str, set[Form]] = {
    "alpaca_eval": PREFERENCES,
    "alpaca_eval_2": PREFERENCES,
    "vicuna_80": REVIEWS,
    "evol_instruct": REVIEWS,
    "ultra_eval": REVIEWS,
    "mt_bench": {"grades", "games", "own"},
    "starter": REVIEWS,
}
"""Which forms of judgments a suite's numbers are made of."""


@dataclass(frozen=True)
class Settings:
    """Recompute a suite's numbers from judgments, published or one's own."""

    suite: str = command.positional("the suite that was judged")
    files: list[Path] = command.positional("one or more files of judgments")
    json: bool = False
    """One JSON object a model, and no table."""
    reparse: bool = False
    """Read scores from the judge's words only, with the strict parser."""
    lc_C: float | None = None  # noqa: N815 (a penalty's weight is called C)
    """Penalty of length control; by default the one that cross-validates best."""
    lc_data: Literal["any", "published", "none"] = "any"
    """For length control: published files only, or their equivalents too; none leaves it out."""
    bootstrap: int = 0
    """Rounds for the standard error of the length-controlled win rate; 0 leaves it out."""
    baseline: str = ""
    """MT-bench comparisons: only those with this model, which is not listed itself."""
    benchmarks_dir: Path | None = None
    """Folder of the published benchmark files; by default ULTRA_BENCHMARKS_DIR."""

    def __post_init__(self) -> None:
        if self.lc_C is not None and not self.lc_C > 0:
            raise SettingError(f"lc_C: {self.lc_C} is not above 0")
        if self.lc_data == "none" and (self.lc_C is not None or self.bootstrap):
            raise SettingError("lc_data: none leaves out what lc_C and bootstrap are about")
        if self.bootstrap < 0 or self.bootstrap == 1:
            raise SettingError(
                f"bootstrap: {self.bootstrap} is no number of rounds, 0 or 2 or more"
            )


def score(settings: Settings) -> list[dict[str, Any]]:
    """Print the numbers of each model in each file, as JSON lines or as a table.

    Raises:
        SettingError: unknown suite, or published files that are needed and not there.
        InputError: a file holds no judgments of this suite, or a row is none.
    """
    if settings.suite not in SUITES and ".jsonl" not in settings.suite:
        hint = command.did_you_mean(settings.suite, SUITES)
        names = ", ".join(SUITES)
        raise SettingError(f"suite {settings.suite}: unknown, it is one of: {names}{hint}")
    reference = _reference(settings)
    categories = recompute.categories(settings.suite, _folder(settings))
    lines = [
        {**line, "file": str(path)}
        for path in settings.files
        for line in _lines(path, settings, reference, categories)
    ]
    if settings.json:
        for line in lines:
            print(orjson.dumps(line).decode())
    else:
        from tabulate import tabulate

        shown = [{k: v for k, v in line.items() if not isinstance(v, dict)} for line in lines]
        print(tabulate(shown, headers="keys", tablefmt="pipe", floatfmt=".2f"))
    return lines


def _lines(
    path: Path,
    settings: Settings,
    reference: "Reference | None",
    categories: Mapping[str, Mapping[str, str]],
) -> Iterator[dict[str, Any]]:
    """The numbers of each model in one file."""
    rows = published.rows(path)
    form = published.form(path, rows[0])
    if form not in SUITES.get(settings.suite, REVIEWS):
        raise InputError(f"{path}: these {form} are no judgments of suite {settings.suite}")
    if form == "annotations":
        annotations = published.annotations(path, rows)
        if settings.reparse and not any(row.get("raw_completion") for row in rows):
            raise SettingError(f"reparse: {path} holds no words of the judge, only preferences")
        if settings.reparse:
            pairs = zip(annotations, rows, strict=True)
            annotations = [published.reread_annotation(one, row) for one, row in pairs]
        yield from recompute.preferences(annotations, reference, settings.lc_C, settings.bootstrap)
    elif form in ("reviews", "openchat"):
        read = published.reviews if form == "reviews" else published.openchat
        yield recompute.reviews(read(path, rows), path, settings.reparse, categories)
    elif form == "grades":
        grades = published.grades(path, rows)
        yield from recompute.grades(grades, settings.reparse, categories)
    elif form == "games":
        games = published.games(path, rows)
        yield from recompute.games(games, settings.reparse, settings.baseline)
    else:
        from benchmarks import results  # which holds judgments to this module's verdicts

        judgments = results.read_judgments(path)
        yield own_line(judgments)


def own_line(judgments: list[dict[str, Any]]) -> dict[str, Any]:
    """The numbers of one model, from judgments of one's own."""
    result = win_rate(judgments)
    return {
        "model": judgments[0]["model"],
        "baseline": judgments[0]["baseline"],
        "n": result.n,
        "unscored": result.unscored,
        "win_rate": result.win_rate,
        "standard_error": result.standard_error,
        "n_wins": result.wins,
        "n_wins_base": result.losses,
        "n_draws": result.ties,
        "discrete_win_rate": 100 * (result.wins + result.ties / 2) / result.n if result.n else None,
        "flip_rate": flip_rate(judgments),
    }


def _reference(settings: Settings) -> "Reference | None":
    """What length control needs; None if the suite has none or nobody said where it is."""
    if not settings.suite.startswith("alpaca_eval") or settings.lc_data == "none":
        return None
    folder = _folder(settings)
    if folder is None:
        missing = "set ULTRA_BENCHMARKS_DIR or --benchmarks-dir to a folder of published files"
        if settings.lc_C is not None or settings.bootstrap:
            raise SettingError(f"no data for length control: {missing}")
        print(f"without length control: {missing}", file=sys.stderr)
        return None
    from benchmarks import length_control  # importing numpy takes as long as all else here

    return length_control.load(folder, settings.lc_data)


def _folder(settings: Settings) -> Path | None:
    named = os.environ.get("ULTRA_BENCHMARKS_DIR", "")
    return settings.benchmarks_dir or (Path(named) if named else None)


if __name__ == "__main__":
    command.main(Settings, score)
