"""Sets of questions, each with its protocol and the answers that others are compared with.

``suites.yaml`` says what the known ones are made of; their files are ours or come by way of
``upstream``. As a command it lists them, fetches their files, and writes their questions down for
others, such as ``datasets_scripts.contamination``.
"""

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from benchmarks import answer_forms, questions, upstream
from benchmarks.questions import Question as Question
from ultra import command, jsonl
from ultra.errors import InputError, SettingError

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Suite:
    """Questions in their order. ``digest`` is the xxh3-128 of their content.

    ``baseline`` is a file of answers that others are compared with, ours or one's own;
    ``published_baseline`` is the name of a published one, which is fetched when it is read.
    ``protocol`` is the name of its default protocol, ``temperatures`` are by category.
    """

    name: str
    questions: list[Question]
    baseline: Path | None
    digest: str
    protocol: str = "pairwise"
    temperatures: Mapping[str, float] = field(default_factory=dict)
    published_baseline: str = ""


@functools.cache
def known() -> dict[str, dict[str, Any]]:
    """What ``suites.yaml`` says of each suite, by name."""
    described: dict[str, dict[str, Any]] = yaml.safe_load(
        (HERE / "suites.yaml").read_text(encoding="utf-8")
    )
    return described


def load(name: str, folder: Path | None = None) -> Suite:
    """A known suite by name, or one's own questions from a ``.jsonl`` file.

    Lines of a file of one's own are ``{"id", "category", "turns": [...], "difficulty",
    "reference": [...]}``; only ``id`` and ``turns`` have to be there. ``folder`` takes the place of
    ULTRA_BENCHMARKS_DIR.

    Raises:
        SettingError: no suite has this name.
        InputError: the file holds no questions, a row is none, or a published file is not to be
            had or another one.
    """
    if ".jsonl" in name:
        return _own(Path(name))
    described = known()[_named(name)]
    asked = questions.read(
        _file(described["questions"], folder), described.get("columns", questions.OWN)
    )
    if "references" in described:
        asked = _with_references(asked, upstream.path(described["references"], folder))
    baseline = described.get("baseline", "")
    ours = (HERE / baseline).is_file() if baseline else False
    return Suite(
        name,
        asked,
        HERE / baseline if ours else None,
        _digest(asked),
        described["protocol"],
        described.get("temperatures", {}),
        "" if ours else baseline,
    )


def _named(name: str) -> str:
    if name in known():
        return name
    names = ", ".join(known())
    hint = command.did_you_mean(name, known())
    raise SettingError(
        f"suite {name}: unknown, use one of {names}, or the path of a .jsonl file{hint}"
    )


def _own(path: Path) -> Suite:
    asked = questions.read(path)
    digest = _digest(asked)
    # A file of one's own may change, and may be called as one of ours.
    return Suite(f"{path.name.rpartition('.jsonl')[0]}@{digest[:8]}", asked, None, digest)


def _file(name: str, folder: Path | None) -> Path:
    return HERE / name if (HERE / name).is_file() else upstream.path(name, folder)


def _digest(asked: list[Question]) -> str:
    return jsonl.digest(
        [[one.id, one.category, one.difficulty, one.turns, one.reference] for one in asked]
    )


def _with_references(asked: list[Question], path: Path) -> list[Question]:
    turns = answer_forms.read_turns(path)
    return [replace(one, reference=turns.get(one.id, [])) for one in asked]


def baseline_answers(suite: Suite, folder: Path | None = None) -> dict[str, dict[str, Any]]:
    """The rows of answers that others are compared with, by question id, from any known form.

    A question that a baseline of one's own does not answer is left out.

    Raises:
        SettingError: the suite has none.
        InputError: the file is not there, is another one than was published, is of no known form,
            or answers none of the questions.
    """
    path = suite.baseline
    if path is None and suite.published_baseline:
        path = upstream.path(suite.published_baseline, folder)
    if path is None:
        raise SettingError(
            f"suite {suite.name}: has no baseline of its own; set --baseline to a file of answers "
            "that its own are compared with"
        )
    rows = answer_forms.read(path, suite.questions, allow=["missing", "foreign"])
    return {row["id"]: row for row in rows}


@dataclass(frozen=True)
class Settings:
    """List the suites and whether their files are here; or fetch these, or write questions down."""

    fetch: str = ""
    """Name of a suite whose files are fetched into the cache, or all."""
    export: str = ""
    """Suite whose questions are written to one file: its name, or all, or a .jsonl file."""
    out: Path = Path("out/questions.jsonl")
    """That file, as datasets_scripts.contamination reads it."""
    benchmarks_dir: Path | None = None
    """Folder of the published benchmark files; by default ULTRA_BENCHMARKS_DIR."""


def run(settings: Settings) -> None:
    """Do what is asked for; without --fetch and --export, list.

    Raises:
        SettingError: unknown suite.
        InputError: a published file is not to be had, or another one.
    """
    if settings.fetch:
        _fetch(settings.fetch, settings.benchmarks_dir)
    if settings.export:
        export(settings.export, settings.out, settings.benchmarks_dir)
    if not settings.fetch and not settings.export:
        from tabulate import tabulate

        lines = [_described(name, settings.benchmarks_dir) for name in known()]
        print(tabulate(lines, headers="keys", tablefmt="simple", colalign=("left",)))
        own = upstream.published_folder(settings.benchmarks_dir)
        print(f"published files are looked for in {f'{own} and ' if own else ''}{upstream.cache()}")


def _described(name: str, folder: Path | None) -> dict[str, Any]:
    of = known()[name]
    published = [file for file in _files(name) if file in upstream.sources()]
    licences = sorted({upstream.sources()[file].licence for file in published})
    absent = [file for file in published if upstream.local(file, folder) is None]
    try:
        digest = "" if absent else load(name, folder).digest[:8]
        state = f"{len(absent)} of {len(published)} to fetch" if absent else "here"
    except InputError as error:
        digest, state = "", str(error)
    return {
        "suite": name,
        "n": of["n"],
        "digest": digest,
        "licence": ", ".join(licences) or "ours",
        "protocol": of["protocol"],
        "baseline": "yes" if "baseline" in of else "",
        "files": state,
    }


def _files(name: str) -> list[str]:
    """The files that a suite is made of."""
    of = known()[name]
    return list(
        dict.fromkeys(of[kind] for kind in ("questions", "references", "baseline") if kind in of)
    )


def _fetch(name: str, folder: Path | None) -> None:
    """Fetch all files that a suite and its protocols are made of; what fails stops no other."""
    wanted = set(upstream.sources()) if name == "all" else set()
    if name != "all":
        topics = {file.partition("/")[0] for file in _files(_named(name))}
        wanted = {file for file in upstream.sources() if file.partition("/")[0] in topics}
    failed = []
    for file in upstream.sources():
        here = upstream.local(file, folder) is not None
        if file not in wanted or not (here or upstream.sources()[file].address):
            continue
        try:
            print(upstream.path(file, folder))
        except InputError as error:
            failed.append(str(error))
    if failed:
        raise InputError(f"{len(failed)} of {len(wanted)} files are not to be had: {failed[0]}")


def export(name: str, out: Path, folder: Path | None = None) -> int:
    """Write the questions of a suite, or of all that are known, to one file of JSON Lines.

    Rows are ``{"suite", "id", "category", "turns"}``. Returns their number.
    """
    loaded = [load(one, folder) for one in (known() if name == "all" else [name])]
    count = jsonl.write(out, _exported(loaded))
    print(f"{count:,} questions of {', '.join(suite.name for suite in loaded)}: {out}")
    return count


def _exported(loaded: list[Suite]) -> Iterator[dict[str, Any]]:
    for suite in loaded:
        for one in suite.questions:
            yield {
                "suite": suite.name,
                "id": one.id,
                "category": one.category,
                "turns": one.turns,
            }


if __name__ == "__main__":
    command.main(Settings, run)
