"""From judgments to numbers: published tables again, and one's own, by the same formulae.

``published`` reads files, ``recompute`` and ``preferences`` make the lines of the table, formulae
are in ``metrics``, ``length_control`` and ``intervals``.
"""

import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import orjson

from benchmarks import preferences, published
from benchmarks.metrics import Line, Scored
from benchmarks.preferences import Control
from benchmarks.published import Form
from ultra import command
from ultra.errors import InputError, SettingError

if TYPE_CHECKING:
    from benchmarks.own import Row

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
_DIFFICULTY = "alpaca_eval/instruction_difficulty.csv"
"""The file without which the cache has nothing for length control."""


@dataclass(frozen=True)
class Settings:
    """Compute a suite's numbers from judgments, published or one's own."""

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
    """Rounds for intervals, differences and the error of length control; 0 leaves them out."""
    panel: bool = False
    """Take one's own judgments of a model by several judges as those of a panel."""
    baseline: str = ""
    """MT-bench comparisons: only those with this model, which is not listed itself."""
    benchmarks_dir: Path | None = None
    """Folder of the published benchmark files; by default ULTRA_BENCHMARKS_DIR."""

    def __post_init__(self) -> None:
        if self.lc_C is not None and not self.lc_C > 0:
            raise SettingError(f"lc_C: {self.lc_C} is not above 0")
        if self.lc_data == "none" and self.lc_C is not None:
            raise SettingError("lc_data: none leaves out what lc_C is about")
        if self.bootstrap < 0 or self.bootstrap == 1:
            raise SettingError(
                f"bootstrap: {self.bootstrap} is no number of rounds, 0 or 2 or more"
            )


def score(settings: Settings) -> list[Line]:
    """Print the numbers of each model in each file, as JSON lines or as a table.

    Raises:
        SettingError: unknown suite, or published files that are needed and not there.
        InputError: a file holds no judgments of this suite, or a row is none.
    """
    if settings.suite not in SUITES and ".jsonl" not in settings.suite:
        hint = command.did_you_mean(settings.suite, SUITES)
        names = ", ".join(SUITES)
        raise SettingError(f"suite {settings.suite}: unknown, it is one of: {names}{hint}")
    scored = list(_scored(settings))
    if settings.bootstrap:
        _add_intervals(scored, settings.bootstrap)
    lines = [one.line for one in scored]
    if settings.json:
        for line in lines:
            print(orjson.dumps(line).decode())
    else:
        from tabulate import tabulate

        told = {k for line in lines for k, v in line.items() if v not in (None, "")}
        shown = [
            {k: v for k, v in line.items() if k in told and not isinstance(v, dict)}
            for line in lines
        ]
        print(tabulate(shown, headers="keys", tablefmt="pipe", floatfmt=".2f"))
    return lines


def _scored(settings: Settings) -> Iterator[Scored]:
    """The numbers of each model in each file, or of each panel of judges in all files."""
    control = _control(settings)
    own_files: dict[Path, list[Row]] = {}
    for path in settings.files:
        rows = published.rows(path)
        form = published.form(path, rows[0])
        if form not in SUITES.get(settings.suite, REVIEWS):
            raise InputError(f"{path}: these {form} are no judgments of suite {settings.suite}")
        if form == "own":
            own_files[path] = _own_rows(path, settings)
        else:
            for one in _published(path, rows, form, settings, control):
                yield Scored({**one.line, "file": str(path)}, one.measure)
    if settings.panel and len(own_files) < 2:
        raise SettingError("panel: needs the judgments of two judges or more, a file each")
    if own_files:
        from benchmarks import recompute

        groups = _panels(own_files) if settings.panel else {str(p): r for p, r in own_files.items()}
        for name, of in groups.items():
            one = recompute.own_judgments(of, control)
            yield Scored({**one.line, "file": name}, one.measure)


def _published(
    path: Path, rows: list[Line], form: Form, settings: Settings, control: Control | None
) -> Iterator[Scored]:
    """The numbers of each model in one file of published judgments."""
    if form == "annotations":
        annotations = published.annotations(path, rows)
        if settings.reparse and not any(row.get("raw_completion") for row in rows):
            raise SettingError(f"reparse: {path} holds no words of the judge, only preferences")
        if settings.reparse:
            from benchmarks import reread

            pairs = zip(annotations, rows, strict=True)
            annotations = [reread.annotation(one, row) for one, row in pairs]
        yield from preferences.lines(annotations, control)
        return
    from benchmarks import recompute  # whose parsers preferences do without

    categories = recompute.categories(settings.suite, settings.benchmarks_dir)
    if form in ("reviews", "openchat"):
        read = published.reviews if form == "reviews" else published.openchat
        names = published.names(path)
        yield recompute.reviews(read(path, rows), names, settings.reparse, categories)
    elif form == "grades":
        grades = published.grades(path, rows)
        yield from recompute.grades(grades, settings.reparse, categories)
    else:
        games = published.games(path, rows)
        yield from recompute.games(games, settings.reparse, settings.baseline, categories)


def _own_rows(path: Path, settings: Settings) -> "list[Row]":
    from benchmarks import judgments, own, reread, verdict

    found = judgments.read(path)
    if found[0]["suite"] != settings.suite and ".jsonl" not in settings.suite:
        raise InputError(
            f"{path}: these are judgments of suite {found[0]['suite']}, not of {settings.suite}"
        )
    if not settings.reparse:
        return found
    return [reread.own(row, verdict.PARSERS[own.parsers(row)[1]]) for row in found]


def _panels(files: "dict[Path, list[Row]]") -> "dict[str, list[Row]]":
    """The judgments of all judges of a model as those of one panel."""
    from benchmarks import panel

    by_model: dict[str, dict[str, list[Row]]] = {}
    places: dict[str, list[str]] = {}
    for path, rows in files.items():
        model, judge = rows[0]["model"], rows[0]["judge"]
        if judge in by_model.setdefault(model, {}):
            raise SettingError(f"panel: {path} is a 2nd file of judge {judge} on {model}")
        by_model[model][judge] = rows
        places.setdefault(model, []).append(str(path))
    return {" + ".join(places[model]): panel.combine(judges) for model, judges in by_model.items()}


def _add_intervals(scored: list[Scored], rounds: int) -> None:
    """To each line its interval, and how far it is from each other line of the same measure."""
    from benchmarks import intervals

    for one in scored:
        one.line["interval"] = intervals.interval(one.measure, rounds)
        others = [other for other in scored if other is not one]
        one.line["differences"] = {
            other.line["model"]: asdict(found)
            for other in others
            if other.measure.name == one.measure.name
            and (found := intervals.difference(one.measure, other.measure, rounds))
        }


def _control(settings: Settings) -> Control | None:
    """What length control needs; None if the suite has none or nobody said where it is."""
    if not settings.suite.startswith("alpaca_eval") or settings.lc_data == "none":
        return None
    from benchmarks import upstream

    folder = settings.benchmarks_dir
    wanted = settings.lc_C is not None or settings.lc_data == "published" or folder is not None
    if wanted or upstream.published_folder() or upstream.local(_DIFFICULTY):
        from benchmarks import length_control  # importing numpy takes as long as all else here

        if wanted or length_control.source(folder, settings.lc_data):
            reference = length_control.load(folder, settings.lc_data)
            return Control(reference, settings.lc_C, settings.bootstrap)
    print(
        "without length control, whose published files are not here: "
        "python -m benchmarks.suites --fetch alpaca_eval_2, or set ULTRA_BENCHMARKS_DIR",
        file=sys.stderr,
    )
    return None


if __name__ == "__main__":
    command.main(Settings, score)
