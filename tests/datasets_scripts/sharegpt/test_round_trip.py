"""The measure of a converter sees what is lost, and nothing that is not; and what it finds here."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets_scripts.sharegpt.markdown import to_markdown
from datasets_scripts.sharegpt.round_trip import compare, outline, render

SAME = [
    ("<p>a <b>b</b></p>", "a **b**"),
    ("<p>a\n  b</p>", "a b"),
    ("<p><b>a </b>b</p>", "**a** b"),
    ("<p><b><i>a</i></b></p>", "***a***"),
    ("<ul><li>a</li></ul>", "* a"),
    ("<ul><li><p>a</p></li><li><p>b</p></li></ul>", "- a\n- b"),
    ("<p>a<br>\nb<br></p>", "a\\\nb"),
    ("<div><div>a</div><span>b</span></div>", "a\n\nb"),
    (
        "<pre><div><span>py</span><button>Copy code</button><code>a</code></div></pre>",
        "```\na\n```",
    ),
    ("<pre>a\n</pre>", "    a"),
    ("<table><tr><th align=left>a</th><td></td></tr></table>", "| a | |\n|-|-|"),
    ("<table><tr><td>a<br>b|c</td></tr></table>", "| a<br>b\\|c |\n| --- |"),
    ("<ul><li><input type=checkbox checked> a</li></ul>", "- [x] a"),
    ('<p><a href="/a b" target="_blank">c</a></p>', "[c](</a b>)"),
    ('<p><a href="javascript:x">c</a></p>', "[c](javascript:x)"),
    ("<p>a<svg><title>b</title></svg><!--c--><script>d</script></p>", "a"),
    ("<p>a\0</p>", "a\ufffd"),
    ("<p>katex: $1 and $2</p>", "katex: $1 and $2"),
    ("<ul><li>a</li><ul><li>b</li></ul></ul>", "- a\n  - b"),
]
KATEX = (
    '<span class="katex"><span class="katex-mathml"><math><mi>x</mi><mn>2</mn><annotation>x^2'
    '</annotation></math></span><span class="katex-html">x<sup>2</sup></span></span>'
)
DISPLAY = f'<span class="katex-display">{KATEX}</span>'
SANITIZED = (
    '<span class="katex"><span class="katex-mathml">x2x^2</span>'
    '<span class="katex-html">x<span>2</span>\u200b</span></span>'
)
SAME += [
    (f"<p>a {KATEX} b</p>", "a $x^2$ b"),
    (f"<p>a</p>{DISPLAY}<p>b</p>", "a\n\n$$\nx^2\n$$\n\nb"),
    (f"<p>a {DISPLAY} b</p>", "a $$x^2$$ b"),
    (f"<p>a {SANITIZED} b</p>", "a $x^2$ b"),
]


@pytest.mark.parametrize(("page", "markdown"), SAME)
def test_other_ways_to_say_the_same_are_no_difference(page: str, markdown: str) -> None:
    result = compare(page, markdown)
    assert (result.difference, result.text, result.structure) == ("", True, True)
    assert result.codes == result.exact


OTHER_STRUCTURE = [
    ("<p>a</p><p>b</p>", "a b"),
    ("<p>a<br>b</p>", "a b"),
    ("<p>a b</p>", "ab"),
    ("<p><b>a</b></p>", "*a*"),
    ("<p><b>a</b> b</p>", "a b"),
    ("<h2>a</h2>", "### a"),
    ('<ol start="2"><li>a</li></ol>', "1. a"),
    ("<ol><li>a</li></ol>", "- a"),
    ("<ul><li>a<ul><li>b</li></ul></li></ul>", "- a\n- b"),
    ("<ul><li>a</li></ul><ul><li>b</li></ul>", "- a\n- b"),
    ("<blockquote><p>a</p></blockquote>", "a"),
    ("<hr>", ""),
    ('<p><a href="u">a</a></p>', "[a](v)"),
    ('<p><img src="u" alt="a"></p>', "![a](v)"),
    ("<p><code>a</code></p>", "a"),
    ("<table><tr><td>a</td><td>b</td></tr></table>", "| a b |\n| --- |"),
    ("<ul><li>[x] a</li></ul>", "- [x] a"),
    (f"<p>{KATEX}</p>", "x^2"),
]


@pytest.mark.parametrize(("page", "markdown"), OTHER_STRUCTURE)
def test_lost_structure_is_seen_where_the_text_is_whole(page: str, markdown: str) -> None:
    result = compare(page, markdown)
    assert (result.text, result.structure) == (True, False)
    assert " came back as " in result.difference


OTHER_TEXT = [
    ("<p>a</p>", ""),
    ("<p>a</p>", "a b"),
    ("<p>a_b</p>", "a\\\\_b"),
    ("<p>a</p><p>b</p>", "b\n\na"),
    ("<p>&lt;b&gt;</p>", "<b>"),
    (f"<p>{KATEX}</p>", "x2 x^2"),
]


@pytest.mark.parametrize(("page", "markdown"), OTHER_TEXT)
def test_lost_text_is_seen(page: str, markdown: str) -> None:
    result = compare(page, markdown)
    assert (result.text, result.structure) == (False, False)


@pytest.mark.parametrize("code", ["a\n\n b", "a\n b", "a\n\n\n b\n\n", "a\n\n\nb", " a\n\n\n b"])
def test_code_is_compared_to_the_character(code: str) -> None:
    page = "<pre><code>a\n\n\n b\n</code></pre><pre><code>c</code></pre>"
    result = compare(page, f"```\n{code}\n```\n\n```\nc\n```")
    assert (result.codes, result.exact) == (2, 1)
    assert compare(page, to_markdown(page)).exact == 2


def test_the_first_difference_is_shown_where_it_is() -> None:
    page = f"<h1>a</h1><p>{'same ' * 100}<b>one</b></p><p>b</p>"
    markdown = f"# a\n\n{'same ' * 100}two\n\nc"
    shown = compare(page, markdown).difference
    assert shown == "'same same same same <strong one>' came back as 'same same same same two'"
    assert compare("<p>a</p>", "").difference == "'0 p: a' came back as '0 nothing: '"


@given(st.text(alphabet="<>/=\"' abplitdrehuoc!-&;#*_`\\\n\0", max_size=60))
def test_any_rubbish_is_survived(text: str) -> None:
    compare(text, to_markdown(text))
    compare(text, text)


@pytest.mark.parametrize("tag", ["div", "ul><li", "blockquote", "b", "table><tr><td", "pre"])
def test_nesting_without_end_is_survived(tag: str) -> None:
    page = f"<{tag}>" * 2000 + "innermost"
    assert "innermost" in outline(page)[-1].pieces[-1].text
    compare(page, to_markdown(page))


@pytest.mark.parametrize("tag", ["div", "ul><li", "blockquote", "b"])
def test_a_hundred_levels_are_followed(tag: str) -> None:
    page = f"<{tag}>" * 100 + "innermost"
    assert compare(page, to_markdown(page)).difference == ""


@pytest.mark.parametrize("text", ["[", "![", "*a ", "`", "&lt;a ", "a_", "&amp;"])
def test_long_runs_of_what_looks_like_markup_are_survived(text: str) -> None:
    page = "<ul><li>" * 90 + text * 1000
    assert compare(page, to_markdown(page)).text


def test_formulas_are_read_only_where_there_are_some() -> None:
    assert "math" not in render("$a$")
    assert "math" in render("$a$", formulas=True)


# What the converter must bring back, found by looking for what it does not

TABLE = "<table><tr><td>c</td></tr></table>"
AWKWARD = {
    "an empty list in an item": "<ul><li>a<ul><li></li></ul></li></ul>",
    "an empty numbered list in an item": "<ul><li>a<ol><li></li></ol></li></ul>",
    "a rule in an item": "<ul><li><hr></li></ul>",
    "a rule after the text of an item": "<ul><li>a<hr></li></ul>",
    "a rule of many dashes that is text": "<p>--- ---</p>",
    "text after a list in an item": "<ul><li>a<ul><li>b</li></ul>c</li></ul>",
    "text after a quote in an item": "<ul><li>a<blockquote>b</blockquote>c</li></ul>",
    "text after a table in an item": "<ul><li><table><tr><td>b</td></tr></table>c</li></ul>",
    "two paragraphs of an item without p": "<ul><li>a<div>b</div></li></ul>",
    "text that looks like a task": "<ul><li>[x] a</li></ul>",
    "numbers of a list that grow too long": '<ol start="999999999"><li>a</li><li>b</li></ol>',
    "a heading that is a number sign": "<h1>#</h1>",
    "a break in a heading": "<h2>a<br>b</h2>",
    "two breaks": "<p>a<br><br>b</p>",
    "a bold star": "<p><b>*</b></p>",
    "a star at the start of a mark": "<p><em>* a</em></p>",
    "a star at the end of a mark": "<p><b>a *</b></p>",
    "a tilde in a strike": "<p><del>~ a</del></p>",
    "a star before a mark": "<p>*<em>(a)</em></p>",
    "a mark in the same mark": "<p><em><em>a</em></em></p>",
    "a strike in a strike": "<p><del><del>a</del></del></p>",
    "a break at the end of a mark": "<p><em>a<br>\n</em>b</p>",
    "a break that is a mark's all": "<p>a<em><br>\n</em>b</p>",
    "a no-break space at the start of a mark": "<p><b>&nbsp;a</b>b</p>",
    "stars around code": "<p>*<code>a</code>*</p>",
    "underscores around code": "<p>_<code>a</code>_</p>",
    "tildes around code": "<p>~~<code>a</code>~~</p>",
    "a tag in pieces": "<p>&lt;<span>b&gt;</span></p>",
    "an entity in pieces": "<p>&amp;<span>lt;</span></p>",
    "a link in pieces": "<p>[a]<span>(b)</span></p>",
    "emphasis in pieces": "<p><span>*</span>b<span>*</span></p>",
    "a key at the start of a line": "<p><kbd>*</kbd>*</p>",
    "blanks in inline code": "<p><code>a  b</code></p>",
    "a blank at the end of a link": '<p><a href="u">a </a>b</p>',
    "an entity in an address": '<p><a href="a&amp;copy;b">c</a></p>',
    "an image's text": '<p><img src="a" alt="c]d *e*"></p>',
    "code in a cell": "<table><tr><td><pre><code>a</code></pre></td></tr></table>",
    "paragraphs in a span": "<span><p>a</p><p>b</p></span>",
    "a rule after text with a number sign": "<ul><li>#a<hr></li></ul>",
    "a table after a list in an item": f"<ul><li>a<ul><li>b</li></ul>{TABLE}</li></ul>",
    "a table after a quote in an item": f"<ul><li><blockquote>b</blockquote>{TABLE}</li></ul>",
    "a table after a table in an item": f"<ul><li>a{TABLE}{TABLE}</li></ul>",
    "a backslash and a bracket in a link": '<p><a href="u">\\[a]</a></p>',
    "two bolds in an emphasis": "<p><em><b>a</b>:<b>!b</b></em></p>",
    "a formula of a sanitised page": f"<p>{SANITIZED}</p>",
}
FAULTS = {
    "a break in a heading",
    "two breaks",
    "code in a cell",
    "paragraphs in a span",
}
"""Those that come back as something else: a blank, a new paragraph, inline code, a line break."""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.xfail(strict=True) if name in FAULTS else ())
        for name in AWKWARD
    ],
)
def test_awkward_pages_come_back(name: str) -> None:
    assert compare(AWKWARD[name], to_markdown(AWKWARD[name])).difference == ""
