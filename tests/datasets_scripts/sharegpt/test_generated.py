"""Published pages, and generated ones of which it is known what they should become."""

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import orjson
import pytest
from markdown_it import MarkdownIt

from datasets_scripts.sharegpt.build import build
from tests.conftest import SHARED
from tests.datasets_scripts.helpers import (
    Json,
    drops_of,
    reasons_of,
    rows_of,
)
from tests.datasets_scripts.sharegpt.raw import (
    settings_for,
)
from ultra import release

# Published material


def test_real_pages_are_all_kept(golden: Path, tmp_path: Path) -> None:
    made = build(settings_for(golden / "sharegpt" / "raw", tmp_path))
    assert (len(rows_of(made)), len(drops_of(made))) == (4, 0)
    turns = [turn for row in rows_of(made) for turn in row["messages"]]
    answers = [turn["content"] for turn in turns if turn["role"] == "assistant"]
    assert answers
    assert not [answer for answer in answers if "<div" in answer or "</p>" in answer]


def test_a_cleaned_dump_is_kept_as_it_is(golden: Path, tmp_path: Path) -> None:
    dump = golden / "sharegpt" / "dummy_conversation.json"
    made = build(settings_for(dump, tmp_path))
    texts = {
        row["id"]: [turn["value"] for turn in row["conversations"]]
        for row in orjson.loads(dump.read_bytes())
    }
    assert {
        row["id"]: [turn["content"] for turn in row["messages"]] for row in rows_of(made)
    } == texts
    assert len(texts) == 500
    assert drops_of(made) == []


# Generated pages

GENERATOR = SHARED / "tools" / "make_sharegpt.py"
GENERATED = 500
KINDS = [
    *("gpt_first", "trailing_human", "regen_counter", "copy_chars", "genuine_fraction"),
    *("blocked_openai", "blocked_chatgpt", "two_humans", "unknown_role", "single", "empty_items"),
    *("no_content", "error_404", "no_next_data", "truncated", "bad_json", "empty_answer"),
    *("rate_limited", "dup_exact", "dup_theme", "dup_id", "near_dup", "enc_utf16", "enc_cp1252"),
    *("enc_bom", "enc_bad_byte", "lone_surrogate", "nul_char", "html_in_user", "code_copy_text"),
    *("literal_div_in_code", "deep_nesting", "null_value", "extra_keys", "upper_tags"),
]
CODE_AS_PLANNED = {
    "ok",
    "gpt_first",
    "trailing_human",
    "regen_counter",
    "blocked_chatgpt",
    "html_in_user",
    "code_copy_text",
    "literal_div_in_code",
    "extra_keys",
    "dup_exact",
    "dup_theme",
    "dup_id",
}
"""Kinds of pages whose planned code blocks are all on the page."""


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Json], Path]:
    """What each page was planned to be, by its name, and the release."""
    if not GENERATOR.exists():
        pytest.skip(f"{GENERATOR} is not there: the page generator is not shipped")
    folder = tmp_path_factory.mktemp("generated")
    raw = folder / "raw"
    mix = json.dumps(dict.fromkeys(KINDS, 20))  # per mille; the rest is well
    options = ["--n", str(GENERATED), "--seed", "11", "--mix", mix, "--out", str(raw)]
    subprocess.run([sys.executable, GENERATOR, *options], check=True, capture_output=True)
    plans = [orjson.loads(line) for line in (raw / "manifest.jsonl").read_bytes().splitlines()]
    made = build(settings_for(raw, folder / "out"))
    return {plan["file"]: plan for plan in plans}, made


def test_every_generated_page_is_kept_or_dropped(generated: tuple[dict[str, Json], Path]) -> None:
    plans, made = generated
    manifest = release.verify(made)
    kept, dropped = rows_of(made), drops_of(made)
    assert {one["source"] for one in kept + dropped} == set(plans)
    assert len(kept) + len(dropped) == manifest["input"]["conversations"] == GENERATED
    assert Counter(one["reason"] for one in dropped) == reasons_of(manifest)
    steps = manifest["steps"]
    left = [step["in"] - sum(step["dropped"].values()) for step in steps]
    assert left == [*(step["in"] for step in steps[1:]), len(kept)]
    assert manifest["input"]["ignored"] == ["manifest.jsonl"]


@pytest.mark.parametrize(
    ("kind", "reasons"),
    [
        ("no_next_data", {"no_next_data"}),
        ("truncated", {"truncated"}),
        ("bad_json", {"broken_json"}),
        ("enc_utf16", {"not_utf8"}),
        ("enc_cp1252", {"not_utf8"}),
        ("no_content", {"no_content"}),
        ("error_404", {"no_content"}),
        ("empty_items", {"no_content"}),
        ("single", {"no_answered_question"}),
        ("two_humans", {"doubled_turn"}),
        ("null_value", {"bad_item"}),
        ("dup_exact", {"same_text"}),
        ("dup_theme", {"same_text"}),
        ("dup_id", {"same_id"}),
        ("near_dup", set()),
        ("regen_counter", set()),
        ("lone_surrogate", set()),
        ("nul_char", set()),
        ("enc_bad_byte", {"not_utf8"}),
        ("enc_bom", set()),
        ("deep_nesting", set()),
        ("ok", set()),
    ],
)
def test_each_kind_of_page_meets_its_fate(
    generated: tuple[dict[str, Json], Path], kind: str, reasons: set[str]
) -> None:
    plans, made = generated
    pages = {name for name, plan in plans.items() if plan["kind"] == kind}
    assert pages
    copied = {plan["dup_of"] for plan in plans.values()} - {None}
    found = {drop["source"]: drop["reason"] for drop in drops_of(made) if drop["source"] in pages}
    if kind.startswith("dup"):  # either of two alike may be the one that stays
        assert set(found.values()) <= {"same_text", "same_id"}
    elif reasons:
        assert set(found) == pages
        assert set(found.values()) == reasons
    else:
        assert {int(name.split("_")[0]) for name in found} <= copied


def test_counters_go_and_fractions_stay(generated: tuple[dict[str, Json], Path]) -> None:
    plans, made = generated
    texts: dict[str, list[str]] = {"regen_counter": [], "genuine_fraction": []}
    for kept in rows_of(made):
        contents = [turn["content"] for turn in kept["messages"]]
        texts.get(plans[kept["source"]]["kind"], []).extend(contents)
    assert texts["regen_counter"]
    assert not [text for text in texts["regen_counter"] if re.match(r"\d / \d[^\s\d]", text)]
    assert "1 / 2 + 3 / 4 = ?" in texts["genuine_fraction"]
    assert "1 / 2 cup of flour, then 3 / 4 cup of sugar." in texts["genuine_fraction"]


def test_code_blocks_are_the_planned_ones(generated: tuple[dict[str, Json], Path]) -> None:
    plans, made = generated
    reader = MarkdownIt("commonmark", {"maxNesting": 10_000})
    compared = 0
    for kept in rows_of(made):
        plan = plans[kept["source"]]
        if plan["kind"] not in CODE_AS_PLANNED:
            continue
        answers = [turn for turn in kept["messages"] if turn["role"] == "assistant"]
        for answer, codes in zip(answers, plan["codes"], strict=True):
            tokens = reader.parse(answer["content"])
            found = [token.content for token in tokens if token.type == "fence"]
            assert found == [code.removesuffix("\n") + "\n" for _, code in codes], kept["source"]
            compared += len(found)
    assert compared > 50
