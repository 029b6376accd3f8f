"""HTML of an answer to Markdown: read back, it must say and show what the page did."""

import html
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from selectolax.lexbor import LexborHTMLParser

from datasets_scripts.sharegpt.markdown import MAX_DEPTH, to_markdown
from tests.conftest import SHARED

READER = MarkdownIt("commonmark", {"maxNesting": 10_000}).enable(["table", "strikethrough"])


def read_back(markdown: str) -> str:
    """The text that a reader of the Markdown sees, blanks evened out."""
    body = LexborHTMLParser(READER.render(markdown)).body
    return " ".join(body.text().split()) if body is not None else ""


def fences(markdown: str) -> list[tuple[str, str]]:
    """Language and code of each fenced block."""
    return [
        (token.info, token.content) for token in READER.parse(markdown) if token.type == "fence"
    ]


CASES_FILE = SHARED / "golden" / "sharegpt" / "html_md_cases.jsonl"
CASES = (
    [json.loads(line) for line in CASES_FILE.read_bytes().splitlines()]
    if CASES_FILE.exists()
    else []
)


@pytest.mark.parametrize("case", [pytest.param(case, id=case["name"]) for case in CASES])
def test_published_cases(case: dict[str, str]) -> None:
    assert to_markdown(case["html"]) == case["expected"], case["why"]


# Code

CODES = [
    "x = 1\n",
    "def f():\n    pass\n\n\n\n\tdef g():\n        return `f`\n",
    "```python\ninner\n```\n",
    "````\n~~~\n",
    "a_b *c* <d> &amp; [e](f) \\n $5 # | \\|\n",
    "    indented first line\nand not\n",
    "\n\nafter empty lines\n\n",
    "# no heading\n1. no list\n- no list\n> no quote\n---\n===\n",
    "\u00a0\u2003wide \u200b blanks\u2028\n",
    "no line end",
]
TRAILING = "blanks at the end  \n   \n\t\nof lines \n"
PLACES = {
    "alone": "{}",
    "between": "<p>before</p>{}<p>after</p>",
    "in a list": "<ul><li>before{}after</li></ul>",
    "in a long list": '<ol start="99"><li><p>a</p></li><li><p>b</p>{}</li></ol>',
    "in a nested list": "<ul><li>a<ol><li>b{}</li></ol></li></ul>",
    "in a quote": "<blockquote><p>a</p>{}</blockquote>",
    "in a quote in a list": "<ol><li>a<blockquote>{}</blockquote></li></ol>",
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("code", CODES)
def test_code_is_exact_wherever_it_stands(code: str, place: str) -> None:
    block = f"<pre><code>{html.escape(code)}</code></pre>"
    wanted = code if code.endswith("\n") else code + "\n"
    assert fences(to_markdown(PLACES[place].format(block))) == [("", wanted)]


@pytest.mark.parametrize("place", PLACES)
def test_blanks_at_the_end_of_code_lines_stay(place: str) -> None:
    block = f"<pre><code>{TRAILING}</code></pre>"
    assert fences(to_markdown(PLACES[place].format(block))) == [("", TRAILING)]


BAR = "<div><div><span>{}</span><button><svg></svg>Copy code</button></div><div>{}</div></div>"


@pytest.mark.parametrize(
    ("block", "language"),
    [
        ('<code class="!whitespace-pre hljs language-c++">x\n</code>', "c++"),
        (BAR.format("python", '<code class="hljs language-python">x\n</code>'), "python"),
        (BAR.format("Python", "<code>x\n</code>"), "python"),
        (BAR.format("two words", "<code>x\n</code>"), ""),
        (BAR.format("", "<code>x\n</code>"), ""),
        ("<div><div>Copy code</div><div><code>x\n</code></div></div>", ""),
        ("<code><span>x</span>\n</code>", ""),
        ("x\n", ""),
    ],
)
def test_the_language_is_read_and_the_bar_above_is_not(block: str, language: str) -> None:
    assert to_markdown(f"<pre>{block}</pre>") == f"```{language}\nx\n```"


@pytest.mark.parametrize(
    "code", ["x", "`", "``", "a`b", "`a", "a``b`c", " ", " a", "<b>", "*x*", "a|b", "\\", "\\`"]
)
def test_inline_code_is_exact(code: str) -> None:
    markdown = to_markdown(f"<p>before <code>{html.escape(code)}</code> after</p>")
    (found,) = [
        child.content
        for token in READER.parse(markdown)
        for child in token.children or []
        if child.type == "code_inline"
    ]
    assert found == code


# Blocks


@pytest.mark.parametrize(
    ("page", "markdown"),
    [
        ("<h2>a\nb</h2><p>c</p>", "## a b\n\nc"),
        ("loose<p>one</p>loose", "loose\n\none\n\nloose"),
        ("<p>a</p><hr><p>b</p>", "a\n\n---\n\nb"),
        ("<p>a<br>b</p>", "a  \nb"),
        ("<ul><li>a</li><li>b</li></ul>", "- a\n- b"),
        ("<ul><li><p>a</p></li><li><p>b</p></li></ul>", "- a\n\n- b"),
        ('<ol start="7"><li>a</li><li>b</li></ol>', "7. a\n8. b"),
        ('<ol start="-1"><li>a</li></ol>', "1. a"),
        ("<ol><li>a<ul><li>b</li></ul></li><li>c</li></ol>", "1. a\n   - b\n2. c"),
        ("<ul><li></li><li>b</li></ul>", "-\n- b"),
        ("<ul><li>a</li></ul><ul><li>b</li></ul>", "- a\n\n* b"),
        ("<ol><li>a</li></ol><ol><li>b</li></ol>", "1. a\n\n1) b"),
        ("<ul><li><input type=checkbox checked> a</li></ul>", "- [x] a"),
        ("<ul><li><p><input type=checkbox> a</p></li></ul>", "- [ ] a"),
        (
            "<ul><li>a<ul><li><input type=checkbox checked> b</li></ul></li></ul>",
            "- a\n  - [x] b",
        ),
        ("<blockquote><p>a</p><p>b</p></blockquote>", "> a\n>\n> b"),
        (
            "<table><thead><tr><th align=right>a</th><th>b</th></tr></thead>"
            "<tbody><tr><td>1|2</td></tr></tbody></table>",
            "| a | b |\n| ---: | --- |\n| 1\\|2 |  |",
        ),
        ("<table><tr><td>a<br>b</td></tr></table>", "| a<br>b |\n| --- |"),
        ("<table></table><p>a</p>", "a"),
        ("<p>H<sub>2</sub>O <kbd>x</kbd></p>", "H<sub>2</sub>O <kbd>x</kbd>"),
        ('<p><a href="/a b(c)">d</a></p>', "[d](</a b(c)>)"),
        ("<p><a>d</a></p>", "d"),
        ("<p><strong> a </strong>b</p>", "**a** b"),
        ("<p><b><i>a</i></b></p>", "***a***"),
        ("<p><strong></strong>a</p>", "a"),
        ("", ""),
    ],
)
def test_blocks_and_marks(page: str, markdown: str) -> None:
    assert to_markdown(page) == markdown


@pytest.mark.parametrize(
    "page",
    [
        "<button>zz</button>",
        "<svg><title>zz</title><text>zz</text></svg>",
        "<script>zz</script>",
        "<style>zz</style>",
        "<!-- zz -->",
        "<template>zz</template>",
    ],
)
def test_what_a_reader_of_the_page_does_not_see_is_left_out(page: str) -> None:
    assert to_markdown(f"<p>a {page} b</p>{page}") == "a b"


@pytest.mark.parametrize("start", ["\u00b2", "\u0663", "9" * 12, "x", "1.5", ""])
def test_any_start_of_a_list_is_survived(start: str) -> None:
    assert to_markdown(f'<ol start="{start}"><li>a</li></ol>').endswith(". a")


# Text stays text


PLAIN = [
    "* a",
    "*",
    "** a **",
    "a*b*c",
    "_a_ and a_b_c",
    "# a",
    "#",
    "> a",
    "- a",
    "+ a",
    "-",
    "---",
    "===",
    "- - -",
    "***",
    "___",
    "1. a",
    "1) a",
    "12345. a",
    "`a` and ``",
    "```",
    "~~~",
    "~~a~~",
    "<b>a</b>",
    "<!-- a -->",
    "<http://a.b>",
    "&amp; &lt; &#65; &copy;",
    "[a](b) ![a](b) [a][b]",
    "[a]: b",
    "\\* \\\\ \\a \\",
    "| a | b |",
    "1 * 2 * 3 < 4 & 5 > 2",
    "\\`a`",
    "_ _ _",
    "~~~a~~~",
    "a [b[c]](d)",
]


@pytest.mark.parametrize("text", PLAIN)
@pytest.mark.parametrize("place", ["<p>{}</p>", "<p>a<br>{}</p>", "<ul><li>{}</li></ul>"])
def test_text_that_looks_like_markup_stays_text(text: str, place: str) -> None:
    page = place.format(html.escape(text))
    before = "a " if "<br>" in place else ""
    assert read_back(to_markdown(page)) == before + text


AWKWARD_PLACES = [
    ("<pre>a <code>b</code> c</pre>", "a b c"),
    ("<pre><code>a</code> <code>b</code></pre>", "a b"),
    ("<table><caption>a</caption><tr><td>b</td></tr></table>", "a b"),
    ("<table><tr><td>a<table><tr><td>b</td></tr></table></td></tr></table>", "a b"),
    ("<ul><li>a</li><ul><li>b</li></ul><li>c</li></ul>", "a b c"),
    ("<h2>C #</h2>", "C #"),
    ("<p>a<br>=</p>", "a ="),
    ("<p>a\\\nb</p>", "a\\ b"),
    ("<p>a | b<br>--- | ---</p>", "a | b --- | ---"),
    ("<p>\\<b>a</b></p>", "\\a"),
    ("<p>\\<code>a</code></p>", "\\a"),
    ("<p>!<a href='u'>a</a></p>", "!a"),
    ("<p><a href='u'>a]b</a></p>", "a]b"),
    ("<p><b>a</b><b>b</b></p>", "ab"),
    ("<p><em>a</em><em>b</em></p>", "ab"),
    ("<p><code>a</code><code>b</code></p>", "ab"),
    ("<p><code>a\n# b</code></p>", "a # b"),
]


@pytest.mark.parametrize(("page", "text"), AWKWARD_PLACES)
def test_text_comes_back_from_awkward_places(page: str, text: str) -> None:
    assert read_back(to_markdown(page)) == text


@given(st.text(alphabet="ab1 *_`\\<>&#;.()!-+|", max_size=20))
def test_any_text_comes_back(text: str) -> None:
    markdown = to_markdown(f"<p>x {html.escape(text)} y</p>")
    assert read_back(markdown) == " ".join(f"x {text} y".split())


# Any tree

GREEK = st.text(alphabet="\u03b1\u03b2\u03b3\u03b4 ", min_size=1, max_size=6)
AWKWARD = st.text(alphabet="\u03b1\u03b2*_`\\<&#[]()|~-+.1 \n", min_size=1, max_size=8)
CHROME = ["<button>zz</button>", "<svg><title>zz</title></svg>", "<style>zz</style>", "<!--zz-->"]
INLINE = ["b", "em", "del", "span", "sub", "u", 'a href="/"', "code", "strong"]
BLOCK = ["p", "div", "h1", "h6", "blockquote", "section", "details"]


def wrap(tag: str, inner: str) -> str:
    return f"<{tag}>{inner}</{tag.split()[0]}>"


def trees(words: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """HTML of well-formed answers, with chrome in between."""
    text = words.map(html.escape)
    leaf = text | st.sampled_from(["<br>", *CHROME])
    pre = st.builds("<pre><code>{}</code></pre>".format, text)

    def runs(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        return st.lists(inner, max_size=4).map("".join)

    def inlines(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        marked = st.sampled_from([tag for tag in INLINE if tag != "code"])
        return st.builds(wrap, marked, runs(inner)) | text.map(lambda code: wrap("code", code))

    line = st.recursive(leaf, inlines, max_leaves=6)

    def table(cells: list[list[str]]) -> str:
        rows = (wrap("tr", "".join(wrap("td", cell) for cell in row)) for row in cells)
        return wrap("table", "".join(rows))

    def blocks(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        items = st.lists(runs(inner).map(lambda item: wrap("li", item)), max_size=3).map("".join)
        return st.one_of(
            st.builds(wrap, st.sampled_from(BLOCK), runs(inner)),
            st.builds(wrap, st.sampled_from(["ul", "ol", 'ol start="3"']), items),
        )

    tables = st.lists(st.lists(line, max_size=3), max_size=3).map(table)
    return runs(st.recursive(line | pre | tables | st.just("<hr>"), blocks, max_leaves=8))


@given(trees(GREEK))
def test_every_letter_of_a_tree_is_kept_in_order_and_none_is_added(page: str) -> None:
    shown = re.sub(r"<!--zz-->|<[^>]*>|zz", "", page)
    markdown = to_markdown(page)
    assert re.findall("[\u03b1-\u03b4]", markdown) == re.findall("[\u03b1-\u03b4]", shown)
    assert "zz" not in markdown


def bare(text: str) -> str:
    return re.sub(r"[\s\\]", "", text)


@given(trees(AWKWARD))
def test_every_character_of_a_tree_is_kept_in_order(page: str) -> None:
    shown = bare(html.unescape(re.sub(r"<!--zz-->|<[^>]*>|zz", "", page)))
    markdown = iter(bare(to_markdown(page)))
    assert all(character in markdown for character in shown), to_markdown(page)


@given(st.text(alphabet="<>/=\"' abplitdrehuoc!-&;#\0\u03b1", max_size=60))
def test_any_rubbish_is_survived(page: str) -> None:
    to_markdown(page)


LEVELS = 2000


@pytest.mark.parametrize(
    "tag", ["div", "ul><li", "ol><li", "blockquote", "b", "span", "sub", "a", "p", "pre", "dl><dd"]
)
def test_nesting_without_end_keeps_the_text(tag: str) -> None:
    assert "innermost" in to_markdown(f"<{tag}>" * LEVELS + "innermost")


def test_nested_tables_are_survived() -> None:
    assert "innermost" in to_markdown("<table><tr><td>" * 20 + "innermost")


def test_nesting_within_the_limit_keeps_its_structure() -> None:
    levels = MAX_DEPTH // 4
    markdown = to_markdown("<ul><li>" * levels + "innermost")
    assert markdown == "".join("- " for _ in range(levels)) + "innermost"


@pytest.mark.parametrize("align", ["char", "middle", "", "LEFT"])
def test_any_alignment_of_a_cell_is_survived(align: str) -> None:
    page = f'<table><tr><th align="{align}">a</th></tr><tr><td>b</td></tr></table>'
    assert to_markdown(page).splitlines()[1] == ("| :--- |" if align == "LEFT" else "| --- |")


def test_a_list_takes_another_bullet_only_directly_after_a_list() -> None:
    one = "<ul><li>a</li></ul>"
    assert to_markdown(one + one) == "- a\n\n* a"
    assert to_markdown(one + "then" + one) == "- a\n\nthen\n\n- a"
