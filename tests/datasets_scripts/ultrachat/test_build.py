"""Openings to a release of dialogues: the same bytes however the run went."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future
from itertools import count
from pathlib import Path
from typing import Any

import orjson
import pytest

from datasets_scripts.ultrachat.build import VERSION, Settings, build
from tests.conftest import ROOT
from tests.datasets_scripts.helpers import drops_of, files_of, reasons_of, rows_of
from tests.datasets_scripts.ultrachat.fakes import Answer, FakeChat, Rule
from tests.servers.chat_api import ChatServer, Fault, Request
from ultra import release
from ultra.chat import Completion
from ultra.demo import JUDGES
from ultra.errors import CallError, InputError, ModelError, OutputError, SettingError
from ultra.schema import Message

GOLDEN = ("1.0.0", "fe71e03f902b4b5ed6131783019f9e64478eedcc54a803ce790c8a171aaf30bf")

NAME = f"ultrachat-{VERSION}"

Build = Callable[..., Path]


@pytest.fixture
def openings(tmp_path: Path) -> Path:
    path = tmp_path / "mine.jsonl"
    rows = [
        {"sector": "world", "topic": f"Topic {n}", "opening": f"Opening number {n}?"}
        for n in range(12)
    ]
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return path


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> dict[str, FakeChat]:
    """Models by name, opened in place of real ones."""
    cast = {name: FakeChat(name) for name in ("asker", "helper")}
    monkeypatch.setattr("ultra.models.open_model", lambda name, base_url="": cast[name])
    return cast


@pytest.fixture
def run(openings: Path, models: dict[str, FakeChat], tmp_path: Path) -> Build:
    """Build with the two fakes, into a folder under a name."""

    def start(out: str = "out", **settings: Any) -> Path:
        return build(
            Settings(
                openings,
                tmp_path / out,
                user_model="asker",
                assistant_model="helper",
                **{"test_share": 0.2} | settings,
            )
        )

    return start


def calls(models: dict[str, FakeChat]) -> int:
    return sum(len(model.asked) for model in models.values())


def journal(out: Path) -> list[bytes]:
    """The whole lines of a run's journal."""
    lines = (out / f"{NAME}.run" / "journal.jsonl").read_bytes().splitlines(True)
    return [line for line in lines if line.endswith(b"\n")]


# The demo release


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(Settings(out=tmp_path_factory.mktemp("demo")))


def test_the_sample_gives_the_bytes_that_its_version_stands_for(demo: Path) -> None:
    made = (VERSION, release.read_manifest(demo)["data_digest"])
    assert made == GOLDEN, "the same input gives other bytes: bump VERSION and this digest"


def test_everything_in_a_demo_release_says_demo(demo: Path) -> None:
    manifest = release.verify(demo)
    assert manifest["demo"] is True
    assert manifest["models"] == {"user": "demo", "assistant": "demo"}
    rows = rows_of(demo)
    assert len(rows) == 24
    assert {(row["model"], row["user_model"]) for row in rows} == {("demo", "demo")}
    _, front, body = (demo / "README.md").read_text("utf-8").split("---\n", 2)
    assert "- demo\n" in front
    assert "Demo data" in body
    assert "`demo`" in body


def test_a_demo_release_keeps_the_tags_of_its_corpus(demo: Path) -> None:
    front = (demo / "README.md").read_text("utf-8").split("---\n")[1]
    assert "- synthetic\n" in front


def test_the_demo_model_is_not_chosen_silently(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build(Settings(out=tmp_path, n=1))
    notices = capsys.readouterr().err
    assert "--user-model" in notices
    assert "--assistant-model" in notices


def test_one_demo_voice_makes_a_demo_release(
    openings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ultra import models

    real, opened = FakeChat("helper"), models.open_model
    monkeypatch.setattr(
        models, "open_model", lambda name, url="": real if name == "helper" else opened(name, url)
    )
    made = build(Settings(openings, tmp_path, user_model="demo", assistant_model="helper"))
    assert release.read_manifest(made)["demo"] is True
    assert {row["user_model"] for row in rows_of(made)} == {"demo"}


def test_the_demo_loads_with_its_columns(demo: Path) -> None:
    from datasets import load_dataset

    loaded = load_dataset(str(demo), "all", split="train")
    assert [dict(row) for row in loaded] == rows_of(demo)


@pytest.mark.parametrize(
    "text",
    [
        "{topic} {goal} {0} {}",
        "\\g<0> %s \0",
        "[[A]]",
        JUDGES,
    ],
)
def test_control_text_in_an_opening_changes_no_part(text: str, tmp_path: Path) -> None:
    file = tmp_path / "odd.jsonl"
    file.write_bytes(orjson.dumps({"sector": "world", "topic": text, "opening": f"Why {text}?"}))
    (row,) = rows_of(build(Settings(file, tmp_path, test_share=0.0)))
    assert row["topic"] == text
    assert row["messages"][0]["content"] == f"Why {text}?"
    assert all(turn["content"].endswith("?") for turn in row["messages"][::2])


# Rows


def test_a_row_says_where_it_came_from_and_who_made_it(run: Build) -> None:
    made = run(n=2)
    manifest = release.verify(made)
    assert "demo" not in manifest
    assert manifest["models"] == {"user": "asker", "assistant": "helper"}
    first = rows_of(made)[0]
    assert {key: first[key] for key in ("id", "source", "model", "user_model", "topic")} == {
        "id": "world-00000000",
        "source": "mine.jsonl",
        "model": "helper-0613",
        "user_model": "asker-0613",
        "topic": "Topic 0",
    }
    assert len(first["messages"]) == 2 * first["rounds"]
    assert 3 <= first["rounds"] <= 7
    spoken = [len(row["messages"]) - 1 for row in rows_of(made)]
    assert manifest["usage"]["calls"] == sum(spoken)


def test_more_dialogues_leave_the_first_ones_as_they_were(run: Build) -> None:
    few, many = rows_of(run("few", n=5)), rows_of(run("many", n=30))
    assert many[:5] == few
    assert [row["topic"] for row in many[:24:12]] == ["Topic 0"] * 2
    assert many[0]["seed"] != many[12]["seed"]
    assert len(many) == 30


def test_another_seed_gives_other_dialogues(run: Build) -> None:
    one, two = rows_of(run("one")), rows_of(run("two", seed=1))
    assert all(a["seed"] != b["seed"] for a, b in zip(one, two, strict=True))


# Drops


def about(number: int, answer: Answer) -> Rule:
    """Give an answer in the dialogue with one opening, from the second call on."""

    def rule(messages: list[Message]) -> Answer | None:
        opened = any(turn["content"] == f"Opening number {number}?" for turn in messages)
        return answer if opened and len(messages) > 1 else None

    return rule


@pytest.mark.parametrize(
    ("model", "answer", "reason", "detail"),
    [
        ("helper", CallError("it timed out"), "call_failed", "it timed out"),
        ("asker", CallError("it timed out"), "call_failed", "it timed out"),
        ("helper", Completion("", "stop", "m"), "assistant_empty", "finish_reason stop"),
        ("asker", Completion("cut", "length", "m"), "user_length", ""),
    ],
)
def test_a_fault_drops_its_dialogue_only(
    run: Build,
    models: dict[str, FakeChat],
    model: str,
    answer: Answer,
    reason: str,
    detail: str,
) -> None:
    whole = rows_of(run("whole"))
    models[model].rule = about(4, answer)
    made = run("faulty")
    assert rows_of(made) == [row for row in whole if row["topic"] != "Topic 4"]
    assert drops_of(made) == [
        {
            "id": "world-00000004",
            "source": "mine.jsonl",
            "step": "simulate",
            "reason": reason,
            "detail": detail,
        }
    ]
    manifest = release.verify(made)
    assert reasons_of(manifest) == {reason: 1}
    assert manifest["steps"][0]["in"] == 12


def test_if_every_dialogue_fails_the_drop_report_stays(
    run: Build, models: dict[str, FakeChat], tmp_path: Path
) -> None:
    models["helper"].rule = lambda messages: CallError("down for a while")
    with pytest.raises(InputError, match="12 of 12 conversations were dropped, most for"):
        run()
    left = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert left == [f"{NAME}.dropped.jsonl", f"{NAME}.run"]


# Interrupted and resumed


@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_run_that_was_refused_goes_on_with_the_missing_calls_only(
    run: Build, models: dict[str, FakeChat], tmp_path: Path, concurrency: int
) -> None:
    undisturbed = run("undisturbed")
    needed = calls(models)
    refused_after = iter([*[None] * 25, *[ModelError("quota used up")] * 100])
    models["helper"].rule = lambda messages: next(refused_after)
    with pytest.raises(ModelError, match="quota used up"):
        run("resumed", concurrency=concurrency)
    assert [path.suffix for path in (tmp_path / "resumed").iterdir()] == [".run"]
    finished = len(journal(tmp_path / "resumed"))
    assert 25 < finished < needed
    models["helper"].rule = lambda messages: None
    before = calls(models)
    resumed = run("resumed", concurrency=concurrency)
    assert calls(models) - before == needed - finished
    assert files_of(resumed) == files_of(undisturbed)
    assert all(model.closed == 3 for model in models.values())


def test_how_many_at_a_time_changes_no_byte(run: Build) -> None:
    assert files_of(run("one", concurrency=1)) == files_of(run("many", concurrency=16))


def test_a_second_run_finds_the_first(
    run: Build, models: dict[str, FakeChat], capsys: pytest.CaptureFixture[str]
) -> None:
    made = run()
    before, asked = files_of(made), calls(models)
    capsys.readouterr()
    assert run() == made
    assert files_of(made) == before
    assert calls(models) == asked
    assert "already built from these openings" in capsys.readouterr().out


@pytest.mark.parametrize("other", [{"seed": 1}, {"n": 3}, {"max_rounds": 9}])
def test_other_settings_do_not_replace_a_release(run: Build, other: dict[str, Any]) -> None:
    before = files_of(run())
    with pytest.raises(OutputError, match="with other configuration"):
        run(**other)
    assert files_of(run()) == before


def test_a_lost_release_comes_back_from_the_journal_without_a_call(
    run: Build, models: dict[str, FakeChat]
) -> None:
    made = run()
    before, asked = files_of(made), calls(models)
    shutil.rmtree(made)
    assert files_of(run()) == before
    assert calls(models) == asked


def test_a_killed_run_goes_on_and_gives_the_same_bytes(openings: Path, tmp_path: Path) -> None:
    victim: Future[subprocess.Popen[bytes]] = Future()
    numbers = count(1)

    def kill_on_the_fortieth(request: Request) -> Fault:
        if next(numbers) == 40:
            victim.result().kill()
        return Fault()

    def start(out: str) -> subprocess.Popen[bytes]:
        module = [sys.executable, "-m", "datasets_scripts.ultrachat.build"]
        models = ["--user-model", "asker", "--assistant-model", "helper"]
        where = ["--openings", str(openings), "--out", str(tmp_path / out)]
        command = [*module, *models, *where, "--base-url", server.url, "--concurrency", "4"]
        quiet = subprocess.DEVNULL
        env = os.environ | {"NO_PROXY": "127.0.0.1"}
        return subprocess.Popen(command, cwd=ROOT, env=env, stdout=quiet, stderr=quiet)

    def calls_of(out: str) -> int:
        server.requests.clear()
        with start(out) as process:
            assert process.wait() == 0
        return len(server.requests)

    killed, undisturbed = (tmp_path / out / NAME for out in ("killed", "undisturbed"))
    with ChatServer() as server:
        server.fault_of = kill_on_the_fortieth
        with start("killed") as process:
            victim.set_result(process)
        assert process.returncode == -signal.SIGKILL
        assert not killed.exists()
        finished = len(journal(killed.parent))
        with (killed.parent / f"{NAME}.run" / "journal.jsonl").open("ab") as file:
            file.write(b'{"key": "torn')
        asked_again = calls_of("killed")
        needed = calls_of("undisturbed")

    assert 0 < finished < needed
    assert asked_again == needed - finished
    assert files_of(killed) == files_of(undisturbed)


@pytest.mark.parametrize(
    "wrong",
    [
        {"min_rounds": 0},
        {"min_rounds": 5, "max_rounds": 4},
        {"n": -1},
        {"concurrency": 0},
        {"test_share": 1.0},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingError):
        Settings(**wrong)
