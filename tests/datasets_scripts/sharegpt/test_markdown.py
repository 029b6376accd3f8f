"""HTML of an answer to Markdown: read back, it must say and show what the page did."""

import html
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from selectolax.lexbor import LexborHTMLParser

from datasets_scripts.sharegpt.markdown import to_markdown
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
        ('<p><a href="?a&amp;amp;b">d</a></p>', "[d](?a&amp;amp;b)"),
        ('<p><a href="a\\b">d</a></p>', "[d](a\\\\b)"),
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


@pytest.mark.parametrize("align", ["char", "middle", "", "LEFT"])
def test_any_alignment_of_a_cell_is_survived(align: str) -> None:
    page = f'<table><tr><th align="{align}">a</th></tr><tr><td>b</td></tr></table>'
    assert to_markdown(page).splitlines()[1] == ("| :--- |" if align == "LEFT" else "| --- |")


def test_a_list_takes_another_bullet_only_directly_after_a_list() -> None:
    one = "<ul><li>a</li></ul>"
    assert to_markdown(one + one) == "- a\n\n* a"
    assert to_markdown(one + "then" + one) == "- a\n\nthen\n\n- a"


# What other converters of this data get wrong


def test_code_without_a_copy_button_swallows_nothing() -> None:
    bar = BAR.format("python", "<code>a = 1\n</code>")
    page = f"<pre>{bar}</pre><pre><code>mid\n</code></pre><pre>{bar}</pre><p>end</p>"
    block = "```python\na = 1\n```"
    assert to_markdown(page) == f"{block}\n\n```\nmid\n```\n\n{block}\n\nend"


def test_empty_lines_between_blocks_come_to_one() -> None:
    assert to_markdown("<p>a</p>\n\n\n\n<p>b</p>") == "a\n\nb"


def test_empty_lines_in_code_stay() -> None:
    code = "def f():\n    pass\n\n\ndef g():\n    pass\n"
    page = f"<ol><li>a<pre><code>{code}</code></pre></li><li>b</li></ol>"
    assert fences(to_markdown(page)) == [("", code)]
    assert to_markdown(page).endswith("\n2. b")


@pytest.mark.parametrize(
    ("page", "markdown"),
    [
        ("1 / 2 cup of flour", "1 / 2 cup of flour"),
        ('<p><span title="1 > 0">z</span></p>', "z"),
        ('<p><span data-a="<b>">z</span></p>', "z"),
        ("<p>a<br>\nb</p>", "a  \nb"),
        ("<p>a\n<br> b</p>", "a  \nb"),
        (
            "<table><tr><td>a<br>\nb</td><td><code>c|d</code></td></tr></table>",
            "| a<br>b | `c\\|d` |\n| --- | --- |",
        ),
        ("<h1>a</h1><h2>b</h2>", "# a\n\n## b"),
        ("no paragraph<p>then one</p>", "no paragraph\n\nthen one"),
        ("<p>get_data.php, x_train, 2*3</p>", "get_data.php, x_train, 2\\*3"),
        ("<p>a &lt;div&gt; and &amp;lt;</p>", "a \\<div> and \\&lt;"),
        ("<pre><code>```\nx\n```</code></pre>", "````\n```\nx\n```\n````"),
        ("<blockquote><pre><code>a\n\nb</code></pre></blockquote>", "> ```\n> a\n>\n> b\n> ```"),
        ('<ul><li>a<ol start="5"><li>b</li></ol></li></ul>', "- a\n\n  5. b"),
        ("<p>a  <b> b </b>  c</p>", "a **b** c"),
        ("<p><a href='u'> a </a>b</p>", "[a](u) b"),
    ],
)
def test_what_other_converters_damage(page: str, markdown: str) -> None:
    assert to_markdown(page) == markdown


@pytest.mark.parametrize(
    ("page", "markdown"),
    [
        ("<li>a<hr></li>", "- a\n\n  ---"),  # else a heading
        ("<li><hr></li>", "- ___"),  # else a rule and no item
        ("<li>a<ul><li></li></ul></li>", "- a\n\n  -"),  # else a heading
        ("<li>a<ul><li>b</li></ul>c</li>", "- a\n  - b\n\n  c"),  # else c belongs to b
        ("<li><blockquote>a</blockquote>b</li>", "- > a\n\n  b"),  # else b belongs to the quote
        ("<li>a<blockquote>b</blockquote></li>", "- a\n  > b"),
        ("<li>#a<hr></li>", "- #a\n\n  ---"),
        ("<li>[x] a</li>", "- \\[x] a"),  # else a task
        (
            "<li><blockquote>a</blockquote><table><tr><td>b</td></tr></table></li>",
            "- > a\n\n  | b |\n  | --- |",  # else the quote's text
        ),
    ],
)
def test_blocks_of_an_item_stay_apart_where_they_would_merge(page: str, markdown: str) -> None:
    assert to_markdown(f"<ul>{page}</ul>") == markdown


@pytest.mark.parametrize(
    "page",
    [
        "<p>a<b> &gt; * </b>b</p>",
        "<p><b>a<br><br>b</b></p>",
        "<p>x<span><b>&quot;a&quot;</b></span>y</p>",
        "<p><b>a\n</b>b</p>",
        "<p><b>&nbsp;a&nbsp;</b>b</p>",
        "<p><i>a<i>b</i></i>c</p>",
        "<p><span>*</span><span>a</span><span>*</span></p>",
        "<p>a &lt;<i>b&gt;</i></p>",
        "<p>&amp;<i>amp;</i></p>",
        "<p><i>a\\ </i>b</p>",
        "<p><u>a\\ </u>b</p>",
        "<p><a href=u>\\[a</a></p>",
        "<p><a href=u><code>]: a</code></a></p>",
        "<p>[<code>]: a</code></p>",
        "<p><b><i>(</i><i>)</i></b></p>",
        "<p><del>a\n~~~ b</del></p>",
        "<h3>#</h3>",
        "<p>| a |<br>:-</p>",
        "<table><tr><td>\\ <br>a</td></tr></table>",
        '<ol start="999999999"><li>a</li><li>b</li></ol>',
    ],
)
def test_marks_and_text_do_not_make_other_marks_together(page: str) -> None:
    seen = LexborHTMLParser(page).body
    assert seen is not None
    assert read_back(to_markdown(page)).replace(" ", "") == "".join(seen.text().split())


def test_blanks_in_code_in_a_line_are_kept() -> None:
    assert to_markdown("<h3><code>a  b</code></h3>") == "### `a  b`"
    assert to_markdown("<p>x <code>a  b</code></p>") == "x `a  b`"


@pytest.mark.parametrize("half", [0xD83D, 0xDC00])
def test_half_a_surrogate_pair_and_nul_are_replaced(half: int) -> None:
    assert to_markdown(f"<p>a{chr(half)}b\0c</p>") == "a\ufffdb\ufffdc"


def test_two_halves_make_a_character() -> None:
    assert to_markdown("<p>" + chr(0xD83D) + chr(0xDE00) + "</p>") == "\U0001f600"
