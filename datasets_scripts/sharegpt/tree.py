"""The tree of a turn, parsed by Lexbor in time linear in the markup, however hostile.

HTML's rules are quadratic: at each start of a block a parser looks through all open elements, at
each start of a paragraph it repeats all marks left open, and it compares all attributes of a tag.
Answers nest a dozen elements, so only markup of thousands of tags is looked at before it is parsed.
"""

import re

from selectolax.lexbor import LexborDocumentOptions, LexborHTMLParser, LexborNode

MAX_DEPTH = 150
"""Levels. Elements nested deeper keep their text and lose their structure: room for 100 lists or
quotes in each other, in the page's own wrappers, with paragraphs and marks inside."""

_MAX_OPEN = 500
"""Elements open at once in markup of many tags; a level may take several, as of a table."""

_FEW = 5_000
"""Tags. The worst markup of so many costs a parser some hundredths of a second."""

_MAX_REPEATS = 3_000_000
"""Marks a parser might repeat; more, and all marks are made void."""

_LOADED = re.compile(r"""(<[a-zA-Z][^\s/<>]*)(?:[^<>"']|"[^"]*"|'[^']*'){5000,}+""")
"""A tag with room for thousands of attributes, each of which is compared with all the others."""

_TAG = re.compile(r"<(/?)([a-zA-Z][^\s/>]*)")
_VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "wbr"}
_CLOSED_BY_THE_NEXT = {"p", "li", "td", "th", "tr", "dt", "dd", "tbody", "thead", "tfoot", "option"}
_OFTEN_EMPTY = {"path", "rect", "circle", "line", "polyline", "polygon", "use"}  # of pictures
_FLAT = _VOID | _CLOSED_BY_THE_NEXT | _OFTEN_EMPTY
_MARKS = {"a", "b", "big", "code", "em", "font", "i", "nobr", "s"}
_MARKS |= {"small", "strike", "strong", "tt", "u"}


def _shallow(html: str) -> str:
    """The same markup, with the tags made void that nest too deep to be parsed in linear time."""
    if len(html) < 3 * _FEW:
        return html
    html = _LOADED.sub(r"\1", html)
    if html.count("<") < _FEW:
        return html
    open_elements = open_marks = most_marks = starts = 0

    def bounded(tag: re.Match[str]) -> str:
        nonlocal open_elements, open_marks, most_marks, starts
        end, name = tag[1], tag[2].lower()
        step = -1 if end else 1
        starts += not end
        if name in _MARKS:
            open_marks = max(open_marks + step, 0)
            most_marks = max(most_marks, open_marks)
        if name in _FLAT:
            return tag[0]
        deep = max(open_elements, open_elements + step) > _MAX_OPEN
        open_elements = max(open_elements + step, 0)
        return f"<{end}wbr" if deep else tag[0]

    html = _TAG.sub(bounded, html)
    if most_marks * starts > _MAX_REPEATS:
        html = _TAG.sub(_void_mark, html)
    return html


def _void_mark(tag: re.Match[str]) -> str:
    return f"<{tag[1]}wbr" if tag[2].lower() in _MARKS else tag[0]


def parse(html: str) -> list[LexborNode]:
    """The top nodes of a turn, which is what stood inside an element of the page."""
    if "\x00" in html:
        html = html.replace("\x00", "\N{REPLACEMENT CHARACTER}")
    html = _shallow(html)
    try:
        utf8 = html.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        utf8 = html.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()
    options = LexborDocumentOptions.WO_EVENTS  # the tree as written: nothing is cloned into it
    # A fragment's first node stands for all of them when asked for its text, so that is a comment.
    first = LexborHTMLParser(b"<!---->" + utf8, is_fragment=True, options=options).root
    return siblings(first.next) if first is not None else []


def siblings(node: LexborNode | None) -> list[LexborNode]:
    """A node and those after it."""
    nodes = []
    while node is not None:
        nodes.append(node)
        node = node.next
    return nodes
