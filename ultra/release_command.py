"""``python -m ultra.release``: whether a release is whole, what is in it, and why a row is not."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

import orjson

from ultra import card, command, jsonl, release, release_diff
from ultra.errors import InputError, SettingError
from ultra.release import MANIFEST, Manifest

_LONGEST = 300
"""Characters of one text that are shown; a step keeps what it saw well below it."""
_MOST = 20
"""Entries of one thing that are shown: a dump has a hundred thousand conversations."""
_MISSHAPEN = (AttributeError, LookupError, RecursionError, StopIteration, TypeError, ValueError)
"""What reading a manifest raises that is JSON, but not as we write it."""


@dataclass(frozen=True)
class Verify:
    """Check every file of a release against its manifest."""

    release: Path = command.positional("directory of the release")


@dataclass(frozen=True)
class Show:
    """Tell what a release holds, what its steps dropped and changed, and how to load it."""

    release: Path = command.positional("directory of the release")


@dataclass(frozen=True)
class Why:
    """Find why a conversation was dropped, or where it was kept."""

    release: Path = command.positional("directory of the release")
    id: str = command.positional(
        "id of a conversation; or the page, dump or archive it came from: path, file name or stem"
    )

    def __post_init__(self) -> None:
        if not self.id:
            raise SettingError("id: is empty; name a conversation, or the file it came from")


def main() -> NoReturn:
    """Run the sub-command that the first word names."""
    commands: dict[str, command.Command] = {
        "verify": (Verify, verify),
        "show": (Show, show),
        "why": (Why, why),
        "diff": (release_diff.Diff, release_diff.diff),
    }
    command.group("ultra.release", commands)


def verify(settings: Verify) -> None:
    """Print one line about a release that is just what its manifest says.

    Raises:
        InputError: names the file that is missing, changed or not listed.
    """
    manifest = release.verify(settings.release)
    with _reading(settings.release):
        line = f"{_title(manifest)}: every file is intact; data digest {manifest['data_digest']}"
    _say(line)


def show(settings: Show) -> None:
    """Print a short account of a release, from its manifest alone.

    Raises:
        InputError: there is no complete release.
    """
    manifest = release.read_manifest(settings.release)
    with _reading(settings.release):
        lines = account(settings.release, manifest)
    for line in lines:
        _say(line)


def why(settings: Why) -> None:
    """Print each row and each drop that an id names; or, if it is none, that a source names.

    Raises:
        InputError: nothing in the release has such an id or source.
    """
    has_id = False
    outcomes: Counter[str] = Counter()
    from_source: list[str] = []
    for found in find(settings.release, settings.id):
        if found.by_id:
            has_id = True
            _say(*found.lines)
        else:
            outcomes[found.outcome] += 1
            if outcomes.total() <= _MOST:
                from_source += found.lines
    if not has_id:
        if not outcomes:
            raise InputError(_not_there(settings.release, settings.id))
        _say(*from_source)
        if outcomes.total() > _MOST:
            counts = ", ".join(f"{count:,} {outcome}" for outcome, count in outcomes.most_common())
            _say(f"the first {_MOST} of {outcomes.total():,} from there: {counts}")


@dataclass(frozen=True)
class Found:
    """A row of a release or of its drop report."""

    by_id: bool
    """Whether its id was asked for, and not its source."""
    outcome: str
    """``kept in`` a split, or ``dropped for`` a reason."""
    lines: tuple[str, ...]
    """What to tell a person of it."""


def find(path: Path, name: str) -> Iterator[Found]:
    """Search drop report and data, a line at a time, for an id or for the name of a source.

    Raises:
        InputError: there is no complete release, or a file of it is damaged.
    """
    name = jsonl.scrub(name)
    needle = orjson.dumps(PurePosixPath(name).name)[1:-1]  # as it stands inside of any string
    for place in _tables(path):
        for row in _rows_with(needle, path / place):
            by_id = row.get("id") == name
            if by_id or _is_of_source(name, str(row.get("source", ""))):
                outcome, lines = _tell(row, place)
                yield Found(by_id, outcome, lines)


def account(path: Path, manifest: Manifest) -> list[str]:
    """What a manifest says, in lines for a person."""
    config = card.default_config(manifest)
    demo = ["demo: made by the offline demo model, not by a real one"]
    return [
        _title(manifest),
        *(demo if manifest.get("demo") else []),
        f"made by version {manifest['code_version']} of the code",
        f"data digest {manifest['data_digest']}",
        "",
        *_section("input", manifest.get("input")),
        *_section("settings", manifest.get("configuration")),
        *_section("models", manifest.get("models")),
        *_splits(manifest["splits"]),
        *_steps(manifest["steps"]),
        *_section("statistics", manifest.get("statistics")),
        *_section("contamination", manifest.get("contamination") or "not checked"),
        "load it with",
        f"  {release.load_line(path, config, next(iter(manifest['splits'][config])))}",
    ]


def _say(*lines: str) -> None:
    for line in lines:
        print(command.printable(line))


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Say of a manifest that lacks something that it is broken."""
    try:
        yield
    except _MISSHAPEN as error:
        raise InputError(f"{path / MANIFEST}: not the manifest of a release ({error!r})") from error


def _title(manifest: Manifest) -> str:
    splits = manifest["splits"][card.default_config(manifest)]
    rows = sum(split["rows"] for split in splits.values())
    return f"{manifest['corpus']} {manifest['version']}, {rows:,} rows"


def _splits(splits: dict[str, dict[str, Any]]) -> Iterator[str]:
    yield f"{'configuration/split':<42}{'rows':>12}{'bytes':>24}"
    for config, sizes in splits.items():
        for split, size in sizes.items():
            yield f"  {f'{config}/{split}':<40}{size['rows']:>12,}{size['bytes']:>24,}"
    yield ""


def _steps(steps: list[dict[str, Any]]) -> Iterator[str]:
    """What each step saw and kept; below it what it dropped and changed, by reason."""
    yield f"{'steps':<42}{'in':>12}{'kept':>12}{'dropped':>12}"
    for step in steps:
        dropped = sum(step["dropped"].values())
        counts = f"{step['in']:>12,}{step['in'] - dropped:>12,}{dropped:>12,}"
        yield f"  {step['step']:<40}{counts}"
        for what in ("dropped", "changed"):
            for reason, count in step.get(what, {}).items():
                yield f"    {f'{what}: {reason}':<62}{count:>12,}"
    yield ""


def _section(name: str, value: Any) -> Iterator[str]:
    if value:
        yield name
        yield from _tree(value, "  ")
        yield ""


def _tree(value: Any, indent: str) -> Iterator[str]:
    """Any JSON value in lines: a name and its value each, what is inside a name further in."""
    if isinstance(value, dict):
        for name, inner in islice(value.items(), _MOST):
            if isinstance(inner, dict):
                yield f"{indent}{name}"
                yield from _tree(inner, indent + "  ")
            else:
                yield f"{f'{indent}{name}':<42}{_plain(inner):>12}"
        if len(value) > _MOST:
            yield f"{indent}and {len(value) - _MOST:,} more"
    else:
        yield indent + _plain(value)


def _plain(value: Any) -> str:
    """A value in words; of a long list, such as files that held nothing, the start."""
    if isinstance(value, list):
        more = f" and {len(value) - _MOST:,} more" if len(value) > _MOST else ""
        return ", ".join(map(_plain, value[:_MOST])) + more
    if type(value) in (int, float):
        return f"{value:,}"
    return str(value)[:_LONGEST]


def _tables(path: Path) -> dict[PurePosixPath, int]:
    """The JSONL files of a release, the drop report first, and how many rows each has."""
    with _reading(path):
        tables = {
            PurePosixPath(entry["path"]): int(entry["rows"])
            for entry in release.read_manifest(path)["files"]
            if entry["path"].endswith(".jsonl")
        }
    return dict(sorted(tables.items(), key=lambda table: (not _is_report(table[0]), table[0])))


def _is_report(place: PurePosixPath) -> bool:
    return place.parts[0] == "dropped"


def _rows_with(needle: bytes, file: Path) -> Iterator[dict[str, Any]]:
    """The rows of a JSONL file whose line holds ``needle``; only these are parsed."""
    try:
        with jsonl.open_binary(file) as lines:
            for line in lines:
                if needle in line:
                    row = orjson.loads(line)
                    if isinstance(row, dict):
                        yield row
    except (orjson.JSONDecodeError, *jsonl.BROKEN) as error:
        raise InputError(f"{file}: damaged ({error}); build or download it again") from error


def _is_of_source(name: str, source: str) -> bool:
    """Whether ``name`` is part of a source's path, also without endings, or a path to it."""
    path = f"/{source}"
    return source != "" and (
        f"/{name}/" in f"{path}/" or f"/{name}." in path or name.endswith(path)
    )


def _tell(row: dict[str, Any], place: PurePosixPath) -> tuple[str, tuple[str, ...]]:
    """What became of a conversation, in short and in lines for a person."""
    id, source, step, reason, detail = (
        str(row.get(key, ""))[:_LONGEST] for key in ("id", "source", "step", "reason", "detail")
    )
    origin = f"{id or '(without an id)'}, from {source or '(without a source)'}"
    if _is_report(place):
        because = f"{reason}: {detail}" if detail else reason
        lines = (f"dropped: {origin}", f"  step     {step}", f"  reason   {because}")
        return f"dropped for {reason}", lines
    split = f"{place.parent.name}/{place.name.rsplit('-', 3)[0]}"
    return f"kept in {split}", (f"kept: {origin}", f"  split    {split}", f"  file     {place}")


def _not_there(path: Path, name: str) -> str:
    """That nothing was found, among how many, and what could have been."""
    tables = _tables(path)
    dropped = sum(rows for place, rows in tables.items() if _is_report(place))
    with _reading(path):
        example = path / list(tables)[-1]
    row = next(jsonl.read(example), {})
    id, source = (str(row.get(key, ""))[:_LONGEST] for key in ("id", "source"))
    return command.printable(
        f"{name[:_LONGEST]}: no such id or source among {sum(tables.values()) - dropped:,} rows "
        f"and {dropped:,} dropped of {path}; an id looks like {id}, a source like {source}"
    )
