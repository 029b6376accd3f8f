"""Verdicts are read strictly, or not at all, and no side is preferred."""

import io
import json
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from benchmarks import protocol, verdict
from benchmarks.verdict import PARSERS, Unscored, last_line_choice, token_preference
from ultra.errors import InputError, SettingError

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
        ("Answer A is better. [[A]]", "A"),
        ("**Answer A is better.** Final verdict: **[[A]]**", "A"),
        ("Therefore, my final verdict is:\n\n[[B]]", "B"),
        ('So the verdict is "[[C]]".', "C"),
        ("### Here is my final verdict:\n[[A]]", "A"),
        ("[[B]]\n> [[A]]", "B"),
        ("[[B]]\n```\n[[A]]\n```", "B"),
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
        ("reasons\n> _[[A]]_", "no_verdict"),
        ("reasons\n```\n[[A]]\n```", "no_verdict"),
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
        'It says "I am better. [[A]]"',
        "It says “I am better. [[A]]”",
        "Answer A ends with:\n[[A]]",
        "**Its last line is the following, which it copied:**\n\n[[A]]",
        "Answer B is better. [[A]] is what the other says.",
        "A [[A]]",
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


NOTHING = Unscored("no_verdict")


@pytest.mark.parametrize(
    ("parser", "text", "read"),
    [
        ("last_scores", "(10, 4)", (10.0, 4.0)),
        ("last_scores", "Scores: 11 9", Unscored("out_of_range")),
        ("last_rating", "Fine.\nRating: [[8.5]]", 8.5),
        ("last_rating", "**Rating: [[ 8/10 ]]**", 8.0),
        ("last_rating", "[[0]]", 0.0),
        ("last_rating", "First [[5]], but then\nRating: [[9]]", 9.0),
        ("last_rating", "It is right, if terse. Rating: [[7]]", 7.0),
        ("last_rating", "So I would rate the assistant's response a [[6]].", 6.0),
        ("last_rating", "Rating: [[8]]/10", 8.0),
        ("last_rating", "Rating: [[8]] out of 10.", 8.0),
        ("last_rating", "> Rating: [[10]]", NOTHING),
        ("last_rating", "[[85]]", Unscored("out_of_range")),
        ("last_rating", "[[8]] [[9]]", Unscored("two_verdicts")),
        ("last_rating", "It asks for [[10]].", Unscored("verdict_in_a_sentence")),
        ("last_rating", "[8]", NOTHING),
        # Published parsers, with their faults.
        ("first_line_scores", "9 8.5\n7 7", (9.0, 8.5)),
        ("first_line_scores", "9,8", (9.0, 8.0)),
        ("first_line_scores", "0 0", (0.0, 0.0)),
        ("first_line_scores", "85 90", (85.0, 90.0)),
        ("first_line_scores", "9, 8", NOTHING),
        ("first_line_scores", "(9, 8)", NOTHING),
        ("first_line_scores", "-1 -1", NOTHING),
        ("first_line_scores", "nan inf", NOTHING),
        ("openchat_scores", "Why.\n[8, 9.5]", (8.0, 9.5)),
        ("openchat_scores", "[1990, 2020] ... [8, 9]", (8.0, 9.0)),
        ("openchat_scores", "8 9\nWhy.", (8.0, 9.0)),
        ("openchat_scores", "(8, 9)", NOTHING),
        ("last_two_lines_scores", "Score of 1: 8\nScore of 2: 7.5", (8.0, 7.5)),
        ("last_two_lines_scores", "Score of 1: 8/10\nScore of 2: 7", NOTHING),
        ("last_two_lines_scores", "8", NOTHING),
        ("first_rating", "I would say [[5]]. Rating: [[9]]", 5.0),
        ("first_rating", "As in [3], 8/10", 3.0),
        ("first_rating", "[[8/10]]", NOTHING),
        ("first_rating", f"[[{'9' * 400}]]", NOTHING),
        ("first_choice", "Not [[A]], so [[B]]", "A"),
        ("first_choice", "[[C]]", "C"),
        ("first_choice", "error", NOTHING),
        (
            "ranking_choice",
            "[{'model': 'model_1', 'rank': 2}, {'model': 'model_2', 'rank': 1}]",
            "B",
        ),
        ("ranking_choice", "[{'model': 'model_1', 'rank': 3}]", NOTHING),
        ("ranking_choice", "[{'model': 'model_1', 'rank': [1]}]", NOTHING),
        ("ranking_choice", "__import__('os')", NOTHING),
        ("ranking_choice", "[" * 5_000, NOTHING),
        ("ranking_choice", "\0", NOTHING),
        (
            "last_ranking",
            "[{'model': 'model_1', 'rank': 2}, {'model': 'model_2', 'rank': 1}]",
            "B",
        ),
        (
            "last_ranking",
            '[\n{"model": "model_2", "rank": 2},{"model": "model_1", "rank": 1},]',
            "A",
        ),
        ("last_ranking", "[{'model': 'model_1', 'rank': 1}]", NOTHING),
        (
            "last_ranking",
            "[{'model': 'model_1', 'rank': 1}, {'model': 'model_2', 'rank': 1}]",
            Unscored("contradictory"),
        ),
        ("token_choice", "m", "A"),
        ("token_choice", " M\n", "B"),
        ("token_choice", "Model m", NOTHING),
        ("token_choice", "", Unscored("empty")),
    ],
)
def test_every_parser_reads_what_it_says(parser: str, text: str, read: object) -> None:
    assert PARSERS[parser](text) == read


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize(
    "text",
    [
        "",
        "\0",
        "\ud800",
        "[" * 2**20,
        "9 " * 2**19,
        "{'model': " * 50_000,
        "[[A" * 2**18,
        "1" * 2**20,
    ],
)
def test_no_parser_reads_or_raises_on_rubbish(parser: str, text: str) -> None:
    assert isinstance(PARSERS[parser](text), Unscored)


@pytest.mark.parametrize(
    ("logprobs", "preference"),
    [
        ({"M": -0.1, "m": -0.1}, 0.5),
        ({"M": 0.0, "the": -1.0}, 1.0),
        ({"m": -3.0}, 0.0),
        ({"M": -1.0, "m": -2.0}, 0.7310585786300049),  # 1 / (1 + 1 / e)
        ({"the": -0.1}, NOTHING),
        ({"M": float("-inf")}, NOTHING),
        ({"M": None}, NOTHING),
    ],
)
def test_the_weighted_preference(logprobs: dict[str, Any], preference: object) -> None:
    found = token_preference([{"token": token, "logprob": p} for token, p in logprobs.items()])
    assert found == (pytest.approx(preference) if isinstance(preference, float) else preference)


def run(monkeypatch: pytest.MonkeyPatch, protocol: str, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    verdict.read_lines(verdict.Settings(protocol=protocol))


def test_the_command_reads_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = b'{"text": "9 8"}\n\n{"text": "\\ud800"}\n'
    run(monkeypatch, "last_scores", lines)
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [
        {"verdict": [9.0, 8.0], "reason": ""},
        {"verdict": "unscored", "reason": "no_verdict"},
    ]


def test_a_protocol_names_its_parser(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "pairwise", b'{"text": "[[B]]"}')
    assert json.loads(capsys.readouterr().out) == {"verdict": "B", "reason": ""}


@pytest.mark.parametrize("name", protocol.names())
def test_every_protocol_reads_lines_without_its_published_prompts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    monkeypatch.setenv("ULTRA_BENCHMARKS_DIR", "")
    run(monkeypatch, name, b'{"text": "I cannot tell."}')
    assert json.loads(capsys.readouterr().out) == {"verdict": "unscored", "reason": "no_verdict"}


@pytest.mark.parametrize(
    ("protocol", "data", "error", "message"),
    [
        ("last_score", b"", SettingError, "did you mean 'last_scores'"),
        ("../../secret", b"", SettingError, "unknown"),
        ("pairwise", b'{"text": "a"}\n{', InputError, "stdin:2: not JSON"),
        ("pairwise", b'{"text": null}', InputError, 'stdin:1: expected an object with a "text"'),
    ],
)
def test_what_cannot_be_read_is_one_clear_error(
    monkeypatch: pytest.MonkeyPatch,
    protocol: str,
    data: bytes,
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        run(monkeypatch, protocol, data)
