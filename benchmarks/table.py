"""The table of everything that was judged: one row for each file of judgments, as a frame.

A row holds nothing that cannot be made again from the judgments, the protocol beside them and the
record of the model's training, so it can be verified.
"""

from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import yaml

from benchmarks import panel, recompute, results
from benchmarks.metrics import Line, Measure
from benchmarks.panel import Source
from benchmarks.preferences import Control
from ultra import release
from ultra.errors import InputError

if TYPE_CHECKING:  # with numpy, most of a second that --help does not need
    import pandas as pd

HERE = Path(__file__).parent

COLUMNS = {
    "suite": "which questions",
    "protocol_name": "how they were judged",
    "judge": "who judged, as asked for",
    "protocol": "hash of all that defines the number; only rows with the same are comparable",
    "model": "who answered",
    "published": "year, for a figure that others published; empty for one's own",
    "metric": "what the score is",
    "score": "the figure that rows are ranked by: percent, or 0 to 10 for an average",
    "lower": "95 % bootstrap interval over questions, lower end",
    "upper": "and its upper end",
    "standard_error": "of a win rate, in points of percent",
    "n": "questions scored, or grades, or games",
    "unscored": "of which no verdict could be read, or no answer was there; they count nowhere",
    "behind": "score less the best of the same protocol, on questions that both have",
    "behind_lower": "95 % interval of that, drawn in pairs, lower end",
    "behind_upper": "and its upper end; without 0 between them the difference is significant",
    "wins": "questions won",
    "ties": "questions tied",
    "losses": "questions lost",
    "lc_win_rate": "length-controlled win rate, in percent",
    "lc_bootstrap_se": "its standard error by bootstrap",
    "turn_1": "MT-bench: mean grade of first turns",
    "turn_2": "and of second ones",
    "flip_rate": "percent of questions whose winner changed with the order of the answers",
    "one_order": "questions of which one order alone was scored",
    "length_correlation": "of points with how much longer the answer is, -1 to 1",
    "read_differently": "replies that the published parser reads otherwise than ours",
    "characters": "mean length of the model's answers",
    "prompt_tokens": "what the judge read",
    "completion_tokens": "what the judge wrote",
    "usd": "price of judging in US dollars; empty if it is not known",
    "baseline": "whom the model was compared with",
    "judge_model": "who judged, as the server named it",
    "suite_digest": "xxh3-128 of the questions",
    "model_revision": "which model exactly, as far as its endpoint or checkpoint says",
    "dataset": "what it was trained on, for a checkpoint of ours",
    "dataset_revision": "digest of those rows, or their revision on the Hub",
    "contamination": "questions of the suite found in that dataset",
    "judgments": "file of the judgments, below the folder; of a panel several",
    "sha256": "of that file",
    "source": "where a published figure stands",
}
"""All columns of the table, in their order, and what they mean."""

_WHOLE = [
    "n",
    "unscored",
    "wins",
    "ties",
    "losses",
    "one_order",
    "read_differently",
    "prompt_tokens",
    "completion_tokens",
]
_NUMBERS = [
    "score",
    "lower",
    "upper",
    "standard_error",
    "behind",
    "behind_lower",
    "behind_upper",
    "lc_win_rate",
    "lc_bootstrap_se",
    "turn_1",
    "turn_2",
    "flip_rate",
    "length_correlation",
    "characters",
    "usd",
]
"""Columns of numbers; all others are texts, and empty where there is nothing to say."""

_NO_TEXT = {name: "" for name in COLUMNS if name not in {*_WHOLE, *_NUMBERS}}

KEY = ["suite", "protocol_name", "judge", "protocol", "model", "judgments"]
"""What tells two rows apart."""


@dataclass(frozen=True)
class Inputs:
    """What a table is made from: files of judgments, by the path that its rows shall name."""

    judged: dict[str, Path]
    control: Control | None = None
    releases: Path | None = None
    """Folder of releases, whose manifests tell of contamination."""


@dataclass(frozen=True)
class Table:
    """``frame`` has the rows, best first within each protocol, ``differences`` some of its gaps."""

    frame: "pd.DataFrame"
    differences: list[Line]

    def sections(self) -> list["tuple[dict[str, str], pd.DataFrame]"]:
        """One's own rows by suite, protocol and judge, which alone can be compared."""
        own = self.frame[self.frame["published"] == ""]
        return [
            (dict(zip(KEY[:4], map(str, names), strict=True)), rows)
            for names, rows in own.groupby(KEY[:4], sort=False)
        ]

    def published(self, suite: str, protocol_name: str) -> "pd.DataFrame":
        """Figures that others published of this suite, judged as this protocol does."""
        frame = self.frame[self.frame["published"] != ""]
        return frame[(frame["suite"] == suite) & (frame["protocol_name"] == protocol_name)]


def find(folders: list[Path]) -> dict[str, Path]:
    """All files of judgments below folders, each once, by path relative to its folder.

    Raises:
        InputError: there are none.
    """
    found: dict[Path, str] = {}
    for folder in folders:
        for path in sorted(folder.rglob("judged-by-*.jsonl")):
            found.setdefault(path.resolve(), path.relative_to(folder).as_posix())
    if not found:
        places = ", ".join(map(str, folders))
        raise InputError(f"{places}: no judgments there; judge a model first (make judge)")
    return {name: path for path, name in sorted(found.items(), key=lambda item: (item[1], item[0]))}


def build(inputs: Inputs) -> Table:
    """The table of files of judgments, with published figures of the same suites.

    Raises:
        InputError: a row of a file is no judgment.
    """
    rows, measures = [], []
    for source in panel.sources(inputs.judged):
        row, measure = _row(source, inputs)
        rows.append(row)
        measures.append(measure)
    order = sorted(range(len(rows)), key=lambda at: _place(rows[at]))
    differences = _compare([rows[at] for at in order], [measures[at] for at in order])
    suites = {row["suite"] for row in rows}
    shown = [rows[at] for at in order] + [one for one in published() if one["suite"] in suites]
    return Table(_frame(shown), differences)


def _frame(rows: list[Line]) -> "pd.DataFrame":
    import pandas as pd

    frame = pd.DataFrame(rows, columns=list(COLUMNS), dtype=object)
    kinds = dict.fromkeys(COLUMNS, "str") | dict.fromkeys(_WHOLE, "Int64")
    return frame.fillna(_NO_TEXT).astype(kinds | dict.fromkeys(_NUMBERS, "Float64"))


def _place(row: Line) -> tuple[Any, ...]:
    score = row["score"]
    best_first = (score is None, -(score or 0))
    return (
        row["suite"],
        row["protocol_name"],
        row["judge"],
        row["protocol"],
        *best_first,
        row["model"],
        row["judgments"],
    )


def _row(source: Source, inputs: Inputs) -> tuple[Line, Measure]:
    """One model's row, from its judgments."""
    from benchmarks import intervals

    found = source.rows
    first = found[0]
    control = inputs.control if first["suite"].startswith("alpaca_eval") else None
    line, measure = recompute.own_judgments(found, control)
    bounds = intervals.interval(measure) or (None, None)
    wins, ties, losses = recompute.record(line)
    row = {
        **dict.fromkeys(COLUMNS),
        **{column: line[column] for column in COLUMNS if column in line},
        **{column: first[column] for column in ("suite", "suite_digest")},
        "metric": measure.name,
        "score": measure.value,
        "lower": bounds[0],
        "upper": bounds[1],
        "wins": wins,
        "ties": ties,
        "losses": losses,
        "model_revision": first["revision"],
        "published": "",
        "source": "",
        "judgments": source.name,
        "sha256": source.sha256,
        **_training(source.folder / results.TRAINING, first["suite"], inputs.releases),
    }
    return {column: _rounded(value) for column, value in row.items()}, measure


def _training(path: Path, suite: str, releases: Path | None) -> Line:
    """What the model was trained on, and how many of the suite's questions stand in it."""
    if not path.is_file():
        return {"dataset": "", "dataset_revision": "", "contamination": ""}
    try:
        sources = orjson.loads(path.read_bytes())["datasets"]
        names, digests = ([str(one[key]) for one in sources] for key in ("name", "digest"))
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise InputError(f"{path}: is no record of a training ({error!r})") from error
    found = [_contamination(releases, digest, suite) for digest in digests if releases]
    return {
        "dataset": " + ".join(names),
        "dataset_revision": " + ".join(digests),
        "contamination": "; ".join(filter(None, found)),
    }


def _contamination(releases: Path, digest: str, suite: str) -> str:
    for path in sorted(releases.glob(f"*/{release.MANIFEST}")):
        manifest = release.read_manifest(path.parent)
        if manifest.get("data_digest") == digest:
            counted = manifest.get("contamination")
            if not isinstance(counted, dict) or suite not in counted["by_suite"]:
                return "not checked"
            one = counted["by_suite"][suite]
            return (
                f"of {one['questions']} questions {one['found']['8']} by 8 words, "
                f"{one['found']['13']} by 13"
            )
    return ""


def _compare(rows: list[Line], measures: list[Measure]) -> list[Line]:
    """How far each model is from the best of its protocol, and from the next better one.

    The former goes into the rows as well. All pairs would be ten thousand for a hundred models.
    """
    from benchmarks import intervals

    differences: list[Line] = []
    groups: dict[tuple[str, ...], list[int]] = {}
    for at, row in enumerate(rows):
        groups.setdefault(tuple(row[column] for column in KEY[:4]), []).append(at)
    for names, ranked in groups.items():
        for better, at in pairwise(ranked):
            for other in sorted({ranked[0], better}):
                found = intervals.difference(measures[at], measures[other])
                if found is None:
                    continue
                line = {name: _rounded(value) for name, value in asdict(found).items()}
                if other == ranked[0]:
                    rows[at]["behind"] = line["difference"]
                    rows[at]["behind_lower"] = line["lower"]
                    rows[at]["behind_upper"] = line["upper"]
                pair = {"model": rows[at]["model"], "other": rows[other]["model"]}
                head = dict(zip(KEY[:4], names, strict=True))
                differences.append({**head, **pair, **line})
    return differences


def published() -> list[Line]:
    """Figures that others published, as rows of the table; each names its source and year."""
    written = yaml.safe_load((HERE / "published_rows.yaml").read_text(encoding="utf-8"))
    return [
        {**dict.fromkeys(COLUMNS), **_head(group), **row}
        for group in written
        for row in group["rows"]
    ]


def _head(group: Line) -> Line:
    return {name: value for name, value in group.items() if name != "rows"}


def _rounded(value: Any) -> Any:
    """To four places, which is beyond what any of these figures can tell."""
    return round(value, 4) if isinstance(value, float) else value
