"""Published files are read whole, and what failed upstream is never a score."""

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import published, reread
from benchmarks.published import Annotation, Game, Grade, Review
from ultra.errors import InputError

ANNOTATION = {
    "instruction": "How hot?",
    "output_1": "Hot.",
    "output_2": "Very hot.",
    "generator_1": "base",
    "generator_2": "new",
    "preference": 2,
}
REVIEW: dict[str, Any] = {"question_id": 7, "text": "9 8\nwhy", "score": [9, 8]}
GRADE = {"question_id": 81, "model": "new", "turn": 1, "score": 7, "judgment": "Rating: [[7]]"}
GAME = {
    "question_id": 81,
    "model_1": "new",
    "model_2": "base",
    "g1_winner": "model_1",
    "g2_winner": "tie",
    "g1_judgment": "[[A]]",
    "g2_judgment": "[[C]]",
    "turn": 2,
}
HERE = Path("judgments.jsonl")


@pytest.mark.parametrize("name", ["a.json", "a.json.gz", "a.jsonl", "a.jsonl.gz"])
def test_arrays_and_lines_plain_or_packed(tmp_path: Path, name: str) -> None:
    rows = [{"n": 1}, {"n": 2}]
    text = json.dumps(rows) if ".jsonl" not in name else "".join(f"{json.dumps(r)}\n" for r in rows)
    data = text.encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    assert published.rows(tmp_path / name) == rows


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "holds no rows"),
        (b"[]", "holds no rows"),
        (b"[1]", "row 1 is no object"),
        (b"{}\n[]\n", "row 2 is no object"),
        (b'{"a": 1}\n{"a": \n', ":2: not JSON"),
        (b"[{", "not JSON"),
        (b"[" * 200_000, "not JSON"),
        (gzip.compress(b"[{}]")[:-4], "breaks off"),
    ],
)
def test_a_broken_file_is_one_clear_error(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "a.json").write_bytes(data)
    with pytest.raises(InputError, match=message) as error:
        published.rows(tmp_path / "a.json")
    assert "a.json" in str(error.value)


def test_a_missing_file_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.json: cannot be read"):
        published.rows(tmp_path / "none.json")


def test_what_pandas_and_judges_write_into_json(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'[{"preference": NaN, "text": "\\ud83d"}]')
    (row,) = published.rows(tmp_path / "a.json")
    assert row["preference"] != row["preference"]
    assert row["text"] == "\ud83d"


@pytest.mark.parametrize(
    ("row", "form"),
    [
        (ANNOTATION, "annotations"),
        (REVIEW, "reviews"),
        (GRADE, "grades"),
        (GAME, "games"),
        ({"question_id": 1, "text": "q", "score": {"raw_a": [], "raw_b": []}}, "openchat"),
        ({"suite": "s", "verdict": "tie", "order": "model_first"}, "own"),
    ],
)
def test_a_form_is_known_by_its_keys(row: dict[str, Any], form: str) -> None:
    assert published.form(HERE, row) == form


def test_an_unknown_form_is_one_clear_error() -> None:
    with pytest.raises(InputError, match=r"judgments\.jsonl: its rows are no judgments"):
        published.form(HERE, {"prompt": "a"})


@pytest.mark.parametrize(
    ("upstream", "preference"),
    [(1, 0.0), (2, 1.0), (1.5, 0.5), (1.25, 0.25), (0, 0.5), (0.0, 0.5)]
    + [
        (wrong, None)
        for wrong in (-1, 3, 0.5, None, float("nan"), float("inf"), "error", "2", True)
    ],
)
def test_only_a_preference_is_a_preference(upstream: Any, preference: float | None) -> None:
    (row,) = published.annotations(HERE, [{**ANNOTATION, "preference": upstream}])
    assert row == Annotation("How hot?", "new", "base", preference, 9, 4)


def test_an_instruction_is_judged_once() -> None:
    with pytest.raises(InputError, match="row 3 judges new"):
        published.annotations(HERE, [ANNOTATION, {**ANNOTATION, "generator_2": "b"}, ANNOTATION])


@pytest.mark.parametrize(
    ("upstream", "scores"),
    [
        ([9, 8.5], (8.5, 9.0)),
        ([0, 0], (0.0, 0.0)),
        ([-1, -1], None),
        ([9, -1], None),
        ([None, 8], None),
        (["9", "8"], None),
        ([float("nan"), 8], None),
    ],
)
def test_reviews_name_the_model_second(upstream: Any, scores: Any) -> None:
    (review,) = published.reviews(HERE, [{**REVIEW, "score": upstream}])
    assert review == Review("7", "", scores, "9 8\nwhy", False, "first_line_scores")


def test_openchat_asked_in_both_orders_and_wrote_zeros_for_failures() -> None:
    row = {"question_id": 1, "category": "math"}
    row["score"] = {"raw_a": [[8, 6], "[8, 6]"], "raw_b": [[0, 0], "[6, 9]"]}
    one, two = published.openchat(HERE, [row])
    assert (one.scores, one.category) == ((8.0, 6.0), "math")
    assert two.scores is None
    assert reread.review(one).scores == (8.0, 6.0)
    assert reread.review(two).scores == (9.0, 6.0)  # the baseline's answer was shown first


@pytest.mark.parametrize(("upstream", "score"), [(7, 7.0), (0, 0.0), (-1, None), ("error", None)])
def test_grades(upstream: Any, score: float | None) -> None:
    (grade,) = published.grades(HERE, [{**GRADE, "score": upstream}])
    assert grade == Grade("new", "81", 1, score, "Rating: [[7]]")
    assert reread.grade(grade).score == 7.0


def test_games() -> None:
    one, two = published.games(HERE, [GAME, {**GAME, "g2_winner": "error"}])
    assert one == Game("new", "base", "81", 2, ("model_1", "tie"), ("[[A]]", "[[C]]"))
    assert two.winners == ("model_1", None)
    swapped = {**GAME, "g1_judgment": "[[B]]", "g2_judgment": "[[B]]"}
    (game,) = published.games(HERE, [swapped])
    assert reread.game(game).winners == ("model_2", "model_1")


@pytest.mark.parametrize(
    ("read", "row"),
    [
        (published.annotations, {**ANNOTATION, "output_2": None}),
        (published.reviews, {**REVIEW, "score": 9}),
        (published.openchat, {"score": {"raw_a": [8, 9]}}),
        (published.grades, {**GRADE, "turn": 3}),
        (published.games, {**GAME, "model_2": "new"}),
    ],
)
def test_a_row_that_is_none_is_named(read: Any, row: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"judgments\.jsonl: row 1 is no"):
        read(HERE, [row])


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("review_alpaca-13b_vicuna-13b.jsonl", ("alpaca-13b", "vicuna-13b")),
        ("openchat_v1_VS_gpt-3.5-turbo.jsonl.gz", ("gpt-3.5-turbo", "openchat_v1")),
        ("mine.jsonl", ("", "mine")),
    ],
)
def test_models_of_reviews_are_in_the_name_of_the_file(name: str, names: tuple[str, str]) -> None:
    assert published.names(Path("somewhere", name)) == names


def test_readings_that_differ_are_counted() -> None:
    texts = ["9 8", "(9, 8)", "nothing", "9 8\n\nFinal scores: 7 7"]
    pairs = iter([(text, "first_line_scores", "last_scores") for text in texts])
    assert reread.read_differently(pairs) == 2


def test_the_seeded_swap_is_upstreams(golden: Path) -> None:
    folder = golden.parent / "benchmarks/alpaca_eval"
    rows = json.loads((folder / "alpaca_eval_gpt4_baseline.json").read_bytes())
    with (folder / "switch_seed0.csv").open(encoding="utf-8") as file:
        expected = [row["is_switched"] == "1" for row in csv.DictReader(file)]
    assert len(expected) == 805
    assert [published.is_switched(row["instruction"]) for row in rows] == expected
