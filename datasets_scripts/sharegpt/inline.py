"""What stands in a line: text, marks, links, code and formulas, as inline Markdown."""

from selectolax.lexbor import LexborNode

from datasets_scripts.sharegpt import commonmark, katex
from datasets_scripts.sharegpt.tree import MAX_DEPTH, siblings

HEADINGS = {f"h{level}": level for level in range(1, 7)}
LISTS = {"ul", "ol"}
_SECTIONS = {"div", "section", "article", "main", "details", "summary", "figure", "figcaption"}
_REGIONS = {"header", "footer", "aside", "nav", "address", "center", "form", "fieldset"}
CONTAINERS = {"p", *_SECTIONS, *_REGIONS, "dl", "dt", "dd"}
BLOCKS = {"pre", "blockquote", "table", "hr", *HEADINGS, *LISTS, *CONTAINERS}

_APART = {*BLOCKS, "li", "td", "th", "tr"}
"""Where flattened: what a blank on both sides keeps from running into its neighbours."""

_CHROME = {"button", "svg", "script", "style", "title", "-comment", "template", "noscript"}
_MARKS = {"strong": "**", "b": "**", "em": "*", "i": "*", "del": "~~", "s": "~~", "strike": "~~"}
_MAX_EMPTY = 3
"""Elements without text that are passed over to find what stands beside a mark."""
_KEPT_TAGS = {"sub", "sup", "kbd", "mark", "u"}


def line(nodes: list[LexborNode], depth: int) -> str:
    """Inline Markdown of what has a line for itself."""
    if len(nodes) == 1 and nodes[0].tag == "-text":
        return commonmark.escape_alone(nodes[0].text_content or "")
    return _inlines(nodes, depth, ())


def _inlines(nodes: list[LexborNode], depth: int, marks: tuple[str, ...]) -> str:
    return commonmark.join([inline(node, node.tag or "", depth, marks) for node in nodes])


def inline(node: LexborNode, tag: str, depth: int, marks: tuple[str, ...]) -> str:
    """Inline Markdown of one node; blocks inside are flattened to their text.

    ``marks`` are those the node stands in already, ``a`` in a link and ``katex`` in a formula.
    """
    if tag == "-text":
        text = commonmark.escape(node.text_content or "")
        return commonmark.escape_brackets(text) if "a" in marks else text
    if tag == "code":
        return commonmark.code_span(node.text_lexbor())
    if tag == "br":
        return commonmark.BREAK
    if tag in _CHROME:
        return ""
    if depth > MAX_DEPTH:
        return commonmark.escape(_flat(node))
    if tag == "span":
        formula = "" if "katex" in marks else katex.inline(node)
        if formula:
            return formula
        inside = (*marks, "katex") if katex.is_formula(node) else marks
        return _inlines(katex.shown(node), depth + 1, inside)
    if tag == "img":
        attributes = node.attributes
        alt = commonmark.escape_brackets(commonmark.escape_alone(attributes.get("alt") or ""))
        target = commonmark.link_target(attributes.get("src") or "")
        return f"![{commonmark.one_line(alt)}]({target})"
    if tag == "input":
        return _checkbox(node)
    mark = tag if tag == "a" else _MARKS.get(tag, "")
    inner = _inlines(siblings(node.first_child), depth + 1, (*marks, mark) if mark else marks)
    if mark in marks:  # twice the same mark looks no different
        return inner
    if tag == "a":
        return _link(node, inner)
    if mark:
        return _marked(node, mark, inner)
    if tag in _KEPT_TAGS:
        before, core, after = commonmark.edges(inner)
        return f"{before}<{tag}>{core}</{tag}>{after}" if core else inner
    return commonmark.join([" ", inner, " "]) if tag in _APART else inner


def _marked(node: LexborNode, mark: str, inner: str) -> str:
    before, core, after = commonmark.edges(inner)
    if not core:
        return inner
    if core[0].isalnum() and core[-1].isalnum() and mark != "~~":
        return f"{before}{mark}{core}{mark}{after}"
    left = before or _beside(node, after=False)
    right = after or _beside(node, after=True)
    return before + commonmark.emphasis(core, mark, left[-1], right[0]) + after


def _beside(node: LexborNode, after: bool) -> str:
    """The text that stands directly before or after a mark, a blank at the end of a line."""
    here: LexborNode | None = node
    passed = 0
    while here is not None and here.tag not in _APART and passed < _MAX_EMPTY:
        near = here.next if after else here.prev
        if near is None:
            here = here.parent
        elif (tag := near.tag) == "br":
            return " "
        elif text := near.text_content if tag == "-text" else near.text():
            return text
        else:
            here = near
            passed += 1
    return " "


def _link(node: LexborNode, inner: str) -> str:
    address = node.attributes.get("href")
    before, core, after = commonmark.edges(inner)
    if address is None or not core:
        return inner
    return f"{before}[{core}]({commonmark.link_target(address)}){after}"


def _checkbox(node: LexborNode) -> str:
    """A task's box, if the node is one: the first thing in its item."""
    attributes, parent = node.attributes, node.parent
    if parent is not None and parent.tag == "p":
        parent = parent.parent
    if attributes.get("type") != "checkbox" or parent is None or parent.tag != "li":
        return ""
    return "[x] " if "checked" in attributes else "[ ] "


def _flat(node: LexborNode) -> str:
    """All text below a node that a reader sees, however deep."""
    texts = []
    stack = [node.first_child]
    while stack:
        here = stack.pop()
        if here is None:
            continue
        stack.append(here.next)
        tag = here.tag or ""
        if tag == "-text":
            texts.append(here.text_content or "")
        elif tag not in _CHROME:
            stack.append(here.first_child)
            if tag in _APART or tag == "br":
                texts.append(" ")
    return "".join(texts)
