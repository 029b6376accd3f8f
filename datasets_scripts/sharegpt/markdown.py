"""HTML of a model's turn, as ChatGPT's page showed it, to CommonMark.

Tables, strikethrough and task lists are GFM's, formulas stand between ``$``. One pass over the tree
that Lexbor parses. Only model turns come here: a human turn is plain text. Code is byte-exact; text
is escaped only where it would otherwise become markup.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import count

from selectolax.lexbor import LexborHTMLParser, LexborNode

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
_TAGS = {"**": "strong", "*": "em", "~~": "del"}
_KEPT_TAGS = {"sub", "sup", "kbd", "mark", "u"}
_BREAK = "\x00"  # stands for <br> until a paragraph or a table cell decides how to write it

_SPACE = re.compile(r"[ \t\r\n\f]+")
_SPACE_RUN = re.compile(r"[ \t\r\f]+")
_NEWLINE = re.compile(r" *\n *")
_INLINE_MARKUP = re.compile(
    r"""
    \\(?=[!-/:-@[-`{-~\n]|\Z)       # a backslash before punctuation or a line end means something
    | `
    | (?<=\S)\* | \*(?=\S)
    | (?<![^\W_])_(?=\S) | (?<=\S)_(?![^\W_])
    | <(?=[a-zA-Z/!?])              # would open a tag or an autolink
    | &(?=\#?\w+;)                  # would be an entity
    | \](?=[(:\[])                  # would end the text of a link
    | (?<=[^\s~])~{2,} | (?<!~)~{2,}(?=[^\s~])
    """,
    re.VERBOSE,
)
_LINE_MARKUP = re.compile(
    r"""
    ^(?:
        ( \#{1,6}(?=\s|$) | > | [-+*](?=\s|$) | ~~~
        | (?:-+|=+)[ ]*$                      # would make the line above a heading
        | _(?=[ ]*_[ ]*_[_ ]*$)               # would be a rule
        | [-:|](?=[-:| ]*-[-:| ]*$)(?=.*\|)   # would make the line above the head of a table
        )
        | (\d{1,9})([.)](?=\s|$))
    )
    """,
    re.VERBOSE | re.MULTILINE,
)


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
        if _is_display(child) and _formula(child):
            _flush(run, blocks)
            blocks.append(f"$$\n{_formula(child)}\n$$")
            continue
        if tag not in _BLOCKS or depth >= MAX_DEPTH:
            run.append(_inline(child, depth + 1))
            continue
        _flush(run, blocks)
        if tag in _LISTS:
            marker = _next_marker(tag, marker)
            blocks += _list(child, marker, depth + 1)
        else:
            rendered = _block(child, tag, depth + 1)
            blocks += rendered
            marker = "" if rendered else marker
    if _flush(run, blocks):
        marker = ""
    return blocks


def _flush(run: list[str], blocks: list[str]) -> bool:
    paragraph = _paragraph(_join(run))
    run.clear()
    if paragraph:
        blocks.append(paragraph)
    return bool(paragraph)


def _block(node: LexborNode, tag: str, depth: int) -> list[str]:
    if tag == "pre":
        return [_code_block(node)]
    if tag in _HEADINGS:
        text = _one_line(_inlines(node, depth))
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
    lines = [_row([_cell(cell, depth) for cell in row], width) for row in rows]
    ruler = [_ALIGN[(cell.attributes.get("align") or "").lower()] for cell in rows[0]]
    ruler += ["---"] * (width - len(ruler))
    return [*caption, "\n".join([lines[0], _row(ruler, width), *lines[1:]])]


_ALIGN = {"": "---", "left": ":---", "center": ":---:", "right": "---:", "justify": "---"}


def _row(cells: list[str], width: int) -> str:
    return "| " + " | ".join(cells + [""] * (width - len(cells))) + " |"


def _cell(cell: LexborNode, depth: int) -> str:
    text = _SPACE.sub(" ", _inlines(cell, depth)).strip(" " + _BREAK)
    return re.sub(rf" ?{_BREAK} ?", "<br>", text).replace("|", "\\|")


def _inlines(node: LexborNode, depth: int) -> str:
    return _join(_inline(child, depth) for child in _children(node))


def _inline(node: LexborNode, depth: int) -> str:
    """Inline Markdown of one node; blocks inside are flattened to their text."""
    tag = node.tag or ""
    if tag == "-text":
        return _escape(node.text_content or "")
    if tag in _CHROME:
        return ""
    if depth > MAX_DEPTH:
        return _escape(node.text())
    if tag == "code":
        return _code_span(node.text())
    if tag == "br":
        return _BREAK
    if tag == "img":
        alt = _SPACE.sub(" ", node.attributes.get("alt") or "")
        return f"![{alt}]({_target(node.attributes.get('src') or '')})"
    formula = _formula(node)
    if formula:
        return f"$${formula}$$" if _is_display(node) else f"${formula}$"
    return _wrap(node, tag, _inlines(node, depth + 1))


def _join(parts: Iterable[str]) -> str:
    """Put pieces side by side so that the marks at their edges do not become others."""
    joined: list[str] = []
    for part in filter(None, parts):
        before = joined[-1] if joined else ""
        if before.endswith("!") and part[0] == "[":
            joined[-1] = before[:-1] + "\\!"  # would make the link an image
        elif part[0] in "*`~" and before.endswith(part[0]):
            joined.append("<!-- -->")  # keeps neighbours apart and shows nothing
        joined.append(part)
    return "".join(joined)


def _escape(text: str) -> str:
    """Text as Markdown: blanks evened out as a browser does, line ends kept as soft breaks."""
    text = _SPACE_RUN.sub(" ", text)
    return _INLINE_MARKUP.sub(lambda match: re.sub("(.)", r"\\\1", match[0]), text)


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
        return f"[{inner.strip()}]({_target(href)})"
    if tag in _KEPT_TAGS and inner:
        return f"<{tag}>{inner}</{tag}>"
    mark = _MARKS.get(tag)
    if mark is None or not inner.strip(" " + _BREAK):
        return f" {inner} " if tag in _BLOCKS or tag in {"li", "td", "th", "tr"} else inner
    core = inner.strip(" " + _BREAK)
    before, after = inner[: inner.index(core)], inner[inner.index(core) + len(core) :]
    if not (before or _opens(node, core)) or not (after or _closes(node, core)):
        name = _TAGS[mark]
        return f"{before}<{name}>{core}</{name}>{after}"
    return f"{before}{mark}{core}{mark}{after}"


def _opens(node: LexborNode, core: str) -> bool:
    """Whether a mark before ``core`` can open: punctuation behind it must not follow a letter."""
    before = node.prev.text()[-1:] if node.prev is not None else ""
    return not (_is_punctuation(core[0]) and before.strip() and not _is_punctuation(before))


def _closes(node: LexborNode, core: str) -> bool:
    """Whether a mark after ``core`` can close: punctuation before it must not precede a letter."""
    after = node.next.text()[:1] if node.next is not None else ""
    return not (_is_punctuation(core[-1]) and after.strip() and not _is_punctuation(after))


def _is_punctuation(character: str) -> bool:
    return unicodedata.category(character)[0] in "PS"


def _code_span(text: str) -> str:
    """Backticks around code, in the shortest run that the code does not hold itself."""
    text = text.replace(
        "\n", " "
    )  # as a browser shows it; a line of code must not be taken for text
    runs = {len(run) for run in re.findall(r"`+", text)}
    ticks = "`" * next(length for length in count(1) if length not in runs)
    edges = text[:1] + text[-1:]
    pad = " " if "`" in edges or (edges == "  " and text.strip()) else ""
    return f"{ticks}{pad}{text}{pad}{ticks}" if text else ""


def _target(address: str) -> str:
    """A link's address; in angle brackets if it would end early."""
    address = re.sub(r"[\r\n\t]", "", address)
    if re.search(r"[\s()<>]", address) or not address:
        return f"<{address.replace('<', '%3C').replace('>', '%3E')}>"
    return address


def _one_line(text: str) -> str:
    return _SPACE.sub(" ", text.replace(_BREAK, " ")).strip()


def _paragraph(text: str) -> str:
    text = _NEWLINE.sub("\n", _SPACE_RUN.sub(" ", text)).replace(_BREAK + "\n", _BREAK)
    text = re.sub(rf" *{_BREAK} *", _BREAK, text).strip(" \n" + _BREAK)
    text = re.sub(r"\n+", "\n", text).replace(_BREAK, "  \n")
    return _LINE_MARKUP.sub(_escape_line, text)


def _escape_line(match: re.Match[str]) -> str:
    markup, number, point = match.groups()
    return f"\\{markup}" if markup else f"{number}\\{point}"
