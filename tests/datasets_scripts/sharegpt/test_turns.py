"""From a page's items to messages: roles, eras, and what a person typed."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets_scripts.pipeline import Drop
from datasets_scripts.sharegpt.pages import RawConversation
from datasets_scripts.sharegpt.turns import Era, era, human_text, to_conversation, to_text
from tests.datasets_scripts.helpers import row
from ultra import schema
from ultra.schema import Conversation

ANSWER: dict[Era, str] = {
    "raw": '<div class="markdown prose"><p>a <b>b</b></p></div>',
    "sanitized": "<div><p>a <b>b</b></p></div>",
    "text": "a **b** <b>",
}


def read(*texts: str, **fields: Any) -> Conversation:
    """A page's turns as messages, the person first."""
    items = row("x", *texts)["conversations"]
    result = to_conversation(RawConversation("s", "x", items, **fields))
    assert isinstance(result, Conversation)
    return result


def typed(text: str, kind: Era) -> str:
    """What becomes of a human turn on a page of an era."""
    return to_text(read(text, ANSWER[kind])).messages[0]["content"]


# Human turns

TYPED = [
    "a List<String> of <name>, <b>bold</b> & more",
    "    indented\n\n\n\tby   much  \n",
    "x_1 * y_2 # not a heading\n1. no list\n\\*",
    "<div>\n  <p>hi</p>\n</div>",
    "<script>alert(1)</script><!-- kept -->",
    "1 < 2 && 3 > 2",
    "```\ncode\n```",
]


@pytest.mark.parametrize("text", TYPED)
@pytest.mark.parametrize("kind", ["raw", "text"])
def test_a_human_turn_is_never_read_as_html(text: str, kind: Era) -> None:
    assert typed(text, kind) == text


@pytest.mark.parametrize("text", TYPED)
def test_the_sanitiser_is_undone(text: str) -> None:
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert typed(escaped, "sanitized") == text


@pytest.mark.parametrize("text", ["&lt;b&gt; &amp;amp; &quot;", "&#60; &copy; AT&amp;T"])
def test_entities_that_a_person_typed_stay_on_pages_without_sanitiser(text: str) -> None:
    assert typed(text, "raw") == typed(text, "text") == text


def test_entities_are_undone_once() -> None:
    assert typed("&amp;lt; &amp;amp;", "sanitized") == "&lt; &amp;"


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("2 / 2what is it?", "what is it?"),
        ("1 / 12\nwhat is it?", "what is it?"),
        ("3 / 3    indented", "3 / 3    indented"),
        ("2 / 2<b>", "<b>"),
    ],
)
@pytest.mark.parametrize("kind", ["raw", "sanitized"])
def test_the_counter_of_the_page_is_taken_off(text: str, rest: str, kind: Era) -> None:
    assert human_text(text, kind) == rest


@pytest.mark.parametrize(
    "text",
    [
        "1 / 2 cup of flour",
        "1 / 2 + 3 / 4 = ?",
        "1 / 2",
        "1/2what",
        "100 / 120what",
        "1 / 2000",
        "a 2 / 2what",
        " 2 / 2what",
        "10 / 5? And why?",
        "3 / 2, 5 / 2: as decimals?",
        "12 / 1/2022 was what day?",
        "1 / 1x",
        "0 / 5? Is it defined?",
    ],
)
def test_a_fraction_is_no_counter(text: str) -> None:
    assert human_text(text, "raw") == text


def test_an_answer_keeps_what_looks_like_a_counter() -> None:
    page = read("q", '<div class="markdown"><p>2 / 2what</p></div>')
    assert to_text(page).messages[1]["content"] == "2 / 2what"


# Eras


KINDS: list[Era] = ["raw", "sanitized", "text"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("later", KINDS)
def test_the_era_is_told_by_the_first_answer(kind: Era, later: Era) -> None:
    assert era(read("<div>", ANSWER[kind], "q", ANSWER[later]).messages) == kind
    assert era(read("q", " \n" + ANSWER[kind].replace("div", "DIV"), "q").messages) == kind


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "banner",
    [
        "!Too many requests in 1 hour. Try again later.",
        "Something went wrong. \n\n There was an error generating a response",
        "You\u2019ve reached the current usage cap for GPT-4. Please try again later.",
        "",
        " \n",
    ],
)
def test_an_error_banner_is_no_first_answer(kind: Era, banner: str) -> None:
    assert era(read("q", banner, "q", ANSWER[kind]).messages) == kind
    assert era(read("q", banner).messages) == "text"


def test_a_first_answer_that_names_a_banner_is_one() -> None:
    named = "Network error. That means that the cable is loose."
    assert era(read("q", named, "q", ANSWER["raw"]).messages) == "text"


def test_a_cleaned_dump_keeps_an_answer_that_begins_with_a_tag() -> None:
    page = '<div class="row">\n  <p>a &amp; b</p>\n</div>'
    texts = ["1 &lt; 2", "**yes**, _so_", "an example?", page, "q", "* a\n* b"]
    assert [turn["content"] for turn in to_text(read(*texts)).messages] == texts


@pytest.mark.parametrize("kind", ["raw", "sanitized"])
@pytest.mark.parametrize("text", ["plain *text* &amp; a <b>", "!Too many requests in 1 hour."])
def test_an_answer_in_text_among_others_in_html_stays(kind: Era, text: str) -> None:
    page = to_text(read("q", ANSWER[kind], "q", text, "q", ANSWER[kind]))
    answers = [turn["content"] for turn in page.messages if turn["role"] == "assistant"]
    assert answers == ["a **b**", text, "a **b**"]


def test_a_system_turn_has_no_counter_and_went_through_the_sanitiser_too() -> None:
    items = [{"from": "system", "value": "2 / 3Follow &lt;this&gt;"}]
    cases: list[tuple[Era, str]] = [
        ("sanitized", "2 / 3Follow <this>"),
        ("raw", "2 / 3Follow &lt;this&gt;"),
        ("text", "2 / 3Follow &lt;this&gt;"),
    ]
    for kind, text in cases:
        answer = {"from": "gpt", "value": ANSWER[kind]}
        page = to_conversation(RawConversation("s", "x", [*items, answer]))
        assert isinstance(page, Conversation)
        assert to_text(page).messages[0] == {"role": "system", "content": text}
        assert page.changes == []


def test_each_counter_that_was_taken_off_is_a_change() -> None:
    page = read("2 / 3Why?", ANSWER["raw"], "1 / 2 cup", ANSWER["raw"], "2 / 2So?")
    assert to_text(page).changes == ["counter_removed", "counter_removed"]


def test_answers_become_markdown_and_roles_stay() -> None:
    page = read("q", ANSWER["raw"], "q2", ANSWER["raw"], model="GPT-4", title="t", views=3)
    text = to_text(page)
    assert text.messages == [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "a **b**"},
        {"role": "user", "content": "q2"},
        {"role": "assistant", "content": "a **b**"},
    ]
    assert text.provenance == {
        "source": "s",
        "model": "GPT-4",
        "title": "t",
        "views": 3,
        "language": "",
        "language_confidence": 0.0,
    }


@given(st.lists(st.text().filter(lambda text: not text.lstrip().lower().startswith("<div"))))
def test_a_dump_of_text_comes_out_as_it_went_in(texts: list[str]) -> None:
    given_text = read(*texts)
    assert [turn["content"] for turn in given_text.messages] == texts
    assert to_text(given_text) == given_text


# Roles and ids


@pytest.mark.parametrize(
    ("side", "role"),
    [
        ("human", "user"),
        ("user", "user"),
        ("Human", "user"),
        ("gpt", "assistant"),
        ("GPT", "assistant"),
        ("chatgpt", "assistant"),
        ("assistant", "assistant"),
        ("bing", "assistant"),
        ("bard", "assistant"),
        ("system", "system"),
    ],
)
def test_every_known_side_has_a_role(side: str, role: str) -> None:
    result = to_conversation(RawConversation("s", "x", [{"from": side, "value": "v"}]))
    assert isinstance(result, Conversation)
    assert result.messages == [{"role": role, "content": "v"}]


@pytest.mark.parametrize(
    ("side", "detail"),
    [
        ("moderator", "moderator"),
        ("", ""),
        (None, ""),
        (7, ""),
        (["gpt"], ""),
        ("x" * 100, "x" * 40),
    ],
)
def test_an_unknown_side_drops_the_conversation(side: Any, detail: str) -> None:
    items = [{"from": "human", "value": "v"}, {"from": side, "value": "v"}]
    assert to_conversation(RawConversation("s", "x", items)) == Drop("unknown_role", detail)


@pytest.mark.parametrize(
    "item",
    [
        None,
        "text",
        [],
        {},
        {"from": "gpt"},
        {"from": "gpt", "value": None},
        {"from": "gpt", "value": 1},
        {"from": "gpt", "value": ["text"]},
    ],
)
def test_an_item_without_text_drops_the_conversation(item: Any) -> None:
    items = [{"from": "human", "value": "v"}, item]
    drop = to_conversation(RawConversation("s", "x", items))
    assert drop == Drop("bad_item", "item 2 is no turn with a text")


def test_without_an_id_the_text_gives_one() -> None:
    def id_of(*texts: str) -> str:
        result = to_conversation(RawConversation("s", "", row("", *texts)["conversations"]))
        assert isinstance(result, Conversation)
        return result.id

    assert id_of("q", "r") == id_of("q", "r") != id_of("q", "s")
    assert id_of("q", "r").startswith("text-")


def test_a_page_has_all_columns_of_the_corpus_in_their_order() -> None:
    schema.check(read("q", "r").row(), "sharegpt")
