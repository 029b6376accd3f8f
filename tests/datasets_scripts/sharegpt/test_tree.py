"""Markup made to cost a parser or a reader more than its size: text is kept, structure to a depth.

No test is timed; without the limits in ``tree.py`` these would take minutes or the whole memory, or
the parser is asked for more nodes than the limits allow.
"""

import resource

import pytest

from datasets_scripts.sharegpt.markdown import to_markdown
from datasets_scripts.sharegpt.tree import parsed

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


def depth(page: str) -> int:
    """Levels of the deepest element."""
    with parsed(page) as top:
        deepest, nodes = 0, [(node, 1) for node in top]
        while nodes:
            node, level = nodes.pop()
            deepest = max(deepest, level)
            nodes += [(child, level + 1) for child in node.iter(include_text=False)]
    return deepest


@pytest.mark.parametrize(
    "tags",
    [
        *("<b></i>", "<i></b>", "<div></span>", "<span></div>", "<svg></b>", "<math></x-y>"),
        *(
            "<x-y></p>",
            "<li><dd>",
            "<svg><path>",
            "<svg><td>",
            "<math><tr></b>",
            "<section></div></h1>",
        ),
    ],
)
def test_an_end_tag_of_another_name_closes_nothing(tags: str) -> None:
    assert depth(tags * 2_000 + "x") <= 700


def test_a_tag_name_is_read_once() -> None:
    assert to_markdown("x" + ("<" + "a" * 4_990) * 400) == "x"


@pytest.mark.parametrize("tag", ["p", "/p", "b", "svg"])
@pytest.mark.parametrize("attribute", ["a{}<", 'a{}="<>"', "'a{}", '"a{}', "a{}=b", "/a{}"])
def test_no_tag_keeps_more_attributes_than_it_may(tag: str, attribute: str) -> None:
    many = " ".join(map(attribute.format, range(60_000)))
    with parsed(f"<{tag} {many}>text") as nodes:
        assert all(len(node.attributes) <= 201 for node in nodes)


def test_few_tags_with_many_marks_open_are_bounded_too() -> None:
    marks = "".join(f"<b class=c{number}>" for number in range(300))
    page = f"<p>{marks}" + "<li><input type=checkbox>a" * 2_000
    with parsed(page) as nodes:
        assert sum(len(node.css("b")) for node in nodes) == 0
    assert to_markdown(page).count("a") == 2_000


def test_marks_without_text_do_not_look_at_all_that_is_beside_them() -> None:
    assert to_markdown("<p>" + "<b><img src=x></b>" * 50_000).count("![](x)") == 50_000


def test_the_empty_answer_is_empty() -> None:
    assert to_markdown("") == ""


def test_turns_that_share_a_document_are_apart() -> None:
    one, two = "<p>one <b>open</p>", "<div>two</i> <table><tr><td>cell"
    apart = [to_markdown(one), to_markdown(two)]
    with parsed(one) as outer, parsed(two) as inner:
        assert [node.text() for node in outer] == ["one open"]
        assert inner[0].text() == "two cell"
    assert [to_markdown(one), to_markdown(two)] * 500 == apart * 500
    assert [to_markdown(one), to_markdown(two)] == apart


def test_memory_of_many_turns_is_that_of_one() -> None:
    turn = "<p>some text</p>" * 200
    for _ in range(50):
        to_markdown(turn)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(5_000):
        to_markdown(turn)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 8_000  # KiB; all: 100 MB
