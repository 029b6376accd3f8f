"""Judgments as a release like any other, and figures in the metadata of a model's page."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi, ModelCard

from benchmarks import publish
from benchmarks.publish import Card, Release
from tests.benchmarks.fakes import PROTOCOL, judgment, read_rows, write_judgments, write_rows
from tests.conftest import ROOT
from tests.servers.hub import Hub
from tests.servers.hub_client import hub_for
from ultra import hub, jsonl, release
from ultra.errors import InputError, OutputError, SettingError

PAGE = "---\nlicense: mit\nlanguage:\n- en\n---\n# Mine\n\nWords.\n"
REPO = "org/mine"


@pytest.fixture(autouse=True)
def _no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ULTRA_BENCHMARKS_DIR", raising=False)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    rows = [judgment(id=f"q{n}", usd=0.25) for n in range(3)]
    rows += [judgment(id="q3", verdict="unscored", reason="no_verdict", text="Hm {splits} \ud7ff")]
    write_judgments(tmp_path / "results/s/mine", rows)
    scored = {"kind": "pair_scores", "protocol_name": "vicuna", "scores": [8.0, 9.5]}
    row = judgment(**scored, verdict="baseline", model="{load}|x", protocol="b" * 12)
    write_rows(tmp_path / "results/s/other/judged-by-judge-bbbbbbbbbbbb.jsonl", [row])
    return tmp_path / "results"


def make(results: Path, out: Path, version: str = "1.0.0") -> Path:
    return publish.make_release(Release([results], version, out))


def test_a_release_holds_every_judgment_and_the_table(results: Path, tmp_path: Path) -> None:
    path = make(results, tmp_path / "out")
    manifest = release.verify(path)
    assert (manifest["corpus"], manifest["version"], manifest["demo"]) == (
        "judgments",
        "1.0.0",
        False,
    )
    rows = list(jsonl.read(path / "data/all/train-00000-of-00001.jsonl"))
    assert len(rows) == 5
    first, unread = rows[0], rows[3]
    assert first["id"] == f"s/mine/judged-by-judge-{PROTOCOL}.jsonl/q0/0/model_first/0"
    assert first["messages"] == [{"role": "assistant", "content": "reasons\n[[A]]"}]
    assert (first["verdict"], first["usd"], first["preference"]) == ("model", 0.25, -1.0)
    assert (unread["verdict"], unread["reason"], unread["usd"]) == ("unscored", "no_verdict", -1.0)
    assert (rows[4]["score"], rows[4]["baseline_score"]) == (8.0, 9.5)
    card = (path / "README.md").read_text(encoding="utf-8")
    assert "### s" not in card.partition("# Judgments")[0]
    assert "| mine    |  100.00 |" in card
    assert "&#123;load&#125;\\|x" in card  # a name that is no slot of the card's
    loaded = release.load(path, split="train")
    assert len(loaded) == 5


def test_the_same_judgments_give_the_same_release(results: Path, tmp_path: Path) -> None:
    path = make(results, tmp_path / "one")
    again = make(results, tmp_path / "two")
    for file in sorted(path.rglob("*")):
        if file.is_file():
            assert (again / file.relative_to(path)).read_bytes() == file.read_bytes()
    assert make(results, tmp_path / "one") == path  # is there already
    (judged,) = results.rglob(f"judged-by-judge-{PROTOCOL}.jsonl")
    write_rows(judged, read_rows(judged)[:2])
    with pytest.raises(OutputError, match="already complete, with other configuration"):
        make(results, tmp_path / "one")
    assert make(results, tmp_path / "one", "1.0.1").name == "judgments-1.0.1"


# On a loopback Hub


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with hub_for(tmp_path, monkeypatch) as server:
        yield server


@pytest.fixture
def page(server: Hub) -> HfApi:
    """A model's page with a card of its own."""
    api = HfApi(server.url, server.token)
    api.create_repo(REPO)
    api.upload_file(path_or_fileobj=PAGE.encode(), path_in_repo="README.md", repo_id=REPO)
    return api


def write(results: Path, server: Hub, **more: Any) -> list[Any]:
    return publish.write_card(Card([results], "mine", REPO, endpoint=server.url, **more))


def card_of(api: HfApi, tmp_path: Path) -> Any:
    path = api.hf_hub_download(REPO, "README.md", local_dir=tmp_path / "read", force_download=True)
    return ModelCard(Path(path).read_text(encoding="utf-8"))


def test_a_release_of_judgments_is_published_like_any_other(
    results: Path, tmp_path: Path, server: Hub
) -> None:
    path = make(results, tmp_path / "out")
    hub.publish(hub.Settings(path, "org/judgments", create=True, endpoint=server.url))
    assert list(server.tags("org/judgments")) == ["v1.0.0"]
    assert server.files("org/judgments")["README.md"] == (path / "README.md").read_bytes()


def test_figures_are_written_beside_what_the_page_has(
    results: Path, tmp_path: Path, server: Hub, page: HfApi, capsys: pytest.CaptureFixture[str]
) -> None:
    write(results, server, source="https://example.org/judgments")
    card = card_of(page, tmp_path)
    assert card.text.strip() == "# Mine\n\nWords."
    assert (card.data.license, card.data.language) == ("mit", ["en"])
    (found,) = card.data.eval_results
    assert (found.metric_type, found.metric_value, found.dataset_type) == (
        "win_rate",
        100.0,
        "small@0123abcd",
    )
    assert found.metric_name == "win rate against base, judged by judge"
    assert found.metric_args == {"judge": "judge", "protocol": PROTOCOL}
    assert found.source_url == "https://example.org/judgments"
    write(results, server, source="https://example.org/judgments")
    assert "has these figures already" in capsys.readouterr().err
    assert len(page.list_repo_commits(REPO)) == 3  # made, the page, the figures


def test_a_new_figure_takes_the_place_of_the_old_one_only(
    results: Path, tmp_path: Path, server: Hub, page: HfApi
) -> None:
    write(results, server)
    (judged,) = results.rglob(f"judged-by-judge-{PROTOCOL}.jsonl")
    rows = read_rows(judged)
    write_rows(judged, [{**rows[0], "verdict": "tie", "text": "[[C]]"}, *rows[1:]])
    write_rows(
        judged.with_name("judged-by-judge-cccccccccccc.jsonl"),
        [{**row, "protocol": "c" * 12} for row in rows],
    )
    write(results, server)
    values = {
        one.metric_args["protocol"]: one.metric_value
        for one in card_of(page, tmp_path).data.eval_results
    }
    assert values == {PROTOCOL: 83.3333, "c" * 12: 100.0}


def test_a_dry_run_tells_and_changes_nothing(
    results: Path, server: Hub, page: HfApi, capsys: pytest.CaptureFixture[str]
) -> None:
    write(results, server, dry_run=True)
    said = capsys.readouterr().err
    assert "win rate against base, judged by judge 100.0" in said
    assert "nothing was changed" in said
    assert len(page.list_repo_commits(REPO)) == 2


def test_what_cannot_be_written_is_one_clear_error(
    results: Path, server: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OutputError, match=r"org/mine: the Hub refuses it .*not found"):
        write(results, server)
    with pytest.raises(InputError, match=r"no figures, there are: mine, .*; did you mean 'mine'"):
        publish.write_card(Card([results], "mines", REPO))
    with pytest.raises(SettingError, match="model, repo: name whose"):
        publish.write_card(Card([results], "mine"))
    demo = [judgment(model="demo")]
    write_judgments(results / "s/demo", demo)
    with pytest.raises(InputError, match="demo model had a hand"):
        publish.write_card(Card([results], "demo", REPO))
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(SettingError, match="no token for the Hub"):
        write(results, server)


def test_the_command_has_both_jobs() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.publish", "--help"],
        cwd=ROOT,
        env=os.environ,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0
    assert json.dumps(done.stdout).count("  release") == 1
    assert "card" in done.stdout
