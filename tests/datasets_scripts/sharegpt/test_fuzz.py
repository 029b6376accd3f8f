"""Whatever an answer looks like, its Markdown says what the page said."""

from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token
from selectolax.lexbor import LexborHTMLParser

from datasets_scripts.sharegpt.markdown import MAX_INDENT, to_markdown
from tests.datasets_scripts.sharegpt.hostile import ANSWERS, Answer

READER = MarkdownIt("commonmark", {"maxNesting": 10_000}).enable(["table", "strikethrough"])


def shown(markdown: str) -> str:
    body = LexborHTMLParser(READER.render(markdown)).body
    return body.text() if body is not None else ""


def bare(text: str) -> str:
    """Text without its blanks, which may become others."""
    return "".join(text.split())


def inline(tokens: list[Token]) -> list[Token]:
    return [child for token in tokens for child in token.children or []]


@given(ANSWERS)
def test_the_text_is_what_the_page_showed(answer: Answer) -> None:
    assert bare(shown(to_markdown(answer.html))) == bare(answer.text)


@given(ANSWERS)
def test_code_is_exact(answer: Answer) -> None:
    tokens = READER.parse(to_markdown(answer.html))
    assert [token.content for token in tokens if token.type == "fence"] == answer.blocks
    found = [token.content for token in inline(tokens) if token.type == "code_inline"]
    assert found == answer.spans


PIECES = [
    *("<b>", "</b>", "<p>", "</p>", "<ul>", "<li>", "</ul>", "<table>", "<tr>", "<td>", "</table>"),
    *("<pre>", "<code>", "<select>", "<svg>", "<script>", "<textarea>", "<template>", "<frameset>"),
    *("<span class=katex>", "<span class=katex-mathml>", "<span class=katex-html>", "<a href="),
    *("</i>", "</span>", "</div>", "<div>", "<i>", "<math>", "<td>", "<blockquote>", "<ol>"),
    *("<span class=katex-display>", "<img src=x>", "<br>", "<h1>", "<option>", " a=b", "`", "*"),
    *("</", "/>", "<", ">", "<!--", "-->", "&", "&#0;", "&#xd800;", '"', "'", "="),
    *("\0", "\ud83d", "a", " ", "\n"),
]
MARKUP = st.lists(st.sampled_from(PIECES), max_size=30).map("".join)


@given(MARKUP)
def test_any_markup_becomes_text_that_can_be_stored(page: str) -> None:
    to_markdown(page).encode()


MOST_OUT = 2 * (MAX_INDENT + 8)
"""Characters of Markdown for one of HTML: a line end in code, or a tag of some letters that ends a
line, asks for the indent of a line or two; the last list may go over that by its bullet."""
MOST_HTML = 1_000_000


def repeated(parts: tuple[str, str, int, str]) -> str:
    start, piece, times, end = parts
    return start + piece * min(times, MOST_HTML // max(len(piece), 1)) + end


FEW = st.lists(st.sampled_from(PIECES), min_size=1, max_size=6).map("".join)
GROWING = st.tuples(MARKUP, FEW, st.sampled_from([1, 100, 3_000, 20_000]), MARKUP).map(repeated)


@given(GROWING)
def test_what_is_repeated_costs_what_it_is_long(page: str) -> None:
    """Quadratic time shows as a run of ``make fuzz`` that does not end."""
    assert len(to_markdown(page)) <= MOST_OUT * (len(page) + 1)
