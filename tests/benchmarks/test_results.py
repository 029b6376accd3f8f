"""Answers are read back, or their file is refused."""

from pathlib import Path

import pytest

from benchmarks import results
from ultra.errors import InputError


@pytest.mark.parametrize(
    "row", ['{"turns": ["a"]}', '{"id": 1, "turns": []}', '{"id": "q"}', '{"id": "q", "turns": ""}']
)
def test_a_row_that_is_no_answer_is_refused(tmp_path: Path, row: str) -> None:
    (tmp_path / "answers.jsonl").write_text('{"id": "p", "turns": ["fine"]}\n' + row)
    with pytest.raises(InputError, match="row 2 is no answer"):
        results.read_answers(tmp_path / "answers.jsonl")


def test_turns_that_are_no_texts_are_refused(tmp_path: Path) -> None:
    (tmp_path / "answers.jsonl").write_text('{"id": "q", "turns": [null]}')
    with pytest.raises(InputError, match="row 1 is no answer: 'turns' must be"):
        results.read_answers(tmp_path / "answers.jsonl")


def test_two_answers_to_one_question_are_refused(tmp_path: Path) -> None:
    (tmp_path / "answers.jsonl").write_text('{"id": "q", "turns": ["a"]}\n' * 2)
    with pytest.raises(InputError, match="row 2 answers 'q' a second time"):
        results.read_answers(tmp_path / "answers.jsonl")


def test_missing_answers_say_how_they_are_made(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no answers there \(make answers"):
        results.read_answers(tmp_path / "answers.jsonl")
