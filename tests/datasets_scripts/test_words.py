"""Words: what makes no difference between two texts, and what does."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets_scripts.words import words


def text_of(text: str) -> str:
    return b" ".join(words(text)).decode()


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("Red Herring", "red   HERRING!"),
        ("caf\u00e9", "cafe\u0301"),  # composed, decomposed
        ("STRASSE", "straße"),
        ("the \u201cold\u201d mill \u2014 burnt", 'the "old" mill - burnt'),
        ("soft\u00adhyphen", "softhyphen"),
        ("x\u200by", "xy"),
        ("snake_case", "snake case"),
        ("\ud800 half a pair", "half a pair"),
        ("nul\0between", "nul between"),
    ],
)
def test_looks_make_no_difference(one: str, two: str) -> None:
    assert words(one) == words(two)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("don't stop", "don t stop"),
        ("1,000 km/h", "1 000 km h"),
        ("हिन्दी में", "हिन्दी में"),  # marks stay inside words
        ("Привет, мир", "привет мир"),
        ("用Python写", "用 python 写"),
        ("ไทย", "ไ ท ย"),
        ("かな。", "か な"),
        ("한국어 말", "한국어 말"),
        ("?!… 🙂", ""),
    ],
)
def test_a_word_is_a_run_of_letters_or_one_character_of_a_script_without_blanks(
    text: str, expected: str
) -> None:
    assert unicodedata.normalize("NFC", text_of(text)) == expected


@given(st.text(alphabet=st.characters(max_codepoint=0x7F)))
def test_ascii_is_split_at_all_but_letters_and_digits(text: str) -> None:
    assert text_of(text) == " ".join(re.findall("[a-z0-9]+", text.lower()))


@given(st.text(st.characters()))
def test_no_text_is_too_strange_and_words_of_words_are_the_same(text: str) -> None:
    once = text_of(text)
    assert text_of(once) == once


def test_piled_up_marks_are_one_word() -> None:
    assert len(words("a" + "\u0301\u0316" * 50_000)) == 1
