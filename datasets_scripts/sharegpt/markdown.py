"""HTML of a model's turn, as ChatGPT's page showed it, to CommonMark.

Tables, strikethrough and task lists are GFM's, formulas stand between ``$``. One pass over the tree
that Lexbor parses. Only model turns come here: a human turn is plain text. Code is byte-exact; text
is escaped only where it would otherwise become markup.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import count

from selectolax.lexbor import LexborHTMLParser, LexborNode

from datasets_scripts.sharegpt import commonmark

MAX_DEPTH = 100
"""Elements nested deeper than this keep their text and lose their structure."""

_CHROME = {"button", "svg", "script", "style", "title", "-comment", "template", "noscript"}
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_LISTS = {"ul", "ol"}
_SECTIONS = {"div", "section", "article", "main", "details", "summary", "figure"}
_CONTAINERS = {*_SECTIONS, "dl", "dt", "dd"}
_ROW_GROUPS = {"thead", "tbody", "tfoot"}
_BLOCKS = {"p", "pre", "blockquote", "table", "hr", *_HEADINGS, *_LISTS, *_CONTAINERS}
_MARKS = {"strong": "**", "b": "**", "em": "*", "i": "*", "del": "~~", "s": "~~", "strike": "~~"}
_KEPT_TAGS = {"sub", "sup", "kbd", "mark", "u"}


def to_markdown(html: str) -> str:
    """Convert one model turn. Never raises; text is neither lost nor invented."""
    body = LexborHTMLParser(html.replace("\x00", "\N{REPLACEMENT CHARACTER}")).body
    return "\n\n".join(_blocks(_children(body), 0)) if body is not None else ""


def _children(node: LexborNode) -> Iterator[LexborNode]:
    child = node.child
    while child is not None:
        yield child
        child = child.next


def _blocks(nodes: Iterable[LexborNode], depth: int) -> list[str]:
    """The block elements among nodes; loose text between them becomes paragraphs."""
    blocks: list[str] = []
    run: list[str] = []
    marker = ""  # of the list just before, so that the next one does not continue it
    for child in nodes:
        tag = child.tag or ""
        if _is_display(child) and (formula := _formula(child)):
            _flush(run, blocks)
            blocks.append(f"$$\n{formula}\n$$")
            continue
        if tag not in _BLOCKS or depth >= MAX_DEPTH:
            run.append(_inline(child, depth + 1))
            continue
        if _flush(run, blocks):
            marker = ""
        if tag in _LISTS:
            marker = _next_marker(tag, marker)
            blocks += _list(child, marker, depth + 1)
        else:
            rendered = _block(child, tag, depth + 1)
            blocks += rendered
            marker = "" if rendered else marker
    _flush(run, blocks)
    return blocks


def _flush(run: list[str], blocks: list[str]) -> bool:
    paragraph = commonmark.paragraph(commonmark.join(run))
    run.clear()
    if paragraph:
        blocks.append(paragraph)
    return bool(paragraph)


def _block(node: LexborNode, tag: str, depth: int) -> list[str]:
    if tag == "pre":
        return [_code_block(node)]
    if tag in _HEADINGS:
        text = commonmark.one_line(_inlines(node, depth))
        text = re.sub(r"(?<= )(#+)$", r"\\\1", text)  # a heading may end with marks of its own
        return [f"{'#' * _HEADINGS[tag]} {text}"] if text else []
    if tag == "blockquote":
        lines = "\n\n".join(_blocks(_children(node), depth)).split("\n")
        return ["\n".join(f"> {line}" if line else ">" for line in lines)] if lines != [""] else []
    if tag == "table":
        return _table(node, depth)
    if tag == "hr":
        return ["---"]
    return _blocks(_children(node), depth)


def _next_marker(tag: str, before: str) -> str:
    """``-`` or ``.``; the other style if a list of the same kind stands directly before."""
    if tag == "ul":
        return "*" if before == "-" else "-"
    return ")" if before == "." else "."


def _list(node: LexborNode, marker: str, depth: int) -> list[str]:
    start = node.attributes.get("start") or ""
    numbers = count(int(start) if re.fullmatch(r"[0-9]{1,9}", start) else 1)
    items = _items(node)
    loose = any(child.tag == "p" for item in items for part in item for child in _children(part))
    rendered = []
    for item in items:
        bullet = f"{next(numbers)}{marker} " if node.tag == "ol" else f"{marker} "
        indent = " " * len(bullet)
        blocks = _item_blocks(item, depth)
        body = ("\n\n" if loose else "\n").join(blocks)
        rendered.append((bullet + re.sub(r"\n(?=[^\n])", "\n" + indent, body)).rstrip())
    return [("\n\n" if loose else "\n").join(rendered)] if rendered else []


def _items(node: LexborNode) -> list[list[LexborNode]]:
    """The items of a list; what stands between two, such as a nested list, ends the first."""
    items: list[list[LexborNode]] = []
    for child in _children(node):
        if child.tag == "li" or not items:
            if child.tag != "-text" or (child.text_content or "").strip():
                items.append([child])
        else:
            items[-1].append(child)
    return items


def _item_blocks(item: list[LexborNode], depth: int) -> list[str]:
    head = item[0]
    inside = list(_children(head)) if head.tag == "li" else [head]
    blocks = _blocks([*inside, *item[1:]], depth)
    first = next((child for child in inside if child.tag in ("p", "input")), None)
    box = first.child if first is not None and first.tag == "p" else first
    if box is not None and box.tag == "input" and box.attributes.get("type") == "checkbox":
        done = "x" if "checked" in box.attributes else " "
        blocks = [f"[{done}] {blocks[0] if blocks else ''}", *blocks[1:]]
    for number, block in enumerate(blocks[1:], 1):
        # A list that does not start at 1 cannot interrupt a paragraph.
        if re.match(r"(?!1[.)])\d+[.)] ", block):
            blocks[number] = "\n" + block
    return blocks


def _code_block(node: LexborNode) -> str:
    """A fenced block: the text of ``<code>`` as it is, without bar, button and colours."""
    code = _only_code(node)
    text = (code if code is not None else node).text()
    label = re.search(r"language-([\w+#.-]+)", (code.attributes.get("class") or "") if code else "")
    language = label[1] if label else _bar_label(node) if code is not None else ""
    longest = max((len(run) for run in re.findall(r"`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    return (
        f"{fence}{language}\n{text}{'' if text.endswith(chr(10)) or not text else chr(10)}{fence}"
    )


def _only_code(node: LexborNode) -> LexborNode | None:
    """The one ``<code>`` of a block, beside which only the page's bar stands; else nothing."""
    codes = node.css("code")
    loose = any(
        child.tag == "-text" and (child.text_content or "").strip() for child in _children(node)
    )
    return codes[0] if len(codes) == 1 and not loose else None


def _bar_label(node: LexborNode) -> str:
    """The language that the code bar shows; the bar's own ``Copy code`` is none."""
    bar = node.css_first("span")
    inside = bar is not None and bar.parent is not None and bar.parent.tag == "div"
    word = bar.text().strip() if inside and bar is not None else ""
    return word.lower() if re.fullmatch(r"[\w+#.-]{1,30}", word) else ""


def _table(node: LexborNode, depth: int) -> list[str]:
    parts = list(_children(node))
    parts += [row for part in parts if part.tag in _ROW_GROUPS for row in _children(part)]
    rows = [[cell for cell in _children(row) if cell.tag in {"th", "td"}] for row in parts]
    rows = [row for row in rows if row]
    caption = _blocks([part for part in parts if part.tag == "caption"], depth)
    if not rows:
        return caption
    width = max(len(row) for row in rows)
    lines = [_row([commonmark.cell(_inlines(cell, depth)) for cell in row], width) for row in rows]
    ruler = [_ALIGN.get((cell.attributes.get("align") or "").lower(), "---") for cell in rows[0]]
    ruler += ["---"] * (width - len(ruler))
    return [*caption, "\n".join([lines[0], _row(ruler, width), *lines[1:]])]


_ALIGN = {"left": ":---", "center": ":---:", "right": "---:"}


def _row(cells: list[str], width: int) -> str:
    return "| " + " | ".join(cells + [""] * (width - len(cells))) + " |"


def _inlines(node: LexborNode, depth: int) -> str:
    return commonmark.join(_inline(child, depth) for child in _children(node))


def _inline(node: LexborNode, depth: int) -> str:
    """Inline Markdown of one node; blocks inside are flattened to their text."""
    tag = node.tag or ""
    if tag == "-text":
        return commonmark.escape(node.text_content or "")
    if tag in _CHROME:
        return ""
    if depth > MAX_DEPTH:
        return commonmark.escape(node.text())
    if tag == "code":
        return commonmark.code_span(node.text())
    if tag == "br":
        return commonmark.BREAK
    if tag == "img":
        alt = commonmark.one_line(node.attributes.get("alt") or "")
        return f"![{alt}]({commonmark.link_target(node.attributes.get('src') or '')})"
    formula = _formula(node)
    if formula:
        return f"$${formula}$$" if _is_display(node) else f"${formula}$"
    return _wrap(node, tag, _inlines(node, depth + 1))


def _is_display(node: LexborNode) -> bool:
    return "katex-display" in (node.attributes.get("class") or "")


def _formula(node: LexborNode) -> str:
    """The TeX that KaTeX keeps beside what it shows, or nothing if the node is no formula."""
    if "katex" not in (node.attributes.get("class") or ""):
        return ""
    annotation = node.css_first("annotation")
    return annotation.text().strip() if annotation is not None else ""


def _wrap(node: LexborNode, tag: str, inner: str) -> str:
    href = node.attributes.get("href") if tag == "a" else None
    if href is not None and inner.strip():
        if inner.count("[") != inner.count("]"):
            inner = re.sub(r"(?<!\\)([\[\]])", r"\\\1", inner)
        return f"[{inner.strip()}]({commonmark.link_target(href)})"
    if tag in _KEPT_TAGS and inner:
        return f"<{tag}>{inner}</{tag}>"
    mark = _MARKS.get(tag)
    if mark is None or not inner.strip(" " + commonmark.BREAK):
        return f" {inner} " if tag in _BLOCKS or tag in {"li", "td", "th", "tr"} else inner
    core = inner.strip(" " + commonmark.BREAK)
    before, after = inner[: inner.index(core)], inner[inner.index(core) + len(core) :]
    left = before or (node.prev.text() if node.prev is not None else "")
    right = after or (node.next.text() if node.next is not None else "")
    return before + commonmark.emphasis(core, mark, left[-1:], right[:1]) + after
