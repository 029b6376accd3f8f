"""Answers of any shape: their HTML, what a reader of the page sees, and the code in them.

An answer is drawn as a list of strokes (open this, close that, write this), which is cheap to draw
and shrinks well; a stroke that HTML does not allow where it falls is left out.
"""

import html
from dataclasses import dataclass, field

from hypothesis import strategies as st

FLOW = ["div", "p", "h2", "h6", "blockquote", "ul", "ol", 'ol start="7"', "section", "table"]
LINE = ["b", "em", "del", "i", "strong", "span", "sub", "u", "a href='x y'", "a href=x"]
HOLDS_BLOCKS = {"", "div", "blockquote", "li", "section"}
WORDS = ["a", "b", "1", "\u5b57", "\u3002", "\u00e9", "\u00a0", " ", " ", "  ", "\n", " \n ", "\t"]
WORDS += [*"*_`~\\<>&[]()!#-+=|.:;$\"'{}", "**", "__", "~~", "```", "~~~", "---", "===", "1.", "2)"]
WORDS += ["&amp;", "&#65;", "<b>", "</b>", "<!--", "-->", "](", "![", "[a](b)", "[a]: b", "\\\\"]
WORDS += [
    "# ",
    "- ",
    "> ",
    "    ",
    "http://a.b",
    "<http://a.b>",
    "| a |",
    "|-|",
    ":-",
    "[ ] ",
    "***",
]
CHROME = ["<button>zz</button>", "<svg><title>zz</title></svg>", "<style>zz</style>", "<!--zz-->"]
SINGLE = ["<br>", "<hr>", *CHROME]


@dataclass
class Answer:
    """Markup and, independently of any parser, what must be read from its Markdown."""

    html: str = ""
    text: str = ""
    blocks: list[str] = field(default_factory=list)
    spans: list[str] = field(default_factory=list)


Stroke = tuple[str, str]
STROKES: st.SearchStrategy[list[Stroke]] = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.lists(st.sampled_from(WORDS), max_size=4).map("".join)),
        st.tuples(st.just("open"), st.sampled_from([*FLOW, *LINE, "li", "li", "cell", "row"])),
        st.tuples(st.just("close"), st.just("")),
        st.tuples(st.just("single"), st.sampled_from(SINGLE)),
        st.tuples(
            st.sampled_from(["pre", "code"]),
            st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map("".join),
        ),
    ),
    max_size=20,
)


def draw(strokes: list[Stroke]) -> Answer:
    answer, stack = Answer(), [""]
    for kind, what in strokes:
        place = stack[-1]
        if kind == "open":
            _open(answer, stack, what)
        elif kind == "close" and place:
            _close(answer, stack)
        elif place in ("ul", "ol"):
            continue
        elif kind == "write":
            answer.html += html.escape(what)
            answer.text += what
        elif kind == "single" and (what != "<hr>" or place in HOLDS_BLOCKS):
            answer.html += what
        elif kind == "code":
            code = what.replace("\n", " ")
            answer.html += f"<code>{html.escape(code)}</code>"
            answer.text += code
            answer.spans.append(code)
        elif kind == "pre" and place in HOLDS_BLOCKS:
            answer.html += f"<pre><code>{html.escape(what)}</code></pre>"
            answer.text += what
            answer.blocks.append(what if what.endswith("\n") else what + "\n")
    while len(stack) > 1:
        _close(answer, stack)
    return answer


def _open(answer: Answer, stack: list[str], tag: str) -> None:
    place, name = stack[-1], tag.split()[0]
    if tag in ("cell", "row"):
        if place == "td":
            answer.html += "</td><td>" if tag == "cell" else "</td></tr><tr><td>"
        return
    if place in ("ul", "ol"):
        allowed = tag == "li"
    elif name == "a":
        allowed = "a" not in stack
    else:
        allowed = tag in LINE or (tag in FLOW and place in HOLDS_BLOCKS)
    if allowed:
        stack.append("td" if tag == "table" else name)
        answer.html += "<table><tr><td>" if tag == "table" else f"<{tag}>"


def _close(answer: Answer, stack: list[str]) -> None:
    name = stack.pop()
    answer.html += "</td></tr></table>" if name == "td" else f"</{name}>"


ANSWERS = STROKES.map(draw)
