"""Make judgments and their table a release, and write a result into a model's card on the Hub.

``python -m benchmarks.publish release`` makes what ``python -m ultra.hub`` publishes like any other
release; ``card`` brings a model's figures into the metadata of its page.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import orjson

from benchmarks import cells, judgments, leaderboard, own, table
from benchmarks.table import Inputs
from ultra import command, files, hub_repository, jsonl, prompts, release, schema
from ultra.errors import InputError, SettingError
from ultra.prompts import Prompt

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, HfApi

HERE = Path(__file__).parent
CORPUS = "judgments"
NONE = -1.0
"""In a release, where a score, preference or price is not known: none of them can be below 0."""


@dataclass(frozen=True)
class Release:
    """Make a release of all judgments below some folders, with their table on its card."""

    results: list[Path] = command.positional()
    version: str = "1.0.0"
    """Of the release, such as 1.2.0; raise it when judgments come or go."""
    out: Path = Path("out/releases")
    """Folder for the release, judgments-<version>."""
    releases: Path | None = None
    """Folder of releases, to tell how much of a suite stands in what a model was trained on."""
    benchmarks_dir: Path | None = None
    """Folder of published files for length control; by default ULTRA_BENCHMARKS_DIR."""


@dataclass(frozen=True)
class Card:
    """Write the figures of a model into the metadata of its page on the Hub.

    The token is that of HF_TOKEN or of `hf auth login`.
    """

    results: list[Path] = command.positional()
    model: str = ""
    """Whose figures: as the table names it."""
    repo: str = ""
    """Model repository on the Hub, organization/name."""
    source: str = ""
    """Address of the published judgments, to stand beside the figures."""
    allow_demo: bool = False
    """Also figures that the offline demo model had a hand in."""
    dry_run: bool = False
    """Only print what would be written."""
    endpoint: str = ""
    """Address of the Hub; by default that in HF_ENDPOINT, or else https://huggingface.co."""
    benchmarks_dir: Path | None = None
    """Folder of published files for length control; by default ULTRA_BENCHMARKS_DIR."""


def make_release(settings: Release) -> Path:
    """Write the release; the same judgments give the same bytes.

    Raises:
        InputError: there are no judgments, or a row is none.
        OutputError: this version is there, made from other judgments.
    """
    judged = table.find(settings.results)
    control = leaderboard.control(settings.benchmarks_dir)
    made = table.build(Inputs(judged, control, settings.releases))
    identity = {
        "corpus": CORPUS,
        "version": settings.version,
        "configuration": {"files": {name: files.sha256(path) for name, path in judged.items()}},
    }
    path = settings.out / f"{CORPUS}-{settings.version}"
    if release.is_built(path, identity):
        print(f"{path}: already there")
        return path
    demo = bool(made.frame[["judge", "model", "baseline"]].isin(["demo"]).any(axis=None))
    with release.Writer(path, CORPUS) as writer:
        for name, file in judged.items():
            for row in own.ordered(judgments.read(file)):
                writer.add("all", "train", _published(row, name))
        writer.finish({**identity, "steps": [], "demo": demo}, _template(made))
    print(path)
    return path


def _template(made: table.Table) -> Prompt:
    """The card, with the table in it; a brace in a name is no slot of the card's."""
    written = prompts.load(HERE / "card.md")
    results = leaderboard.markdown(made).replace("\n## ", "\n### ").strip()
    results = results.replace("## ", "### ", 1) if results.startswith("## ") else results
    return Prompt(written.name, written.text.replace("{{results}}", _no_slots(results)))


def _no_slots(text: str) -> str:
    return text.replace("{", "&#123;").replace("}", "&#125;")


def _published(row: own.Row, name: str) -> dict[str, Any]:
    """A judgment as a row of a release."""
    scores = [*row["scores"], NONE, NONE][:2]
    number = (row["turn"], row["order"] or "alone", row["sample"])
    same = (
        "suite suite_digest category difficulty turn model revision baseline judge judge_model "
        "kind protocol protocol_name order sample tries verdict reason characters "
        "baseline_characters"
    )
    columns = {column: row[column] for column in same.split()}
    columns |= {
        "question": row["id"],
        "score": float(scores[0]),
        "baseline_score": float(scores[1]),
        "preference": NONE if row["preference"] is None else float(row["preference"]),
        "logprobs": orjson.dumps(row["logprobs"]).decode(),
        "prompt_tokens": row["usage"].get("prompt_tokens", 0),
        "completion_tokens": row["usage"].get("completion_tokens", 0),
        "usd": NONE if row["usd"] is None else float(row["usd"]),
    }
    return {
        "id": "/".join([name, row["id"], *map(str, number)]),
        "root": row["id"],
        "messages": [{"role": "assistant", "content": jsonl.scrub(row["text"])}],
        **{column: columns[column] for column in schema.PROVENANCE[CORPUS]},
    }


def write_card(settings: Card) -> list["EvalResult"]:
    """Bring a model's figures to its page; those of other tasks and protocols stay as they are.

    Raises:
        SettingError: no model or repository is named, or the token may not write.
        InputError: the model has no figures, or the demo model had a hand in them.
        OutputError: the Hub does not answer, or somebody else changed the page at the same time.
    """
    if not settings.model or not settings.repo:
        raise SettingError("model, repo: name whose figures go to which repository")
    found = figures(settings)
    for one in found:
        told = f"{one.dataset_name}: {one.metric_name} {one.metric_value}"
        print(command.printable(told), file=sys.stderr)
    if settings.dry_run:
        print("a dry run: nothing was changed", file=sys.stderr)
        return found
    from huggingface_hub import HfApi, get_token

    token = get_token()
    if not token:
        raise SettingError(
            "no token for the Hub: set HF_TOKEN to one that may write, or log in: hf auth login"
        )
    repository = hub_repository.Repository(settings.repo, settings.endpoint, token)
    api = HfApi(settings.endpoint.rstrip("/") or None, token, "ultra")
    repository.persist(lambda: _put(api, settings.repo, found))
    return found


def figures(settings: Card) -> list["EvalResult"]:
    """The figures of a model as the Hub's metadata has them."""
    control = leaderboard.control(settings.benchmarks_dir)
    made = table.build(Inputs(table.find(settings.results), control))
    rows = [row for row in cells.rows_of(made.frame) if not row["published"]]
    names = sorted({row["model"] for row in rows})
    rows = [row for row in rows if row["model"] == settings.model and row["score"] is not None]
    if not rows:
        hint = command.did_you_mean(settings.model, names)
        raise InputError(f"model {settings.model}: no figures, there are: {', '.join(names)}{hint}")
    if not settings.allow_demo and any("demo" in _hands(row) for row in rows):
        raise InputError(
            f"model {settings.model}: the offline demo model had a hand in its figures, which "
            "measure nothing; judge with a real model, or add --allow-demo"
        )
    return [_result(row, column, settings) for row in rows for column in _columns(row)]


def _hands(row: dict[str, Any]) -> set[str]:
    return {row["model"], row["judge"], row["baseline"]}


def _columns(row: dict[str, Any]) -> Iterator[str]:
    yield "score"
    if row["lc_win_rate"] is not None:
        yield "lc_win_rate"


def _result(row: dict[str, Any], column: str, settings: Card) -> "EvalResult":
    from huggingface_hub import EvalResult

    metric = row["metric"] if column == "score" else "length_controlled_win_rate"
    against = f" against {row['baseline']}" if row["baseline"] else ""
    return EvalResult(
        task_type="text-generation",
        dataset_type=row["suite"],
        dataset_name=f"{row['suite']} ({row['protocol_name']})",
        dataset_revision=row["suite_digest"],
        metric_args={"judge": row["judge"], "protocol": row["protocol"]},
        metric_type=metric,
        metric_name=f"{metric.replace('_', ' ')}{against}, judged by {row['judge']}",
        metric_value=row[column],
        source_name="judgments" if settings.source else None,
        source_url=settings.source or None,
    )


def _about(result: "EvalResult") -> tuple[str, ...]:
    """What tells figures apart: suite, judge, protocol and metric, but not its value."""
    named = result.metric_args or {}
    args = (str(named.get("judge", "")), str(named.get("protocol", "")))
    return result.dataset_type, *args, result.metric_type


def _put(api: "HfApi", repo: str, found: list["EvalResult"]) -> None:
    """Commit the card with the figures in it, after the commit that it was read at."""
    from huggingface_hub import ModelCard, ModelCardData

    about_repo = api.model_info(repo)
    head, name = about_repo.sha, repo.partition("/")[2]
    before = f"# {name}\n"
    if any(file.rfilename == "README.md" for file in about_repo.siblings or []):
        with TemporaryDirectory() as folder:
            path = api.hf_hub_download(repo, "README.md", revision=head, cache_dir=folder)
            before = Path(path).read_text(encoding="utf-8")
    card = ModelCard(before)
    about: Any = card.data
    old: list[EvalResult] = about.eval_results or []
    kept = [one for one in old if _about(one) not in {*map(_about, found)}]
    if not old:
        about = ModelCardData(**{**about.to_dict(), "model_name": name})
    about.eval_results = kept + found
    card.data = about
    if str(card) == before:
        print(f"{repo}: has these figures already", file=sys.stderr)
        return
    api.upload_file(
        path_or_fileobj=str(card).encode("utf-8"),
        path_in_repo="README.md",
        repo_id=repo,
        commit_message="Figures of judged answers",
        parent_commit=head,
    )
    print(f"{repo}: {len(found)} figures written", file=sys.stderr)


if __name__ == "__main__":
    command.group(
        "benchmarks.publish", {"release": (Release, make_release), "card": (Card, write_card)}
    )
