import hashlib
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ultra import prompts
from ultra.errors import InputError, SettingError
from ultra.prompts import Prompt


@settings(deadline=None)
@given(st.text(), st.text())
def test_values_go_in_as_they_are(question: str, answer: str) -> None:
    filled = Prompt("p", "Q: {question} A: {answer}").fill({"question": question, "answer": answer})
    assert filled == f"Q: {question} A: {answer}"


def test_braces_and_backslashes_in_a_value_stay_text() -> None:
    filled = Prompt("p", "{a}{b}").fill({"a": r"{b} {c} {} {{x}} \1 \g<0>", "b": "B"})
    assert filled == r"{b} {c} {} {{x}} \1 \g<0>B"


def test_only_lower_case_names_are_slots() -> None:
    text = 'Write {"key": 1}, {Name}, {} and {{double}}: {topic_2}'
    assert Prompt("p", text).slots == {"double", "topic_2"}


@pytest.mark.parametrize("slots", [{}, {"a": "1"}, {"a": "1", "b": "2", "c": "3"}])
def test_slots_and_values_must_match(slots: dict[str, str]) -> None:
    odd = ", ".join(sorted({"a", "b"} ^ set(slots)))
    with pytest.raises(SettingError, match=rf"greet\.md.*: {re.escape(odd)}$"):
        Prompt("greet.md", "{a} {b}").fill(slots)


def test_loading_strips_the_ends_and_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "ask.md").write_text("\n Say é {word}. \n\n", encoding="utf-8")
    prompt = prompts.load(tmp_path / "ask.md")
    assert prompt == Prompt("ask.md", "Say é {word}.")
    assert prompt.digest == hashlib.sha256("Say é {word}.".encode()).hexdigest()


def test_a_missing_or_foreign_file_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "latin.md").write_bytes("Größe".encode("latin-1"))
    for name in ("gone.md", "latin.md"):
        with pytest.raises(InputError, match=name):
            prompts.load(tmp_path / name)
