"""A protocol is a file: all in it decides its hash, and published prompts are sent as published."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks import cases, protocol, templates
from benchmarks.cases import Case
from benchmarks.protocol import Protocol
from benchmarks.published import is_switched
from benchmarks.questions import Question
from benchmarks.templates import Template
from ultra.errors import InputError, SettingError

SUITE = {"suite": "small", "suite_digest": "0"}
PAIRWISE = protocol.HERE / "pairwise.yaml"


@pytest.fixture
def benchmark_files(golden: Path) -> Path:
    return golden.parent / "benchmarks"


def question(id: str = "q1", category: str = "math", turns: int = 2) -> Question:
    return Question(id, category, ["First {0}?", "Second?"][:turns], 0, ["ref 1", "ref 2"])


def case(chosen: Protocol, asked: Question, turn: int, order: str = "") -> Case:
    """One case, of answers that name their turn."""
    mine = {"id": asked.id, "turns": ["mine 1", "mine 2"][: len(asked.turns)]}
    base = {"id": asked.id, "turns": ["base 1", "base 2"][: len(asked.turns)]}
    found = cases.cases([asked], {asked.id: mine}, {asked.id: base}, chosen)
    (one,) = [one for one in found if one.turn == turn and one.order == order]
    return one


def own(folder: Path, **changes: Any) -> str:
    """A protocol file of one's own, like the one that ships but for some changes."""
    written = {**yaml.safe_load(PAIRWISE.read_text()), **changes}
    path = folder / "own.yaml"
    path.write_text(yaml.safe_dump({key: of for key, of in written.items() if of is not None}))
    return str(path)


# What is sent.


def fastchat(path: Path, entry: str) -> dict[str, Any]:
    rows = [json.loads(line) for line in path.read_text().splitlines() if line]
    (row,) = [row for row in rows if entry in (row.get("name"), row["category"])]
    return dict(row)


@pytest.mark.parametrize("name", ["vicuna", "evol_instruct", "ultra_eval", "vicuna_ec_bpc"])
@pytest.mark.parametrize("category", ["generic", "coding", "math"])
def test_vicuna_prompts_are_filled_as_fastchat_fills_them(
    benchmark_files: Path, name: str, category: str
) -> None:
    chosen = protocol.load(name, orders="both", folder=benchmark_files)
    file = "openchat" if name == "vicuna_ec_bpc" else "vicuna"
    entry = "general" if category == "generic" else category
    row = fastchat(benchmark_files / file / "prompt.jsonl", entry)
    one = case(chosen, question(category=category, turns=1), 0, "baseline_first")
    assert cases.messages(one) == [
        {"role": "system", "content": row["system_prompt"]},
        {
            "role": "user",
            "content": row["prompt_template"].format(
                question="First {0}?", answer_1="base 1", answer_2="mine 1", **row["defaults"]
            ),
        },
    ]


@pytest.mark.parametrize(("category", "math"), [("writing", False), ("reasoning", True)])
@pytest.mark.parametrize("turn", [1, 2])
def test_mt_bench_prompts_are_filled_as_fastchat_fills_them(
    benchmark_files: Path, category: str, math: bool, turn: int
) -> None:
    prompts = benchmark_files / "mt_bench/judge_prompts.jsonl"
    ending = "-multi-turn" if turn == 2 else ""
    shared = {
        "question": "First {0}?",
        "question_1": "First {0}?",
        "question_2": "Second?",
        "ref_answer_1": "ref 1",
        "ref_answer_2": "ref 2",
    }
    single = fastchat(prompts, f"single-{'math-v1' if math else 'v1'}{ending}")
    pair = fastchat(prompts, f"pair-{'math-v1' if math else 'v2'}{ending}")
    one = case(
        protocol.load("mt_bench_single", folder=benchmark_files), question(category=category), turn
    )
    assert cases.messages(one) == [
        {"role": "system", "content": single["system_prompt"]},
        {
            "role": "user",
            "content": single["prompt_template"].format(
                answer="mine 1", answer_1="mine 1", answer_2="mine 2", **shared
            ),
        },
    ]
    chosen = protocol.load("mt_bench_pair", folder=benchmark_files)
    one = case(chosen, question(category=category), turn, "baseline_first")
    assert cases.messages(one) == [
        {"role": "system", "content": pair["system_prompt"]},
        {
            "role": "user",
            "content": pair["prompt_template"].format(
                answer_a="base 1",
                answer_b="mine 1",
                answer_a_1="base 1",
                answer_a_2="base 2",
                answer_b_1="mine 1",
                answer_b_2="mine 2",
                **shared,
            ),
        },
    ]


@pytest.mark.parametrize(
    ("name", "file"), [("alpaca_eval", "alpaca_eval"), ("alpaca_eval_2", "alpaca_eval_clf")]
)
def test_chat_marks_of_alpaca_eval_become_turns(
    benchmark_files: Path, name: str, file: str
) -> None:
    chosen = protocol.load(name, orders="model_first", folder=benchmark_files)
    text = (benchmark_files / f"alpaca_eval/prompts/{file}.txt").read_text()
    for slot, value in (
        ("instruction", "First {0}?"),
        ("output_1", "mine 1"),
        ("output_2", "base 1"),
    ):
        text = text.replace("{" + slot + "}", value)
    turns = [part.partition("<|im_end|>")[0] for part in text.split("<|im_start|>")[1:]]
    assert cases.messages(case(chosen, question(turns=1), 0, "model_first")) == [
        {"role": role, "content": content.strip()}
        for role, content in (turn.split("\n", 1) for turn in turns)
    ]


def test_slots_are_filled_in_one_pass_and_doubled_braces_are_single_ones() -> None:
    doubled = Template(
        (("user", '{{"a": {{question}}}} {question} {prompt}'),), True, {"prompt": "{x}"}
    )
    assert doubled.slots == {"question"}
    assert doubled.fill({"question": "{{prompt}} {question}"})[0]["content"] == (
        '{"a": {question}} {{prompt}} {question} {x}'
    )
    plain = Template((("user", "{{question}}"),))
    assert plain.fill({"question": "{question}"})[0]["content"] == "{{question}}"


# Orders.


def orders(chosen: Protocol, ids: list[str]) -> list[str]:
    asked = [Question(id, "", [f"What of {id}?"]) for id in ids]
    return [case.order for case in cases.cases(asked, {}, {}, chosen)]


def test_orders_are_as_the_protocol_says() -> None:
    chosen = protocol.load("pairwise")
    ids = ["a1", "a2", "4"]
    assert orders(chosen, ids) == ["model_first", "baseline_first"] * 3
    assert orders(replace(chosen, orders="model_first"), ids) == ["model_first"] * 3
    assert orders(replace(chosen, orders="baseline_first"), ids) == ["baseline_first"] * 3
    by_number = ["model_first", "baseline_first", "baseline_first"]
    assert orders(replace(chosen, orders="alternating"), ids) == by_number
    by_place = ["model_first", "baseline_first", "model_first"]
    assert orders(replace(chosen, orders="alternating"), ["a", "b", "c"]) == by_place
    switched = [is_switched(f"What of {id}?") for id in ids]
    assert orders(replace(chosen, orders="seeded"), ids) == [
        "model_first" if one else "baseline_first" for one in switched
    ]


def test_cases_come_by_question_turn_order_and_sample(benchmark_files: Path) -> None:
    chosen = protocol.load("mt_bench_pair", samples=2, folder=benchmark_files)
    found = cases.cases([question("q1", turns=1), question("q2")], {}, {}, chosen)
    expected = [
        (id, turn, order, sample)
        for id, turns in (("q1", (1,)), ("q2", (1, 2)))
        for turn in turns
        for order in ("model_first", "baseline_first")
        for sample in (0, 1)
    ]
    assert [(one.question.id, one.turn, one.order, one.sample) for one in found] == expected
    draws = {cases.sampling(one, chosen, attempt).sample for one in found for attempt in (0, 1)}
    assert draws == {0, 1, 2, 3}


def test_what_cannot_be_judged_is_known_before(benchmark_files: Path) -> None:
    chosen = protocol.load("mt_bench_single", folder=benchmark_files)
    whole = case(chosen, question(), 2)
    assert cases.lacks(whole) == ""
    assert cases.lacks(replace(whole, model={"turns": ["one turn"]})) == "no_answer"
    assert cases.lacks(replace(whole, model={})) == "no_answer"
    lacking = replace(whole, question=replace(question(), reference=["ref 1"]))
    assert cases.lacks(lacking) == "no_reference"
    assert cases.lacks(replace(lacking, turn=1, prompt=chosen.prompt("math", 1))) == ""
    general = case(chosen, Question("q1", "writing", ["a", "b"]), 2)
    assert cases.lacks(general) == ""


# The hash.


def test_the_hash_follows_all_that_decides_a_score(tmp_path: Path) -> None:
    chosen = protocol.load("pairwise")
    prompts = [{"system": "pair_request.md", "user": "pair_request.md"}]
    changed: list[dict[str, Any]] = [
        {"orders": "seeded"},
        {"samples": 2},
        {"metric": "percent"},
        {"parser": "first_choice"},
        {"identical": "tie"},
        {"prompts": prompts},
        {"sampling": {"temperature": 0.1, "max_tokens": 1024}},
    ]
    records = [
        chosen.record("judge", SUITE, "baseline"),
        chosen.record("another judge", SUITE, "baseline"),
        chosen.record("judge", {**SUITE, "suite_digest": "1"}, "baseline"),
        chosen.record("judge", SUITE, "another baseline"),
        *(
            replace(protocol.load(own(tmp_path, **change)), name="pairwise").record(
                "judge", SUITE, "baseline"
            )
            for change in changed
        ),
    ]
    assert len({record["hash"] for record in records}) == len(records)
    assert all(protocol.verify(record) for record in records)
    assert not any(protocol.verify({**record, "metric": "other"}) for record in records)


def test_a_record_can_be_written_and_read_again() -> None:
    record = protocol.load("pairwise").record("judge", SUITE, "baseline")
    assert record["judge"] == "judge"
    assert json.loads(json.dumps(record)) == record


def test_a_comment_changes_no_hash_and_a_word_of_a_prompt_does(tmp_path: Path) -> None:
    def hashed() -> str:
        loaded = protocol.load(own(tmp_path, prompts=[{"system": "s.md", "user": "u.md"}]))
        return str(loaded.record("judge", SUITE, "baseline")["hash"])

    (tmp_path / "s.md").write_text("You judge.")
    (tmp_path / "u.md").write_text("{question} {answer_a} {answer_b}")
    first = hashed()
    with (tmp_path / "own.yaml").open("a") as file:
        file.write("# a comment\n")
    assert hashed() == first
    (tmp_path / "u.md").write_text("{question}: {answer_a} {answer_b}")
    assert hashed() != first


# What is refused.


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "pair"}, "own: its 'kind' must be one of: pair_scores"),
        ({"parser": "last_scores"}, "own: its 'parser' must be one of: first_choice"),
        ({"parser": "eval"}, "its 'parser' must be one of: last_line_choice"),
        ({"parser": None}, "its 'parser' must be one of"),
        ({"orders": "random"}, "own: its 'orders' must be one of: model_first"),
        ({"orders": None}, "own: its 'orders' must be one of"),
        ({"samples": 0}, "samples: 0 is not 1 or more"),
        ({"colour": "red"}, "colour"),
        ({"prompts": None}, "prompts"),
        ({"prompts": [{"user": "absent.md", "system": "pair_system.md"}]}, "absent.md"),
        ({"prompts": [{"file": "absent.jsonl", "entry": "a"}]}, "absent.jsonl"),
        ({"sampling": {"temperature": -1}}, "temperature"),
        ({"sampling": {"heat": 1}}, "heat"),
        ({"kind": "pair_weighted", "parser": "token_choice"}, "must ask for top_logprobs"),
    ],
)
def test_a_protocol_that_cannot_be_is_one_clear_error(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises((SettingError, InputError), match=message):
        protocol.load(own(tmp_path, **changes))


def test_a_slot_that_nothing_fills_is_named(tmp_path: Path) -> None:
    (tmp_path / "u.md").write_text("{question} {answer_c}")
    (tmp_path / "s.md").write_text("You judge.")
    with pytest.raises(SettingError, match="nothing fills its slots answer_c"):
        protocol.load(own(tmp_path, prompts=[{"system": "s.md", "user": "u.md"}]))


def test_prompts_for_some_categories_only_are_not_enough(tmp_path: Path) -> None:
    one = {"system": "pair_system.md", "user": "pair_request.md", "categories": ["math"]}
    with pytest.raises(SettingError, match="no prompt for turn 0 is for all other categories"):
        protocol.load(own(tmp_path, prompts=[one]))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("vicunna", "did you mean 'vicuna'"),
        ("../../secret", "unknown"),
        ("absent.yaml", "unknown"),
    ],
)
def test_an_unknown_protocol_is_named(name: str, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        protocol.load(name)


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    for text in ("a: [", "- a", "", "\0"):
        (tmp_path / "own.yaml").write_text(text)
        with pytest.raises(SettingError, match=r"own\.yaml: "):
            protocol.load(str(tmp_path / "own.yaml"))


def test_a_grade_has_no_orders(benchmark_files: Path) -> None:
    with pytest.raises(SettingError, match="orders: protocol mt_bench_single shows one answer"):
        protocol.load("mt_bench_single", orders="both", folder=benchmark_files)


def test_an_entry_that_a_published_file_lacks_is_named(benchmark_files: Path) -> None:
    with pytest.raises(SettingError, match="has no entry 'pair-v9', only pair-v2"):
        templates.published("mt_bench/judge_prompts.jsonl", "pair-v9", benchmark_files)


def test_every_protocol_that_ships_loads(benchmark_files: Path) -> None:
    assert len(protocol.names()) == 9
    for name in protocol.names():
        assert protocol.load(name, folder=benchmark_files).name == name
