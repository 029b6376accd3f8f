"""With which openings a build holds which dialogues: shards, previews, what is left out."""

import re
from pathlib import Path
from typing import Any

import orjson
import pytest

from datasets_scripts.ultrachat import simulation
from datasets_scripts.ultrachat.build import build
from datasets_scripts.ultrachat.settings import VERSION, Settings
from tests.datasets_scripts.helpers import drops_of, files_of, rows_of
from tests.datasets_scripts.ultrachat.conftest import Build, card_of, write_openings
from tests.datasets_scripts.ultrachat.fakes import FakeChat
from ultra import release
from ultra.chat import Completion
from ultra.errors import CallError, InputError, SettingError

Json = dict[str, Any]


# Shards.


def test_shards_hold_together_what_one_machine_makes(run: Build, tmp_path: Path) -> None:
    whole = rows_of(run(n=20))
    shards = [run(f"shard{part}", n=20, shard=f"{part}/3") for part in range(3)]
    assert [path.name for path in shards] == [
        f"ultrachat-{VERSION}-shard-{part}-of-3" for part in range(3)
    ]
    rows = sorted((row for path in shards for row in rows_of(path)), key=lambda row: row["id"])
    assert rows == whole
    numbers = [int(row["id"].rpartition("-")[2]) for row in rows_of(shards[1])]
    assert numbers == [1, 4, 7, 10, 13, 16, 19]


def test_a_shard_beyond_the_dialogues_is_refused_before_a_call(
    run: Build, models: dict[str, FakeChat]
) -> None:
    with pytest.raises(SettingError, match="6/10 has none of 5 dialogues"):
        run(n=5, shard="6/10")
    assert not models["helper"].asked


def test_the_journals_of_all_shards_make_the_whole_without_a_call(
    run: Build, models: dict[str, FakeChat], tmp_path: Path
) -> None:
    whole = run(n=20)
    together = tmp_path / "merged" / f"ultrachat-{VERSION}.run" / "journal.jsonl"
    together.parent.mkdir(parents=True)
    with together.open("wb") as journal:
        for part in range(3):
            made = run("parts", n=20, shard=f"{part}/3")
            journal.write((made.with_name(f"{made.name}.run") / "journal.jsonl").read_bytes())
    before = {name: len(model.asked) for name, model in models.items()}
    assert files_of(run("merged", n=20)) == files_of(whole)
    assert {name: len(model.asked) for name, model in models.items()} == before


def test_shards_with_a_model_s_openings_hold_together_what_one_machine_makes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cast = {f"{part}_model": "demo" for part in ("user", "assistant", "opening")}

    def rows(shard: str) -> list[Json]:
        settings: Json = {"out": tmp_path / shard, "n": 9, "shard": shard, **cast}
        return rows_of(build(Settings(**settings)))

    whole = rows("")
    assert "each shard" not in capsys.readouterr().err
    parts = sorted((row for part in "01" for row in rows(f"{part}/2")), key=lambda row: row["id"])
    assert "each shard makes all openings for itself" in capsys.readouterr().err
    assert parts == whole


# Previews.


def test_a_preview_is_printed_and_paid_for_once(
    run: Build, models: dict[str, FakeChat], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("whole")
    needed = {name: len(model.asked) for name, model in models.items()}
    capsys.readouterr()
    run("out", preview=2)
    shown = capsys.readouterr().out
    assert re.findall(r"^=== (\S+)", shown, re.MULTILINE) == ["world-00000000", "world-00000001"]
    assert "--- user\nOpening number 0?\n--- assistant\nhelper says" in shown
    assert "run again without --preview" in shown
    assert not (tmp_path / "out" / f"ultrachat-{VERSION}").exists()
    run("out")
    both = {name: len(model.asked) for name, model in models.items()}
    assert both == {name: 2 * count for name, count in needed.items()}


def test_a_preview_shows_what_would_be_dropped_and_commands_no_terminal(
    run: Build, models: dict[str, FakeChat], capsys: pytest.CaptureFixture[str]
) -> None:
    models["helper"].rule = lambda messages: CallError("no \x1b[2J way", "refused")
    run(preview=1)
    shown = capsys.readouterr().out
    assert "dropped: assistant_refused (no \\x1b[2J way)" in shown
    models["helper"].rule = lambda messages: Completion(
        "clear \x1b[2J\r\u202e now\nand on", "stop", "m"
    )
    run("other", preview=1)
    shown = capsys.readouterr().out
    assert "clear \\x1b[2J\\r\\u202e now\nand on" in shown
    assert "\x1b" not in shown


def test_a_preview_has_only_the_first_openings_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cast = {f"{part}_model": "demo" for part in ("user", "assistant", "opening")}
    settings: Json = {"out": tmp_path, "n": 30_000, "shard": "1/2", **cast}
    build(Settings(preview=2, **settings))
    shown = capsys.readouterr().out
    numbers = re.findall(r"^=== \w+-(\d+)", shown, re.MULTILINE)
    assert numbers == ["00000001", "00000003"]
    folder = tmp_path / f"ultrachat-{VERSION}-shard-1-of-2.run"
    assert len((folder / "openings" / "openings.jsonl").read_bytes().splitlines()) == 100
    settings["n"] = 8
    rows = {row["id"]: row for row in rows_of(build(Settings(**settings)))}
    assert set(numbers) <= {id.rpartition("-")[2] for id in rows}
    for id in re.findall(r"^=== (\S+)", shown, re.MULTILINE):
        assert rows[id]["messages"][-1]["content"] in shown


# Openings.


def test_other_settings_after_a_preview_make_other_openings(tmp_path: Path) -> None:
    cast = {f"{part}_model": "demo" for part in ("user", "assistant", "opening")}
    settings: Json = {"out": tmp_path / "out", "n": 4, **cast}
    build(Settings(preview=1, **settings))
    changed = build(Settings(**settings, drop_overlap=13, seed=1))
    undisturbed = build(Settings(**settings | {"out": tmp_path / "other"}, drop_overlap=13, seed=1))
    assert files_of(changed) == files_of(undisturbed)


def test_openings_that_repeat_or_ask_a_benchmark_question_cost_nothing(
    run: Build, models: dict[str, FakeChat], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = [
        "How do I keep basil alive on a north-facing kitchen windowsill through winter?",
        "How do I keep basil alive on a north-facing kitchen windowsill through winter?!",
        "How do I keep basil alive on a north-facing kitchen windowsill through the winter?",
        "Compose an engaging travel blog post about a recent trip to Iceland for my readers.",
        "Which bolts hold a bicycle rack best?",
    ]
    own = tmp_path / "own.jsonl"
    own.write_bytes(
        b"".join(orjson.dumps({"sector": "world", "opening": text}) + b"\n" for text in texts)
    )
    questions = tmp_path / "questions.jsonl"
    asked = "compose an engaging travel blog post about a recent trip"
    questions.write_bytes(orjson.dumps({"id": "81", "suite": "s", "turns": [asked]}))
    capsys.readouterr()
    made = run(openings=own, questions=questions)
    told = "3 of 5 left out (benchmark_overlap 1, duplicate 1, near_duplicate 1)"
    assert told in capsys.readouterr().out
    openings = {turns[0]["content"] for turns in models["helper"].asked}
    assert openings == {texts[0], texts[4]}
    steps = {
        step["step"]: step["dropped"] for step in release.read_manifest(made)["openings"]["steps"]
    }
    assert steps == {
        "exact duplicates": {"duplicate": 1},
        "near duplicates": {"near_duplicate": 1},
        "benchmark overlap": {"benchmark_overlap": 1},
    }
    assert [(row["id"], row["step"], row["reason"]) for row in drops_of(made)] == [
        ("own.jsonl, opening 2", "openings", "duplicate"),
        ("own.jsonl, opening 3", "openings", "near_duplicate"),
        ("own.jsonl, opening 4", "openings", "benchmark_overlap"),
    ]
    card = card_of(made)
    assert "nearly the same words as an earlier one `near_duplicate`" in card
    assert "Checked against 1 questions" in card


def test_where_no_opening_is_kept_it_says_so_and_where_the_reasons_are(
    run: Build, models: dict[str, FakeChat], tmp_path: Path
) -> None:
    question = "Which of the bolts hold a bicycle rack to its frame best?"
    own, questions = tmp_path / "own.jsonl", tmp_path / "questions.jsonl"
    own.write_bytes(orjson.dumps({"sector": "world", "opening": question}))
    questions.write_bytes(orjson.dumps({"id": "81", "suite": "s", "turns": [question]}))
    for _ in range(2):  # nor does a second run take it for done
        with pytest.raises(InputError, match=r"no opening is kept; why .*dropped\.jsonl"):
            run(openings=own, questions=questions)
    assert not models["helper"].asked


def test_of_one_sector_an_opening_is_named_by_its_place_in_the_sector(
    run: Build, tmp_path: Path
) -> None:
    own = tmp_path / "own.jsonl"
    rows = [("creation", "Write a poem."), *[("world", "What do the bees do in winter?")] * 2]
    lines = (orjson.dumps({"sector": sector, "opening": text}) for sector, text in rows)
    own.write_bytes(b"\n".join(lines))
    [dropped] = drops_of(run("one", openings=own, sector="world"))
    assert (dropped["id"], dropped["detail"]) == (
        "own.jsonl, world opening 2",
        "gave way to own.jsonl, world opening 1",
    )
    [dropped] = drops_of(run("all", openings=own))
    assert dropped["id"] == "own.jsonl, opening 3"


def test_openings_are_sifted_once(run: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    run(preview=1)
    monkeypatch.setattr("datasets_scripts.ultrachat.openings.sift.Sieve", None)
    assert len(rows_of(run())) == 12


def test_a_model_s_openings_are_made_held_and_accounted_for(tmp_path: Path) -> None:
    cast = {f"{part}_model": "demo" for part in ("user", "assistant", "opening")}
    settings: Json = {"out": tmp_path, "n": 15, **cast}
    made = build(Settings(**settings))
    rows, manifest = rows_of(made), release.verify(made)
    assert len(rows) == 15
    assert {row["sector"] for row in rows} == {"world", "creation", "material"}
    assert {row["opening_model"] for row in rows} == {"demo"}
    assert manifest["openings"]["openings"] == 15
    assert manifest["models"]["opening"] == "demo"
    assert "- opening: `demo`" in card_of(made)
    assert build(Settings(**settings)) == made


# Plans.


def test_plans_go_round_the_openings_and_keep_none(tmp_path: Path) -> None:
    from datasets_scripts.ultrachat.openings.opening import read as read_openings
    from datasets_scripts.ultrachat.rows import Recipe

    path = write_openings(tmp_path / "few.jsonl", 3)
    plans = simulation.Plans(
        lambda: read_openings(path, "all"), Recipe(VERSION, 0), range(1, 10**9, 2), None
    )
    assert len(plans) == 500_000_000
    first = [plan for plan, _ in zip(plans, range(4), strict=False)]
    assert [(plan.index, plan.opening.topic) for plan in first] == [
        (1, "Topic 1"),
        (3, "Topic 0"),
        (5, "Topic 2"),
        (7, "Topic 1"),
    ]


def test_no_opening_of_the_sector_is_said_before_a_call(
    run: Build, models: dict[str, FakeChat]
) -> None:
    with pytest.raises(SettingError, match="no opening of sector creation"):
        run(sector="creation")
    assert not models["helper"].asked
