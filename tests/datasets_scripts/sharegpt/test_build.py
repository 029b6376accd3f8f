"""Pages and dumps to a release, from end to end."""

import json
import os
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from markdown_it import MarkdownIt

from datasets_scripts.sharegpt.build import SAMPLE, VERSION, Settings, build
from tests.conftest import SHARED
from tests.datasets_scripts.helpers import (
    Json,
    drops_of,
    files_of,
    page,
    reasons_of,
    row,
    rows_of,
)
from ultra import release, schema
from ultra.errors import InputError, OutputError, SettingError

Build = Callable[..., Path]

GOLDEN = ("1.0.0", "e33bb12a7fcdad4c2f9e272ba70bdadec6594f5629116bcf1704c91e60cc5330")


@pytest.fixture
def build_from(tmp_path: Path) -> Build:
    """Put files into a folder of their own and build a release from it, all in ``train``."""
    folders = iter(range(100))

    def run(files: dict[str, bytes], **settings: Any) -> Path:
        folder = tmp_path / f"made{next(folders)}"
        (folder / "raw").mkdir(parents=True)
        for name, raw in files.items():
            (folder / "raw" / name).write_bytes(raw)
        return build(Settings(folder / "raw", folder / "out", **{"test_share": 0.0} | settings))

    return run


# The sample that ships


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(Settings(out=tmp_path_factory.mktemp("sample")))


def test_the_sample_gives_the_bytes_that_its_version_stands_for(sample: Path) -> None:
    made = (VERSION, release.read_manifest(sample)["data_digest"])
    assert made == GOLDEN, "the same input gives other bytes: bump VERSION and this digest"


def test_the_sample_shows_every_kind_of_bad_page_once(sample: Path) -> None:
    manifest = release.verify(sample)
    assert manifest["input"]["conversations"] == len(list(SAMPLE.glob("*.html"))) == 14
    assert reasons_of(manifest) == {
        "no_next_data": 1,
        "not_utf8": 1,
        "truncated": 1,
        "doubled_turn": 1,
        "empty_turn": 1,
        "prefix": 1,
    }
    assert manifest["statistics"]["conversations"] == len(rows_of(sample)) == 8
    assert len(drops_of(sample)) == 6


def test_a_page_that_begins_with_an_answer_and_ends_with_a_question_is_cut(sample: Path) -> None:
    raw = (SAMPLE / "starts-with-answer-Jc4XtB8.html").read_text("utf-8")
    data = raw.split('type="application/json">')[-1].split("</script>")[0]
    items = json.loads(data)["props"]["pageProps"]["content"]["items"]
    assert (items[0]["from"], items[-1]["from"]) == ("gpt", "human")
    (repaired,) = [row for row in rows_of(sample) if row["id"] == "Jc4XtB8"]
    assert [turn["role"] for turn in repaired["messages"]] == ["user", "assistant"] * 2
    assert repaired["messages"][0]["content"] == items[1]["value"]
    assert len(items) == 6


def test_the_sample_loads_with_its_columns(sample: Path) -> None:
    from datasets import load_dataset

    loaded = load_dataset(str(sample), "all")
    assert set(loaded) == {"train", "test"}
    assert loaded["train"].features == schema.features("sharegpt")
    rows = [dict(row) for split in loaded.values() for row in split]
    assert sorted(rows, key=lambda row: str(row["id"])) == rows_of(sample)


# Published material


def test_real_pages_are_all_kept(golden: Path, tmp_path: Path) -> None:
    made = build(Settings(golden / "sharegpt" / "raw", tmp_path))
    assert (len(rows_of(made)), len(drops_of(made))) == (4, 0)
    turns = [turn for row in rows_of(made) for turn in row["messages"]]
    answers = [turn["content"] for turn in turns if turn["role"] == "assistant"]
    assert answers
    assert not [answer for answer in answers if "<div" in answer or "</p>" in answer]


def test_a_cleaned_dump_is_kept_as_it_is(golden: Path, tmp_path: Path) -> None:
    dump = golden / "sharegpt" / "dummy_conversation.json"
    made = build(Settings(dump, tmp_path))
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
    return {plan["file"]: plan for plan in plans}, build(Settings(raw, folder / "out"))


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


# Same input, same bytes

ROWS = [row(f"id{n}", f"question {n % 40}", "answer", f"more {n}", "yes") for n in range(60)]


def test_a_second_build_finds_the_first(
    build_from: Build, capsys: pytest.CaptureFixture[str]
) -> None:
    made = build_from({"x.json": orjson.dumps(ROWS)})
    before = files_of(made)
    capsys.readouterr()
    again = build(Settings(made.parents[1] / "raw", made.parent, test_share=0.0))
    assert again == made
    assert files_of(made) == before
    assert "already built from this input" in capsys.readouterr().out


def test_the_order_of_rows_and_the_place_of_the_build_change_no_byte(build_from: Build) -> None:
    shuffled = random.Random(1).sample(ROWS, len(ROWS))
    one = build_from({"x.json": orjson.dumps(ROWS)}, test_share=0.3)
    two = build_from({"x.json": orjson.dumps(shuffled)}, test_share=0.3)
    assert files_of(one) == files_of(two)
    assert len(list(one.glob("data/all/*.jsonl"))) == 2


def test_the_order_of_versions_of_one_row_changes_no_byte(build_from: Build) -> None:
    versions = [row("a", "q", "r", views=views) for views in (1, 2)]
    one = build_from({"x.json": orjson.dumps(versions)})
    two = build_from({"x.json": orjson.dumps(versions[::-1])})
    assert files_of(one) == files_of(two)


def test_versions_of_one_question_stand_on_one_side(build_from: Build) -> None:
    made = build_from({"x.json": orjson.dumps(ROWS)}, test_share=0.5)
    sides = [
        {orjson.loads(line)["root"] for line in file.read_bytes().splitlines()}
        for file in made.glob("data/all/*.jsonl")
    ]
    assert len(sides) == 2
    assert all(sides)
    assert not sides[0] & sides[1]


@pytest.mark.parametrize("other", [{"doubled_turns": "merge"}, {"test_share": 0.5}])
def test_other_settings_do_not_replace_a_release(build_from: Build, other: dict[str, Any]) -> None:
    made = build_from({"x.json": orjson.dumps(ROWS)})
    before = files_of(made)
    with pytest.raises(OutputError, match="with other configuration"):
        build(Settings(made.parents[1] / "raw", made.parent, **{"test_share": 0.0} | other))
    assert files_of(made) == before


def test_other_input_does_not_replace_a_release(build_from: Build) -> None:
    made = build_from({"x.json": orjson.dumps(ROWS)})
    raw = made.parents[1] / "raw"
    (raw / "y.html").write_bytes(page(row("new", "q", "r")))
    with pytest.raises(OutputError, match="with other input"):
        build(Settings(raw, made.parent, test_share=0.0))


def test_a_folder_in_the_way_is_left_alone(build_from: Build, tmp_path: Path) -> None:
    in_the_way = tmp_path / "made0" / "out" / f"sharegpt-{VERSION}"
    in_the_way.mkdir(parents=True)
    (in_the_way / "mine.txt").write_text("x")
    with pytest.raises(OutputError, match="is in the way"):
        build(Settings(SAMPLE, in_the_way.parent))
    assert [file.name for file in in_the_way.iterdir()] == ["mine.txt"]


def test_doubled_turns_are_merged_if_asked(build_from: Build) -> None:
    doubled = row("a", "q", "r")
    doubled["conversations"].insert(0, {"from": "human", "value": "first"})
    files = {"x.json": orjson.dumps([doubled])}
    (merged,) = rows_of(build_from(files, doubled_turns="merge"))
    assert merged["messages"][0]["content"] == "first\n\nq"


# What goes wrong


def test_if_nothing_is_kept_the_drop_report_is(build_from: Build, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"2 of 2 conversations were dropped.*dropped\.jsonl"):
        build_from({"x.html": b"<html>", "y.json": orjson.dumps([row("a", "q")])})
    out = tmp_path / "made0" / "out"
    (report,) = out.iterdir()
    assert report.name == f"sharegpt-{VERSION}.dropped.jsonl"
    reasons = [orjson.loads(line)["reason"] for line in report.read_bytes().splitlines()]
    assert sorted(reasons) == ["no_answered_question", "no_next_data"]


def test_without_a_conversation_nothing_is_left(build_from: Build, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no conversations"):
        build_from({"package.json": b"{}"})
    assert list((tmp_path / "made0" / "out").iterdir()) == []


def test_a_dump_that_breaks_off_leaves_nothing(build_from: Build, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"x\.json: broken JSON after"):
        build_from({"a.html": page(ROWS[0]), "x.json": orjson.dumps(ROWS)[:-5]})
    assert list((tmp_path / "made0" / "out").iterdir()) == []


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(SettingError, match="test_share"):
        Settings(test_share=share)


def test_odd_names_and_values_reach_the_release_and_its_report(build_from: Build) -> None:
    odd = [row("a\0", "\0q\ud800", "r", title="\udfff"), row("a\ud800", "\0q\ud800", "r")]
    raw = json.dumps(odd[0]) + "\n" + json.dumps(odd[1])
    try:
        made = build_from({os.fsdecode(b"caf\xe9.jsonl"): raw.encode("ascii")})
    except OSError:
        pytest.skip("this file system takes only names in UTF-8")
    release.verify(made)
    mark = "\N{REPLACEMENT CHARACTER}"
    (kept,) = rows_of(made)
    (dropped,) = drops_of(made)
    assert kept["source"] == dropped["source"] == f"caf{mark}.jsonl"
    assert kept["messages"][0]["content"] == f"\0q{mark}"
    assert {kept["id"], dropped["id"]} == {"a\0", f"a{mark}"}
