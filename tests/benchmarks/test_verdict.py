"""Verdicts are read strictly, or not at all, and no side is preferred."""

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from benchmarks.verdict import Unscored, last_line_choice

SWAP = str.maketrans("AB", "BA")


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("[[A]]", "A"),
        ("[[B]]", "B"),
        ("[[C]]", "C"),
        ("A is clearer.\n\n[[A]]", "A"),
        ("reasons\n[[B]]\n", "B"),
        ("reasons\r\n[[B]]\r\n \t\r\n\n", "B"),
        ("reasons\n  **[[C]]**  ", "C"),
        ("[[B]]\nI thought so, but no.\n[[A]]", "A"),
        ('Answer B says "[[B]]" four times: [[B]] [[B]]\n[[B]]\n[[A]]', "A"),
        ("[[A]] and [[B]] are both possible.\n[[C]]", "C"),
        ("[[C]]" * 3, "C"),
        ("\0[[A]]\0", "A"),
        ("x" * 2**20 + "\n[[B]]", "B"),
        ("[[A]]\n" * 2**18 + "[[B]]", "B"),
        ("漢字 👋\n[[A]]", "A"),
        ("reasons\nFinal verdict: [[A]]", "A"),
        ("reasons\n**Final Verdict:** [[B]]", "B"),
        ("reasons\n**My final verdict is: [[C]].**", "C"),
        ("reasons\n### Verdict: `[[B]]`", "B"),
        ("reasons\n> _[[A]]_", "A"),
    ],
)
def test_the_verdict_of_the_last_line_counts(text: str, choice: str) -> None:
    assert last_line_choice(text) == choice


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        (" \n\t\r\n\u2003", "empty"),
        ("\n" * 2**20, "empty"),
        ("Answer A is better.", "no_verdict"),
        ("[[A]]\nThat was my verdict.", "no_verdict"),
        ("[[A]]\n\n.", "no_verdict"),
        ("[[A]]\n\0", "no_verdict"),
        ("[[A]]\u2028ends", "no_verdict"),
        ("[[a]]", "no_verdict"),
        ("[[ A ]]", "no_verdict"),
        ("[A]", "no_verdict"),
        ("[[A]", "no_verdict"),
        ("[A]]", "no_verdict"),
        ("[ [A] ]", "no_verdict"),
        ("[[AB]]", "no_verdict"),
        ("[[A|B]]", "no_verdict"),
        ("[[D]]", "no_verdict"),
        ("[[]]", "no_verdict"),
        ("[[А]]", "no_verdict"),  # noqa: RUF001 (a Cyrillic letter)
        ("[[Ａ]]", "no_verdict"),  # noqa: RUF001 (a full-width letter)
        ("［［A］］", "no_verdict"),  # noqa: RUF001 (full-width brackets)
        ("[[A\u200b]]", "no_verdict"),
        ("[[\0A]]", "no_verdict"),
        ("[\n[A]]", "no_verdict"),
        ("[[A\n]]", "no_verdict"),
        ("&#91;&#91;A&#93;&#93;", "no_verdict"),
        ("{{A}}", "no_verdict"),
        ("((A))", "no_verdict"),
        ("[[rating: A]]", "no_verdict"),
        ("[[5]]", "no_verdict"),
        ('{"winner": "A"}', "no_verdict"),
        ("[" * 2**20, "no_verdict"),
        ("[[" * 2**19 + "A", "no_verdict"),
        ("[[A]] or [[B]]", "two_verdicts"),
        ("[[A]][[C]]", "two_verdicts"),
        ("[[A]]\n[[B]] [[A]]", "two_verdicts"),
        ("[[A]] " * 2**17 + "[[B]]", "two_verdicts"),
        ("[[A[[B]]]] [[C]]", "two_verdicts"),
    ],
)
def test_what_is_no_single_verdict_is_unscored(text: str, reason: str) -> None:
    assert last_line_choice(text) == Unscored(reason)


@pytest.mark.parametrize(
    "line",
    [
        'Answer A ends with "[[A]]", which tries to steer me; I cannot decide.',
        "I would not say [[A]].",
        "Not [[A]]",
        "[[A]] is better.",
        "It is not my final verdict: [[B]]",
        "Final verdict: not [[C]]",
        "Final verdict: [[A]] (unless B was meant)",
        "Answer A: [[B]]",
        "[[A]] 漢字",
        "1. [[A]]",
        "reasons [[A]]",
    ],
)
def test_a_verdict_that_is_talked_about_is_none(line: str) -> None:
    assert last_line_choice(f"reasons\n{line}") == Unscored("verdict_in_a_sentence")


def test_a_line_of_dots_is_read_at_once() -> None:
    # A pattern that goes back over the dots would not come to an end in anybody's lifetime.
    assert last_line_choice("." * 100_000 + "[[A]]") == "A"
    assert last_line_choice("." * 100_000 + "[[A]] or") == Unscored("verdict_in_a_sentence")


PIECES = st.sampled_from(["[[A]]", "[[B]]", "[[C]]", "[[", "]]", "A", "B", "C", " ", "\n", "so"])


@given(st.lists(PIECES).map("".join) | st.text("[]ABC \n"))
@hypothesis_settings(deadline=None, database=None)
def test_swapping_the_sides_in_the_text_swaps_the_verdict(text: str) -> None:
    choice = last_line_choice(text)
    swapped = last_line_choice(text.translate(SWAP))
    assert swapped == (choice if isinstance(choice, Unscored) else choice.translate(SWAP))
