"""Markup made to cost a parser or a reader more than its size: text is kept, structure to a depth.

No test is timed; without the limits in ``tree.py`` these would take minutes or the whole memory.
"""

import pytest

from datasets_scripts.sharegpt.markdown import to_markdown

LEVELS = 100_000


@pytest.mark.parametrize(
    "tag",
    [
        *("div", "ul><li", "ol><li", "blockquote", "table><tr><td", "dl><dd", "pre", "section"),
        *("span", "strong", "b", "em", "sub", "a href=x", "p", "b><p", "span class=katex"),
    ],
)
def test_nesting_without_end_keeps_the_text(tag: str) -> None:
    assert to_markdown(f"<{tag}>" * LEVELS + "innermost").count("innermost") == 1


def test_no_tag_of_a_picture_is_taken_for_an_open_element() -> None:
    picture = "<svg><path d='M0 0'/><rect x='1'/></svg>"
    assert to_markdown(f"{picture * 3_000}<ul><li>a<ul><li>b</li></ul></li></ul>") == "- a\n  - b"


@pytest.mark.parametrize("levels", [1, 10, 100])
def test_a_hundred_levels_are_exact(levels: int) -> None:
    def nested(start: str, end: str) -> str:
        inner = "<p>a <b>c</b></p><pre><code>d\n\n  e\n</code></pre>"
        return f"<div>{start * levels}{inner}{end * levels}</div>"

    def below(first: str, indent: str) -> str:
        code = "\n".join(f"{indent}{line}".rstrip() for line in ["", "```", "d", "", "  e", "```"])
        return f"{first}a **c**\n{code}"

    assert to_markdown(nested("<ul><li>", "</li></ul>")) == below("- " * levels, "  " * levels)
    assert to_markdown(nested("<ol><li>", "</li></ol>")) == below("1. " * levels, "   " * levels)
    quotes = to_markdown(nested("<blockquote>", "</blockquote>"))
    assert quotes == below("> " * levels, "> " * levels)
    assert to_markdown(nested("<div>", "</div>")) == below("", "")


LONG = 100_000


@pytest.mark.parametrize(
    "text", ["*", "_", "`", "[", "]", "~", "\\", "&lt;", "&amp;", " ", "\n", "-"]
)
@pytest.mark.parametrize(
    "place", ["<p>x{}x", "<p><b>x{}x</b>", "<p>x<code>x{}x</code>", "<h2>x{}x"]
)
def test_a_long_run_of_one_character_is_survived(text: str, place: str) -> None:
    assert "x" in to_markdown(place.format(text * (LONG // len(text))))


@pytest.mark.parametrize(
    ("page", "rows"),
    [
        ("<ul>" + "<li>a" * 50_000, 50_000),
        ("<ul><li><ol start=7><li>x<pre><code>a\na\n</code></pre></li>" * 10_000, 20_000),
        ("<table>" + "<tr><td>a" * 50_000, 50_000),
        ("<table><tr>" + "<td>a" * 50_000 + "<tr><td>b" * 50_000, 50_000),
        ("<p>" + "a<br>" * 200_000, 200_000),
        ("<br>" * 200_000 + "a", 1),
        ("<blockquote>" * 100 + "<p>a" * 50_000, 50_000),
    ],
)
def test_many_of_a_kind_keep_each(page: str, rows: int) -> None:
    assert to_markdown(page).count("a") == rows


@pytest.mark.parametrize("values", ["", "=1", "='>'"])
def test_a_tag_of_many_attributes_keeps_its_text(values: str) -> None:
    attributes = " ".join(f"a{number}{values}" for number in range(60_000))
    assert to_markdown(f"<p {attributes}>text</p>") == "text"


def test_marks_left_open_are_not_repeated_without_end() -> None:
    marks = "".join(f"<b class=c{number}>" for number in range(300))
    assert to_markdown(f"<p>{marks}</p>" + "<p>x" * 100_000).count("x") == 100_000


def test_the_empty_answer_is_empty() -> None:
    assert to_markdown("") == ""
