"""What a build leaves beside its rows: configurations, accounts and the card."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from datasets_scripts.ultrachat import judged
from datasets_scripts.ultrachat.build import build
from datasets_scripts.ultrachat.settings import Settings
from tests.datasets_scripts.helpers import rows_of
from tests.datasets_scripts.test_topics import Endpoint
from tests.datasets_scripts.ultrachat.conftest import Build, card_of
from tests.datasets_scripts.ultrachat.fakes import Answer, FakeChat
from ultra import release
from ultra.chat import Completion, Usage
from ultra.errors import CallError, ModelError, SettingError
from ultra.schema import Message

Json = dict[str, Any]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two dialogues with each opening of the sample."""
    cast = {"user_model": "demo", "assistant_model": "demo"}
    settings: Json = {"out": tmp_path_factory.mktemp("demo"), "n": 48, "test_share": 0.2, **cast}
    return build(Settings(**settings))


# Configurations and splits.


def test_each_sector_is_a_configuration_and_all_of_them_are_all(demo: Path) -> None:
    every = rows_of(demo)
    assert len(every) == 48
    for sector in ("world", "creation", "material"):
        assert rows_of(demo, sector) == [row for row in every if row["sector"] == sector] != []


def test_no_opening_stands_on_both_sides(demo: Path) -> None:
    sides: dict[str, set[str]] = {"train": set(), "test": set()}
    for file in demo.glob("data/all/*.jsonl"):
        rows = [orjson.loads(line) for line in file.read_bytes().splitlines()]
        sides[file.name.partition("-")[0]] |= {row["messages"][0]["content"] for row in rows}
    assert sides["train"]
    assert sides["test"]
    assert not sides["train"] & sides["test"]


def test_one_sector_alone_has_its_configuration_and_all(tmp_path: Path) -> None:
    cast = {"user_model": "demo", "assistant_model": "demo"}
    made = build(Settings(out=tmp_path, sector="creation", **cast))  # type: ignore[arg-type]
    assert set(release.read_manifest(made)["splits"]) == {"all", "creation"}
    assert {row["sector"] for row in rows_of(made)} == {"creation"}


# What is printed before a run.


def test_the_estimate_comes_before_the_calls_and_is_near(demo: Path, capsys: Any) -> None:
    cast = {"user_model": "demo", "assistant_model": "demo"}
    build(Settings(out=demo.parent / "again", n=48, **cast))  # type: ignore[arg-type]
    said = capsys.readouterr().out
    estimated = [int(count.replace(",", "")) for count in re.findall(r"demo: ([\d,]+) calls", said)]
    calls = sum(row["rounds"] for row in rows_of(demo))
    assert abs(estimated[1] - calls) < 0.2 * calls
    assert estimated[0] == pytest.approx(estimated[1] - 48, abs=1)


# Accounts.


def test_role_health_and_what_was_spent_in_vain_are_in_manifest_and_card(
    run: Build, models: dict[str, FakeChat]
) -> None:
    def nothing(messages: list[Message]) -> Completion | None:
        silent = messages == [{"role": "user", "content": "Opening number 3?"}]
        return Completion("", "stop", "helper-0613", Usage(7, 3)) if silent else None

    models["helper"].rule = nothing
    made = run()
    manifest, card = release.verify(made), card_of(made)
    health = manifest["role_health"]
    assert health["dialogues"] == 12
    assert health["dropped"] == {"count": 1, "rate": 0.0833}
    assert health["assistant"]["faults"] == {
        "empty": {"count": 3, "rate": round(3 / health["assistant"]["turns"], 4)}
    }
    assert manifest["rejected"]["calls"] == 3
    assert manifest["rejected"]["completion_tokens"] == 9
    assert "the assistant said nothing `empty`" in card
    assert "took 3 calls, 21 prompt tokens, 9 completion tokens" in card
    assert "usd" not in manifest["rejected"], "the price of the fakes is not known"


def test_money_is_that_of_the_kept_completions(
    run: Build, models: dict[str, FakeChat], tmp_path: Path
) -> None:
    prices = tmp_path / "prices.yaml"
    prices.write_text("asker: {prompt: 1, completion: 2}\nhelper: {prompt: 3, completion: 4}\n")
    usage = release.read_manifest(run(prices=prices))["usage"]
    asked = {name: models[name].asked for name in ("asker", "helper")}
    read = {name: sum(map(len, all_messages)) for name, all_messages in asked.items()}
    said = {name: len(all_messages) for name, all_messages in asked.items()}
    cost = read["asker"] + 2 * said["asker"] + 3 * read["helper"] + 4 * said["helper"]
    assert usage["usd"] == pytest.approx(cost / 1e6)
    assert usage["prompt_tokens"] == sum(read.values())


def test_topics_have_a_figure_for_each_sector_and_say_how(demo: Path) -> None:
    topics = release.read_manifest(demo)["topics"]
    assert set(topics["configs"]) == {"all", "world", "creation", "material"}
    assert all(0 < one["mean_cosine"] < 1 for one in topics["configs"].values())
    assert topics["configs"]["all"]["dialogues"] == 48
    assert "cannot be compared with it" in card_of(demo)
    assert "TF-IDF of words hashed" in card_of(demo)


def test_topics_by_an_endpoint_are_paid_for_once(run: Build, tmp_path: Path) -> None:
    with Endpoint() as endpoint:
        made = run(embedding_model="embedder", base_url=endpoint.url)
        asked = len(endpoint.asked)
        topics = release.read_manifest(made)["topics"]
        assert topics["method"].startswith("embeddings of embedder")
        assert topics["configs"]["all"] == topics["configs"]["world"]
        assert "here by embeddings of embedder" in card_of(made)
        shutil.rmtree(made)
        assert run(embedding_model="embedder", base_url=endpoint.url) == made
        assert len(endpoint.asked) == asked > 0


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"embedding_model": "embedder"}, "set OPENAI_API_KEY"),
        ({"judged": 1, "judge_model": "grader", "budget_usd": 1.0}, "has no price for grader"),
    ],
)
def test_what_looks_at_the_dialogues_is_checked_before_they_cost(
    settings: Json, said: str, run: Build, models: dict[str, FakeChat], tmp_path: Path
) -> None:
    prices = tmp_path / "prices.yaml"
    prices.write_text("asker: {prompt: 1, completion: 2}\nhelper: {prompt: 3, completion: 4}\n")
    with pytest.raises(SettingError, match=said):
        run(prices=prices, **settings)
    assert not models["helper"].asked


# The judged sample.

GOOD = "It hangs together.\ncoherence: 8\nhelpful: 1\nhonest: 0.5\nharmless: 1"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (GOOD, {"coherence": 8.0, "helpful": 1.0, "honest": 0.5, "harmless": 1.0}),
        (GOOD.replace("\n", "\r\n") + "\n\n", {"coherence": 8.0}),
        (GOOD.replace("8", "11"), "out_of_range"),
        (GOOD.replace("0.5", "0.7"), "out_of_range"),
        (GOOD.replace("8", "8/10"), "out_of_range"),
        (GOOD + "\nThat is all.", "no_verdict"),
        (GOOD.replace("honest: 0.5\n", ""), "no_verdict"),
        (GOOD.replace("helpful: 1\nhonest: 0.5", "honest: 0.5\nhelpful: 1"), "no_verdict"),
        ("coherence: " * 10_000, "no_verdict"),
        ("", "no_verdict"),
        ("\0\ud800: 1", "no_verdict"),
    ],
)
def test_a_verdict_is_read_strictly_or_not_at_all(text: str, found: Json | str) -> None:
    read = judged.read(text)
    assert read == found if isinstance(found, str) else isinstance(read, dict)
    assert isinstance(read, str) or read["coherence"] == 8.0


def test_a_judged_sample_counts_what_it_cannot_read(
    run: Build, models: dict[str, FakeChat]
) -> None:
    replies: Iterator[Answer] = iter(
        [
            Completion(GOOD, "stop", "grader-2"),
            CallError("too long", "context_length"),
            Completion(GOOD.replace("8", "6"), "stop", "grader-2"),
            Completion(GOOD, "length", "grader-2"),
            Completion("Ten of ten!", "stop", "grader-2"),
        ]
    )
    models["grader"].rule = lambda messages: next(replies)
    made = run(judged=5, judge_model="grader", concurrency=1)
    account = release.read_manifest(made)["judged"]
    assert account.pop("prompts").keys() == {"judge_system.md", "judge_request.md"}
    assert account == {
        "judge": "grader",
        "judge_model": "grader-2",
        "dialogues": 5,
        "scored": 2,
        "unscored": {"context_length": 1, "length": 1, "no_verdict": 1},
        "coherence": 7.0,
        "helpful": 1.0,
        "honest": 0.5,
        "harmless": 1.0,
    }
    card = card_of(made)
    assert "`grader` (named by its server: `grader-2`) graded 2 of 5 dialogues" in card
    assert "| coherence | 1 to 10 | 7.0 |" in card


def test_a_judge_that_refuses_altogether_stops_no_release(
    run: Build, models: dict[str, FakeChat]
) -> None:
    models["grader"].rule = lambda messages: ModelError("bad key")
    account = release.read_manifest(run(judged=3, judge_model="grader"))["judged"]
    assert (account["scored"], account["unscored"]) == (0, {"judge_stopped": 3})


def test_a_judge_sees_the_dialogue_between_marks_that_no_dialogue_has(
    run: Build, models: dict[str, FakeChat]
) -> None:
    models["grader"].rule = lambda messages: Completion(GOOD, "stop", "grader")
    run(judged=4, judge_model="grader")
    assert len(models["grader"].asked) == 4
    for system, request in models["grader"].asked:
        assert system["role"] == "system"
        code = re.findall(r"^\[dialogue (\w{16})\]$", request["content"], re.MULTILINE)
        assert len(code) == 1
        inside = request["content"].partition(f"[dialogue {code[0]}]\n")[2]
        inside = inside.partition(f"\n[end of dialogue {code[0]}]")[0]
        assert code[0] not in inside
        assert inside.startswith("USER: Opening number ")
        assert "ASSISTANT: helper says" in inside


def test_a_name_with_braces_fills_no_slot_of_the_card(
    run: Build, models: dict[str, FakeChat]
) -> None:
    models["grader"].name = "{splits} {version}"
    models["grader"].rule = lambda messages: Completion(GOOD, "stop", "{demo_note}")
    assert "`(splits) (version)` (named by its server: `(demo_note)`)" in card_of(
        run(judged=1, judge_model="grader")
    )


def test_a_larger_sample_holds_the_smaller_one() -> None:
    lines = [orjson.dumps({"id": n}) for n in range(50)]
    assert judged.sample(lines, 9)[:4] == judged.sample(reversed(lines), 4)
    assert len(judged.sample(lines, 99)) == 50


def test_a_changed_judge_is_another_release(run: Build, models: dict[str, FakeChat]) -> None:
    models["grader"].rule = lambda messages: Completion(GOOD, "stop", "grader")
    made = run()
    shutil.rmtree(made)
    asked = len(models["helper"].asked)
    judged_one = release.read_manifest(run(judged=2, judge_model="grader"))
    assert judged_one["configuration"]["judged"] == {"model": "grader", "dialogues": 2}
    assert len(models["helper"].asked) == asked
