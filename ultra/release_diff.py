"""``python -m ultra.release diff``: what changed from one release to another, and why.

Rows are compared by id and column. What is compared of them, digests, is sorted on the disk, so
memory does not grow with the releases.
"""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby, zip_longest
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import orjson
import xxhash
from tqdm import tqdm

from ultra import command, jsonl, loading
from ultra.errors import InputError, SettingError
from ultra.loading import Entry, Found
from ultra.release import MANIFEST, Manifest

Pair = tuple[Any, Any]
"""A value of the old release and one of the new; ``None`` where there is none."""

_MADE_FROM = (
    *("corpus", "version", "schema_version", "code_version", "demo"),
    *("configuration", "input", "models", "sampling", "prompts"),
)
"""Fields of a manifest that say from what and how a release was made, besides its steps."""
_NOT_READ = "not in the input"
_LONGEST = 40
"""Characters of a setting that are shown."""
_TABLE = """
CREATE TABLE seen (
    id TEXT, side INT, config TEXT, split TEXT, digests BLOB, step INT, reason TEXT
)
"""


@dataclass(frozen=True)
class Diff:
    """Tell what changed from one release to another: settings, steps and rows."""

    old: str = command.positional("the release before: directory, or org/name@v1.0.0 on the Hub")
    new: str = command.positional("the release after, likewise")
    ids: int = 0
    """Ids to show of each kind of change."""
    json: bool = False
    """Print one JSON object instead of lines."""

    def __post_init__(self) -> None:
        if self.ids < 0:
            raise SettingError(f"ids: {self.ids} is below 0")


class Seen(NamedTuple):
    """What is compared of a row of a release, or of its drop report."""

    id: str
    side: int
    """0 is the old release, 1 the new."""
    config: str
    """Empty for a conversation that was dropped."""
    split: str
    digests: bytes
    """8 bytes for each column that both releases have."""
    step: int
    """Place of the step that dropped it."""
    reason: str


class Changes:
    """What became of the rows of one configuration: counts, and some ids of each kind."""

    def __init__(self, ids: int) -> None:
        self.same = 0
        self.rows: Counter[str] = Counter()
        """By kind: ``added``, ``removed``, ``changed`` or ``moved``."""
        self.by: dict[str, Counter[str]] = defaultdict(Counter)
        """By kind, and then by reason, column or split."""
        self.ids: dict[str, dict[str, str]] = defaultdict(dict)
        self._most = ids

    def note(self, kind: str, id: str, *by: str) -> None:
        self.rows[kind] += 1
        self.by[kind].update(by)
        if len(self.ids[kind]) < self._most:
            self.ids[kind][id] = ", ".join(by)

    def table(self) -> dict[str, Any]:
        kinds = {
            kind: {
                "rows": rows,
                "by": dict(self.by[kind].most_common()),
                **({"ids": self.ids[kind]} if self._most else {}),
            }
            for kind, rows in sorted(self.rows.items())
        }
        return {"same": self.same, **kinds}


def diff(settings: Diff) -> None:
    """Print what changed.

    Raises:
        InputError: there is no such release, or it is damaged.
    """
    found = compare(loading.find(settings.old), loading.find(settings.new), settings.ids)
    if settings.json:
        print(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())
    else:
        for line in account(found):
            print(command.printable(line))


def compare(old: Found, new: Found, ids: int = 0) -> dict[str, Any]:
    """All that differs, as one JSON object with :data:`Pair` for values.

    ``ids`` is how many are named of each kind of change.

    Raises:
        InputError: a release is damaged.
    """
    before, after = _made(old), _made(new)
    tables = [_tables(one) for one in (old, new)]
    for one, entries in zip((old, new), tables, strict=True):
        one.fetch(entries)
    columns = [_columns(one, entries) for one, entries in zip((old, new), tables, strict=True)]
    common = [column for column in columns[1] if column in columns[0] and column != "id"]
    seen = (
        row for side, one in enumerate((old, new)) for row in _rows(one, side, tables[side], common)
    )
    return {
        "releases": (_named(old), _named(new)),
        "settings": _differing(before["settings"], after["settings"]),
        "columns": _differing(*(dict.fromkeys(names, True) for names in columns)),
        "splits": _paired(before["splits"], after["splits"]),
        "steps": _steps(before["steps"], after["steps"]),
        "rows": _changes(seen, common, ids),
    }


def _made(found: Found) -> dict[str, Any]:
    """Settings, sizes and steps of a release, from its manifest.

    Raises:
        InputError: the manifest does not have them as we write them.
    """
    manifest = found.manifest
    try:
        return {
            "settings": dict(_flat({name: manifest.get(name) for name in _MADE_FROM})),
            "splits": {
                f"{config}/{split}": int(size["rows"])
                for config, sizes in manifest["splits"].items()
                for split, size in sizes.items()
            },
            "steps": {
                step["step"]: {
                    "in": int(step["in"]),
                    **{what: dict(step.get(what, {})) for what in ("dropped", "changed")},
                }
                for step in manifest["steps"]
            },
        }
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        file = found.folder / MANIFEST
        raise InputError(f"{file}: not the manifest of a release ({error!r})") from error


def _named(found: Found) -> Manifest:
    fields = {name: found.manifest.get(name) for name in ("corpus", "version", "data_digest")}
    return {"name": found.name, **fields}


def _flat(settings: dict[str, Any], name: str = "") -> Iterator[tuple[str, Any]]:
    """Settings inside of settings, each with its whole name; what is not set is left out."""
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{name}{key}.")
        elif value is not None:
            yield f"{name}{key}", value


def _paired(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Pair]:
    """The values of both under each name, the new one's names first."""
    return {name: (old.get(name), new.get(name)) for name in {**new, **old}}


def _differing(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Pair]:
    return {name: pair for name, pair in _paired(old, new).items() if pair[0] != pair[1]}


def _steps(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """What each step saw, and what it dropped and changed, on both sides."""
    steps = {}
    for name, (before, after) in _paired(old, new).items():
        a, b = before or {}, after or {}
        steps[name] = {"in": (a.get("in"), b.get("in"))} | {
            what: _paired(a.get(what, {}), b.get(what, {})) for what in ("dropped", "changed")
        }
    return steps


def _tables(found: Found) -> list[Entry]:
    return [entry for entry in found.manifest["files"] if entry["path"].endswith(".jsonl")]


def _is_report(entry: Entry) -> bool:
    return PurePosixPath(entry["path"]).parts[0] == "dropped"


def _columns(found: Found, entries: list[Entry]) -> list[str]:
    """The columns of the first row; all rows of a release have the same."""
    for entry in entries:
        if not _is_report(entry):
            for row in jsonl.read(found.folder / entry["path"]):
                return list(row)
    return []


def _rows(found: Found, side: int, entries: list[Entry], columns: list[str]) -> Iterator[Seen]:
    """What is compared of the rows and of the drop report of one release."""
    steps = {step["step"]: place for place, step in enumerate(found.manifest["steps"])}
    for entry in tqdm(entries, desc=found.name, unit=" files", disable=None):
        place = PurePosixPath(entry["path"])
        config, split = place.parent.name, place.name.rsplit("-", 3)[0]
        for row in jsonl.read(found.folder / place):
            id = str(row.get("id", ""))
            if not _is_report(entry):
                yield Seen(id, side, config, split, _digests(row, columns), 0, "")
            elif id:  # a file that could not be read has none
                step, reason = str(row.get("step")), str(row.get("reason"))
                yield Seen(id, side, "", "", b"", steps.get(step, 0), reason)


def _digests(row: dict[str, Any], columns: list[str]) -> bytes:
    values = (orjson.dumps(row.get(column)) for column in columns)
    return b"".join(map(xxhash.xxh3_64_digest, values))


def _changes(seen: Iterable[Seen], columns: list[str], ids: int) -> dict[str, Any]:
    """What became of the rows of each configuration; conversations meet by their ids."""
    found: dict[str, Changes] = defaultdict(lambda: Changes(ids))
    with closing(sqlite3.connect("", isolation_level=None)) as db:  # a file that has no name
        db.execute(_TABLE)
        db.execute("BEGIN")
        db.executemany("INSERT INTO seen VALUES (?, ?, ?, ?, ?, ?, ?)", seen)
        ordered = db.execute("SELECT * FROM seen ORDER BY id, side, config, digests, step")
        for id, rows in groupby(map(Seen._make, ordered), lambda row: row.id):
            _compare_one(id, list(rows), columns, found)
    return {config: changes.table() for config, changes in sorted(found.items())}


def _compare_one(id: str, rows: list[Seen], columns: list[str], found: dict[str, Changes]) -> None:
    """Compare all that both releases say of one conversation."""
    for config in sorted({row.config for row in rows} - {""}):
        sides = (
            [row for row in rows if (row.side, row.config) == (side, config)] for side in (0, 1)
        )
        changes = found[config]
        for old, new in zip_longest(*sides):
            if old is None:
                changes.note("added", id, _absence(rows, 0))
            elif new is None:
                changes.note("removed", id, _absence(rows, 1))
            else:
                _compare_rows(old, new, columns, changes)


def _compare_rows(old: Seen, new: Seen, columns: list[str], changes: Changes) -> None:
    differing = [
        column
        for place, column in enumerate(columns)
        if old.digests[8 * place : 8 * place + 8] != new.digests[8 * place : 8 * place + 8]
    ]
    if differing:
        changes.note("changed", new.id, *differing)
    if old.split != new.split:
        changes.note("moved", new.id, f"{old.split} to {new.split}")
    elif not differing:
        changes.same += 1


def _absence(rows: list[Seen], side: int) -> str:
    """Why a conversation is not in a configuration of one of the releases."""
    there = [row for row in rows if row.side == side]
    configs = sorted({row.config for row in there} - {""})
    if configs:
        return f"only in {', '.join(configs)}"
    if there:  # of several copies the one that got furthest would have been the row
        return max(there, key=lambda row: row.step).reason
    return _NOT_READ


def account(found: dict[str, Any]) -> Iterator[str]:
    """What :func:`compare` found, in lines for a person."""
    for side, one in zip(("old", "new"), found["releases"], strict=True):
        yield f"{side}  {one['corpus']} {one['version']}, {one['name']}, data {one['data_digest']}"
    yield ""
    yield from _table("settings that differ", found["settings"])
    yield from _table("columns that differ", found["columns"])
    yield from _table("rows of configuration/split", found["splits"])
    yield f"{'steps':<54}{'old':>12}{'new':>12}"
    for step, counts in found["steps"].items():
        yield _line(f"  {step}", counts["in"])
        for what in ("dropped", "changed"):
            for reason, pair in counts[what].items():
                yield _line(f"    {what}: {reason}", pair)
    for config, kinds in found["rows"].items():
        yield ""
        yield f"rows of {config}"
        yield f"  {'same':<64}{kinds['same']:>12,}"
        for kind in ("added", "removed", "changed", "moved"):
            yield from _kind(kind, kinds.get(kind, {"rows": 0, "by": {}}))


def _table(title: str, pairs: dict[str, Pair]) -> Iterator[str]:
    if pairs:
        yield f"{title:<54}{'old':>12}{'new':>12}"
        for name, pair in pairs.items():
            yield _line(f"  {name}", pair)
        yield ""


def _line(name: str, pair: Pair) -> str:
    return f"{name:<54}{_value(pair[0]):>12}{_value(pair[1]):>12}"


def _value(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if type(value) in (int, float) else f" {str(value)[:_LONGEST]}"


def _kind(kind: str, what: dict[str, Any]) -> Iterator[str]:
    """How many rows were added, removed, changed or moved, and for what reason."""
    yield f"  {kind:<64}{what['rows']:>12,}"
    of = {"added": "before: ", "removed": "now: ", "changed": "column ", "moved": "from "}[kind]
    for by, count in what["by"].items():
        yield f"    {of + by:<62}{count:>12,}"
    for id, by in what.get("ids", {}).items():
        yield f"      {id}: {by}"
