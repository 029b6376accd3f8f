"""``python -m benchmarks.score``: published tables again, from published judgments."""

import csv
import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from benchmarks import published, recompute
from benchmarks.score import Settings, score
from tests.benchmarks.fakes import write_rows
from ultra import command, jsonl
from ultra.errors import InputError, SettingError


@pytest.fixture(autouse=True)
def _no_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("ULTRA_BENCHMARKS_DIR", raising=False)
    monkeypatch.setenv("ULTRA_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def published_files(golden: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = golden.parent / "benchmarks"
    monkeypatch.setenv("ULTRA_BENCHMARKS_DIR", str(folder))
    return folder


def annotation(number: int, preference: Any) -> dict[str, Any]:
    row = {"instruction": f"question {number}", "output_1": "four", "output_2": "threes"}
    return {**row, "generator_1": "base", "generator_2": "new", "preference": preference}


def review(number: int, score: list[Any], text: str = "") -> dict[str, Any]:
    return {"question_id": number, "score": score, "text": text}


@pytest.mark.parametrize("reparse", [False, True])
@pytest.mark.parametrize(
    ("name", "figures"),
    [
        ("review_gpt35_vicuna-13b", (638, 693, 92.06, 14, 22, 44)),
        ("review_alpaca-13b_vicuna-13b", (704, 583, 120.75, 76, 1, 3)),
    ],
)
def test_table_2_of_the_vicuna_blog(
    golden: Path, name: str, figures: tuple[float, ...], reparse: bool
) -> None:
    path = golden / f"vicuna/review/{name}.jsonl"
    (line,) = score(Settings("vicuna_80", [path], reparse=reparse))
    shown = ("total_model", "total_baseline", "percent", "wins", "ties", "losses")
    assert tuple(round(line[key], 2) for key in shown) == figures
    assert (line["model"], line["n"], line["unscored"]) == ("vicuna-13b", 80, 0)
    assert line["read_differently"] == 3  # the maths reviews, which have no first line of scores
    parts = line["by_category"]
    assert {name: part["n"] for name, part in parts.items()}["coding"] == 7
    assert sum(part["total_model"] for part in parts.values()) == figures[0]


def test_reparsing_reads_the_words_alone(golden: Path, tmp_path: Path) -> None:
    path = golden / "vicuna/review/review_gpt35_vicuna-13b.jsonl"
    blank = ({**row, "score": [-1, -1]} for row in jsonl.read(path))
    copy = write_rows(tmp_path / path.name, blank)
    (line,) = score(Settings("vicuna_80", [copy]))
    assert (line["n"], line["unscored"], line["percent"]) == (0, 80, None)
    (line,) = score(Settings("vicuna_80", [copy], reparse=True))
    assert (line["total_model"], line["total_baseline"]) == (638, 693)


def golden_cases(golden: Path) -> list[tuple[dict[str, str], Path]]:
    folder = golden / "alpaca_eval"
    with (folder / "expected.csv").open(encoding="utf-8") as file:
        return [
            (row, folder / row["annotator"] / f"{row['model']}.json.gz")
            for row in csv.DictReader(file)
        ]


@pytest.mark.parametrize("shuffled", [False, True])
def test_alpaca_eval_of_published_annotations(
    golden: Path, published_files: Path, tmp_path: Path, shuffled: bool
) -> None:
    for row, path in golden_cases(golden):
        if shuffled:
            rows = published.rows(path)
            path = write_rows(
                tmp_path / "annotations.jsonl", random.Random(0).sample(rows, len(rows))
            )
        suite = "alpaca_eval" if row["annotator"] == "alpaca_eval_gpt4" else "alpaca_eval_2"
        (line,) = score(Settings(suite, [path], lc_C=float(row["lc_C"])))
        exact = 1e-9 if suite == "alpaca_eval" else 1e-6
        assert line["win_rate"] == pytest.approx(float(row["win_rate"]), abs=exact)
        assert line["standard_error"] == pytest.approx(float(row["standard_error"]), abs=exact)
        assert line["discrete_win_rate"] == pytest.approx(float(row["discrete_win_rate"]))
        for key in ("n", "n_wins", "n_wins_base", "n_draws", "avg_length"):
            assert line[key] == int(row[key]), key
        assert line["lc_win_rate"] == pytest.approx(float(row["lc_winrate"]), abs=0.003)
        assert line["lc_C"] == float(row["lc_C"])


def test_alpaca_eval_2_from_the_log_probabilities_alone(golden: Path, tmp_path: Path) -> None:
    for row, path in golden_cases(golden)[1:]:
        blank = [{**one, "preference": None} for one in published.rows(path)]
        copy = write_rows(tmp_path / "annotations.jsonl", blank)
        (line,) = score(Settings("alpaca_eval_2", [copy], reparse=True))
        assert line["win_rate"] == pytest.approx(float(row["win_rate"]), abs=1e-6)
        assert (line["n"], line["n_draws"]) == (805, int(row["n_draws"]))


@pytest.mark.parametrize("raw", ["m", {"logprobs": None}, {"logprobs": {"content": []}}])
def test_no_log_probabilities_are_no_preference(tmp_path: Path, raw: Any) -> None:
    path = write_rows(tmp_path / "a.jsonl", [{**annotation(1, 2), "raw_completion": raw}])
    (line,) = score(Settings("alpaca_eval_2", [path], reparse=True))
    assert (line["n"], line["unscored"], line["win_rate"]) == (0, 1, None)


def test_failures_are_counted_and_are_no_preference(tmp_path: Path) -> None:
    failures = [-1, None, float("nan"), "error"]
    rows = [annotation(n, value) for n, value in enumerate([2, 2, 1, 1.5, *failures])]
    (line,) = score(Settings("alpaca_eval", [write_rows(tmp_path / "a.jsonl", rows)]))
    assert (line["n"], line["unscored"], line["win_rate"]) == (4, 4, 62.5)
    assert (line["n_wins"], line["n_wins_base"], line["n_draws"]) == (2, 1, 1)
    assert (line["lc_win_rate"], line["lc_C"], line["avg_length"]) == (None, None, 6)


def test_each_model_of_a_file_has_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [annotation(1, 2), {**annotation(1, 1), "generator_2": "a"}, annotation(2, 1)]
    path = write_rows(tmp_path / "a.jsonl", rows)
    score(Settings("alpaca_eval_2", [path, path], json=True))
    printed = capsys.readouterr()
    lines = [json.loads(line) for line in printed.out.splitlines()]
    assert [(line["model"], line["win_rate"]) for line in lines] == [("a", 0), ("new", 50)] * 2
    assert "without length control, whose published files are not here" in printed.err


def test_a_bootstrap_stands_beside_the_published_error(golden: Path, published_files: Path) -> None:
    _, path = golden_cases(golden)[0]
    (line,) = score(Settings("alpaca_eval", [path], lc_C=1.0, bootstrap=5))
    assert line["lc_bootstrap_se"] > line["lc_standard_error"] > 0


def test_length_control_that_was_asked_for_needs_its_files(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.jsonl", [annotation(1, 2)])
    with pytest.raises(SettingError, match=r"not all there .*--fetch alpaca_eval_2"):
        score(Settings("alpaca_eval", [path], lc_C=1.0))
    with pytest.raises(SettingError, match=r"not all there .*or set ULTRA_BENCHMARKS_DIR"):
        score(Settings("alpaca_eval", [path], benchmarks_dir=tmp_path))


def test_length_control_finds_what_was_fetched_into_the_cache(golden: Path, tmp_path: Path) -> None:
    _, path = golden_cases(golden)[0]
    files = golden.parent / "benchmarks" / "alpaca_eval"
    shutil.copytree(files, tmp_path / "cache" / "benchmarks" / "alpaca_eval")
    (line,) = score(Settings("alpaca_eval", [path], lc_C=1.0))
    assert line["lc_win_rate"] is not None


def test_mt_bench_grades(tmp_path: Path) -> None:
    rows = [
        {"question_id": id, "model": model, "turn": turn, "score": value, "judgment": text}
        for id, model, turn, value, text in [
            (81, "a", 1, 8, "Rating: [[8]]"),
            (81, "a", 2, 6, "Not [[6]], no.\nRating: [[7]]"),
            (111, "a", 1, -1, "Ten?"),
            (81, "b", 1, 9, "Rating: [[9]]"),
        ]
    ]
    path = write_rows(tmp_path / "gpt-4_single.jsonl", rows)
    best, line = score(Settings("mt_bench", [path]))
    assert (best["model"], best["average"], best["turn_2"]) == ("b", 9, None)
    assert (line["turn_1"], line["turn_2"], line["average"]) == (8, 6, 7)
    assert (line["n"], line["unscored"], line["read_differently"]) == (2, 1, 1)
    assert line["by_category"]["math"] == {
        **{"n": 0, "unscored": 1, "turn_1": None},
        **{"turn_2": None, "average": None},
    }
    _, line = score(Settings("mt_bench", [path], reparse=True))
    assert (line["turn_2"], line["average"]) == (7, 7.5)


def test_mt_bench_comparisons(tmp_path: Path) -> None:
    texts = {"model_1": ("[[A]]", "[[B]]"), "model_2": ("[[B]]", "[[A]]"), "tie": ("[[C]]",) * 2}
    games = [("a", "base", "model_1"), ("base", "b", "model_1"), ("a", "base", "tie")]
    games += [("a", "b", "model_2"), ("a", "base", "error")]
    rows = [
        {
            **{"question_id": 81, "turn": 1, "model_1": one, "model_2": two},
            **{"g1_winner": side, "g2_winner": side},
            **dict(zip(("g1_judgment", "g2_judgment"), texts.get(side, ("", "")), strict=True)),
        }
        for one, two, side in games
    ]
    path = write_rows(tmp_path / "gpt-4_pair.jsonl", rows)
    for reparse in (False, True):
        lines = score(Settings("mt_bench", [path], reparse=reparse, baseline="base"))
        assert [(line["model"], line["adjusted_win_rate"]) for line in lines] == [
            ("a", 75),
            ("b", 0),
        ]
        assert (lines[0]["win"], lines[0]["loss"], lines[0]["tie"]) == (1, 0, 1)
        assert (lines[0]["win_rate"], lines[0]["unscored"]) == (50, 1)
    assert {line["model"] for line in score(Settings("mt_bench", [path]))} == {"a", "b", "base"}


def test_categories_are_those_of_the_published_questions(published_files: Path) -> None:
    for suite, name in (("vicuna_80", "vicuna"), ("mt_bench", "mt_bench")):
        rows = jsonl.read(published_files / name / "question.jsonl")
        published = {str(row["question_id"]): row["category"] for row in rows}
        assert recompute.categories(suite, None) == {"category": published}
    evol = recompute.categories("evol_instruct", None)
    assert len(set(evol["category"].values())) == 29
    assert len(evol["difficulty"]) == 218
    assert len(recompute.categories("ultra_eval", published_files)["category"]) == 385


def test_without_the_published_questions_there_are_no_categories() -> None:
    assert recompute.categories("evol_instruct", None) == {}


def test_skills_and_difficulties_have_lines_of_their_own(
    published_files: Path, tmp_path: Path
) -> None:
    rows = [review(1, [8, 4]), review(2, [5, 10])]
    (line,) = score(Settings("evol_instruct", [write_rows(tmp_path / "r.jsonl", rows)]))
    assert line["by_category"]["Math"]["percent"] is not None
    assert {part["n"] for part in line["by_difficulty"].values()} <= {1, 2}


def test_questions_of_another_digest_are_refused(tmp_path: Path) -> None:
    write_rows(tmp_path / "evol_instruct/WizardLM_testset.jsonl", [{"idx": 1}])
    with pytest.raises(InputError, match=r"WizardLM_testset\.jsonl: is not the published file"):
        recompute.categories("evol_instruct", tmp_path)


def test_a_table_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_rows(tmp_path / "review_base_new.jsonl", [review(1, [8, 9], "8 9")])
    score(Settings("vicuna_80", [path]))
    head, _, row, *rest = capsys.readouterr().out.splitlines()
    assert "percent" in head
    assert "| new     | base       |   1 |" in row
    assert rest == []


@pytest.mark.parametrize(
    ("suite", "rows", "error", "message"),
    [
        ("vicuna80", [review(1, [1, 2])], SettingError, "did you mean 'vicuna_80'"),
        ("mt_bench", [review(1, [1, 2])], InputError, "reviews are no judgments of suite mt_bench"),
        ("vicuna_80", [annotation(1, 2)], InputError, "annotations are no judgments of suite"),
        ("starter", [{"a": 1}], InputError, "its rows are no judgments that are known"),
    ],
)
def test_what_cannot_be_scored_is_one_clear_error(
    tmp_path: Path, suite: str, rows: list[Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        score(Settings(suite, [write_rows(tmp_path / "a.jsonl", rows)]))


def test_preferences_have_no_words_to_read(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.jsonl", [annotation(1, 2)])
    with pytest.raises(SettingError, match="holds no words of the judge"):
        score(Settings("alpaca_eval", [path], reparse=True))


@pytest.mark.parametrize(
    "flags",
    [
        ["--lc-C", "0"],
        ["--lc-C", "-1"],
        ["--bootstrap", "1"],
        ["--lc-data", "none", "--lc-C", "1"],
    ],
)
def test_settings_out_of_range(flags: list[str]) -> None:
    with pytest.raises(SettingError, match=flags[0][2:].replace("-", "_")):
        command.parse(Settings, ["alpaca_eval", "a.json", *flags])


def test_flags_need_no_value() -> None:
    settings = command.parse(Settings, ["vicuna_80", "a.jsonl", "b.jsonl", "--json", "--reparse"])
    assert settings == Settings(
        "vicuna_80", [Path("a.jsonl"), Path("b.jsonl")], json=True, reparse=True
    )
