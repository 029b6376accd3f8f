"""The tree of a turn, parsed by Lexbor in time linear in the markup, however hostile.

HTML's rules are quadratic: at each start of a block a parser looks through all open elements, at
each start of a paragraph it repeats all marks left open, and it compares all attributes of a tag.
Answers nest a dozen elements, so only markup of a thousand tags is looked at before it is parsed.
"""

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from operator import itemgetter
from typing import cast

from selectolax.lexbor import LexborDocumentOptions, LexborHTMLParser, LexborNode

MAX_DEPTH = 150
"""Levels. Elements nested deeper keep their text and lose their structure: room for 100 lists or
quotes in each other, in the page's own wrappers, with paragraphs and marks inside."""

_MAX_OPEN = 300
"""Elements open at once in markup of many tags; a level may take several, as of a table."""

_DOCUMENT = 100_000
"""Characters that are parsed into one document. To make one takes as long as to parse a turn, but
it keeps all that was in it."""

_spare: list[tuple[LexborNode, int]] = []
"""Elements of documents in which there is room, and the characters parsed into each so far."""

_FEW = 1_000
"""Tags. The worst markup of so many, or of five times as many characters, is cheap."""

_LONG = 15_000
"""Characters. A shorter tag has too few attributes to cost much."""

_MAX_REPEATS = 200_000
"""Marks a parser might repeat; more, and all marks are made void."""

_MAX_ATTRIBUTES = 200

_ATTRIBUTE = r"""[\s/]*+=?[^\s/>=]++(?:\s*+=\s*+(?:"[^"]*+"|'[^']*+'|[^\s>"'][^\s>]*+)?+)?+|=++"""
_LOADED = re.compile(
    rf"""(</?[a-zA-Z][^\s/>]*+(?:{_ATTRIBUTE}){{0,{_MAX_ATTRIBUTES}}}+)(?:{_ATTRIBUTE})*+"""
)
"""A tag, and what it has of attributes beyond those: each is compared with all before it."""

_TAG = re.compile(r"<(/?)([a-zA-Z][^\s/>]*)")
_VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "wbr"}
_CLOSED_BY_THE_NEXT = {"p", "li", "td", "th", "tr", "tbody", "thead", "tfoot", "option"}
_OFTEN_EMPTY = {"path", "rect", "circle", "line", "polyline", "polygon", "use"}  # of pictures
_FLAT = _VOID | _CLOSED_BY_THE_NEXT | _OFTEN_EMPTY
_MARKS = {"a", "b", "big", "code", "em", "font", "i", "nobr", "s"}
_MARKS |= {"small", "strike", "strong", "tt", "u"}
_MARK = re.compile(rf"</?(?:{'|'.join(_MARKS)})(?=[\s/>])", re.IGNORECASE)
_NOTHING = "</wbr"
"""The start of a tag that opens and closes nothing, in a picture too."""


def _shallow(html: str) -> str:
    """The same markup, with the tags made void that nest too deep to be parsed in linear time."""
    if len(html) >= _LONG:
        html = _LOADED.sub(itemgetter(1), html)  # a template is expanded by far slower code
    if len(html) < 5 * _FEW or html.count("<") < _FEW:
        return html
    open_elements = Counter[str]()
    depth = flat = open_marks = most_marks = starts = 0

    def bounded(tag: re.Match[str]) -> str:
        nonlocal depth, flat, open_marks, most_marks, starts
        end, name = tag[1], tag[2].lower()
        starts += not end
        drawing = open_elements["svg"] or open_elements["math"]
        if not drawing:
            flat = 0
        if name in _FLAT:  # in a drawing even these nest
            flat += bool(drawing)
            return _NOTHING if flat > _MAX_OPEN else tag[0]
        if end and not open_elements[name]:  # closes nothing
            return tag[0]
        step = -1 if end else 1
        deep = max(depth, depth + step) > _MAX_OPEN
        open_elements[name] += step
        depth += step
        if name in _MARKS:
            open_marks += step
            most_marks = max(most_marks, open_marks)
        return _NOTHING if deep else tag[0]

    html = _TAG.sub(bounded, html)
    if most_marks * starts > _MAX_REPEATS:
        html = _MARK.sub(_NOTHING, html)
    return html


@contextmanager
def parsed(html: str) -> Iterator[list[LexborNode]]:
    """The top nodes of a turn, which is what stood inside an element of the page.

    They are whole until the block ends.
    """
    if "\x00" in html:
        html = html.replace("\x00", "\N{REPLACEMENT CHARACTER}")
    html = _shallow(html)
    element, filled = _spare.pop() if _spare else (_element(), 0)
    try:
        element.inner_html = html
    except UnicodeEncodeError:  # half of a surrogate pair
        element.inner_html = html.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    yield siblings(element.first_child)
    if filled + len(html) < _DOCUMENT:
        _spare.append((element, filled + len(html)))


def _element() -> LexborNode:
    options = LexborDocumentOptions.WO_EVENTS  # the tree as written: nothing is cloned into it
    return cast(LexborNode, LexborHTMLParser("<div></div>", is_fragment=True, options=options).root)


def siblings(node: LexborNode | None) -> list[LexborNode]:
    """A node and those after it."""
    nodes = []
    while node is not None:
        nodes.append(node)
        node = node.next
    return nodes
