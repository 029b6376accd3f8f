"""Openings to a release of dialogues: the same bytes however the run went."""

import shutil
import sqlite3
from pathlib import Path
from typing import Any

import orjson
import pytest

from datasets_scripts.ultrachat.build import build
from datasets_scripts.ultrachat.openings.texts import Sources
from datasets_scripts.ultrachat.settings import VERSION, Settings
from tests.datasets_scripts.helpers import drops_of, files_of, reasons_of, rows_of
from tests.datasets_scripts.ultrachat.conftest import Build
from tests.datasets_scripts.ultrachat.fakes import Answer, FakeChat, Rule
from ultra import release
from ultra.chat import Completion, Sampling
from ultra.demo import JUDGES
from ultra.errors import CallError, InputError, ModelError, OutputError, SettingError
from ultra.schema import Message, root_id

GOLDEN = ("2.0.0", "46f8d17ba8d289a3e9b03702d79b1d5f925d0b5e9aa4de4017c956df19292fcb")

NAME = f"ultrachat-{VERSION}"


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
    cast = {"user_model": "demo", "assistant_model": "helper"}
    made = build(Settings(openings=openings, out=tmp_path, **cast))  # type: ignore[arg-type]
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
    (row,) = rows_of(build(Settings(openings=file, out=tmp_path, test_share=0.0)))
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
    assert (first["rounds"], first["finish"]) == (first["rounds_planned"], "planned")
    assert len(first["messages"]) == 2 * first["rounds"]
    assert 3 <= first["rounds"] <= 7
    assert len(first["intents"].split(", ")) == first["rounds"] - 1
    assert (first["recipe"], first["recipe_seed"]) == (VERSION, 0)
    assert (first["temperature"], first["max_tokens"], first["user_max_tokens"]) == (0.7, 2048, 512)
    assert first["persona"]
    assert first["register"]
    spoken = [len(row["messages"]) - 1 for row in rows_of(made)]
    assert manifest["usage"]["calls"] == sum(spoken)


def test_a_row_has_the_temperature_that_was_sent(run: Build, models: dict[str, FakeChat]) -> None:
    sent = {row["seed"]: row["user_temperature"] for row in rows_of(run())}
    assert len(set(sent.values())) > 2
    assert {one.seed: one.temperature for one in models["asker"].samplings} == sent


def test_all_about_one_text_stands_on_one_side(run: Build, tmp_path: Path) -> None:
    text = "The harbour froze over in the second week of January, and nobody could leave."
    tasks = ("Summarise it:", "Put it into verse:", "Translate it into German:", "Shorten it:")
    rows = [
        {"sector": "material", "topic": "", "opening": f"{task} {text}", "material": text}
        for task in tasks
    ]
    own = tmp_path / "texts.jsonl"
    own.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    roots = {row["root"] for row in rows_of(run(openings=own, test_share=0.5))}
    assert len(roots) == 1
    assert roots == {root_id([{"role": "user", "content": text}])}


def test_more_dialogues_than_openings_go_round_them_and_it_is_said(
    run: Build, capsys: pytest.CaptureFixture[str]
) -> None:
    run()
    assert "go round" not in capsys.readouterr().out
    rows = rows_of(run("more", n=20))
    assert "20 dialogues go round 12 openings" in capsys.readouterr().out
    opened = {int(row["id"].rpartition("-")[2]): row["messages"][0] for row in rows}
    assert [opened[number + 12] for number in range(8)] == [opened[number] for number in range(8)]


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
        ("helper", CallError("it timed out", "no_answer"), "assistant_no_answer", "it timed out"),
        ("asker", CallError("no such", "refused"), "user_refused", "no such"),
        ("helper", Completion("", "stop", "m"), "assistant_empty", ""),
        ("asker", Completion("As we were", "length", "m"), "user_length", "As we were"),
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
    (dropped,) = drops_of(made)
    assert detail in dropped.pop("detail")
    assert dropped == {
        "id": "world-00000004",
        "source": "mine.jsonl",
        "step": "simulate",
        "reason": reason,
    }
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


def test_if_nothing_is_kept_openings_are_not_counted_as_dialogues(
    run: Build, models: dict[str, FakeChat], openings: Path
) -> None:
    openings.write_bytes(openings.read_bytes() * 3)
    models["helper"].rule = lambda messages: CallError("down for a while", "no_answer")
    with pytest.raises(InputError, match=r"12 of 12 conversations were .* most for assistant_no"):
        run()


def test_a_full_disk_is_one_error_and_nothing_is_lost(
    run: Build, models: dict[str, FakeChat], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patched:
        patched.setattr("datasets_scripts.spool.Spool.add", full)
        with pytest.raises(OutputError, match=r"disk is full.*; is the disk full\?"):
            run()
    asked = calls(models)
    run()
    assert calls(models) > asked, "the run stopped at once"
    assert files_of(run("other")) == files_of(run())


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
    assert all(models[name].closed == 3 for name in ("asker", "helper"))


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


@pytest.mark.parametrize("other", [{"seed": 1}, {"n": 3}, {"min_rounds": 2, "max_rounds": 9}])
def test_other_settings_do_not_replace_a_release(run: Build, other: dict[str, Any]) -> None:
    before = files_of(run())
    with pytest.raises(OutputError, match=r"other configuration.*run, and are not paid for again"):
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


@pytest.mark.parametrize(
    "wrong",
    [
        {"min_rounds": 3},
        {"max_rounds": 3},
        {"min_rounds": 5, "max_rounds": 4},
        {"retries": -1},
        {"preview": -1},
        {"judged": 3},
        {"near_duplicates": 1.1},
        {"shard": "2/2"},
        {"shard": "1"},
        {"shard": "-1/2"},
        {"opening_model": "m"},
        {"opening_model": "m", "n": 3, "openings": Path("mine.jsonl")},
        {"sources": Sources(texts="texts.jsonl")},
        {"user_sampling": Sampling(seed=1)},
        {"n": -1},
        {"concurrency": 0},
        {"test_share": 1.0},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingError):
        Settings(**wrong)
