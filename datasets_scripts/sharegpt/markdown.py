"""HTML of a model's turn, as ChatGPT's page showed it, to CommonMark.

Tables, strikethrough and task lists are GFM's, formulas stand between ``$``. One walk over the tree
that Lexbor parses. Only model turns come here: a human turn is plain text. Code is byte-exact; text
is escaped only where it would otherwise become markup.

Nodes are the cost: each is read once, attributes only where one matters, and code is taken whole.
"""

import re
from typing import TypeAlias

from selectolax.lexbor import LexborNode

from datasets_scripts.sharegpt import commonmark, katex
from datasets_scripts.sharegpt.inline import BLOCKS, CONTAINERS, HEADINGS, LISTS, inline, line
from datasets_scripts.sharegpt.tree import MAX_DEPTH, parsed, siblings

MAX_INDENT = 400
"""Columns before a line. A line of one letter may cost this much, so it is bounded too."""

_MAX_PADDED = 10_000
"""Cells. Short rows of a larger table are not filled up, or few cells could ask for millions."""

_CELLS = {"td", "th"}
_ROW_GROUPS = {"thead", "tbody", "tfoot"}
_ALIGN = {"left": ":---", "center": ":---:", "right": "---:"}

_LANGUAGE = re.compile(r"language-([\w+#.-]+)")
_LABEL = re.compile(r"[\w+#.-]{1,30}")
_START = re.compile(r"[0-9]{1,9}")
_INTERRUPTS = re.compile(r"```|#{1,6} |> |[-*] |1[.)] ")
"""Blocks that need no empty line between themselves and whatever stands before."""
_CLOSED = re.compile(r"```|#{1,6} |---$")
"""Blocks that need none between themselves and whatever comes."""
_TASK = re.compile(r"\[[ xX]\] ")
_MAX_NUMBER = 999_999_999  # of a list item (CommonMark)


def to_markdown(html: str) -> str:
    """Convert one model turn. Never raises; text is neither lost nor invented."""
    strings: list[str] = []
    with parsed(html) as nodes:
        _gather(_loose(_blocks(nodes, 0, ""), ""), strings)
    return "".join(strings)


# Blocks. All lines of one but its first begin with ``indent``, what the lists and quotes around it
# ask for; whoever puts blocks together writes what stands before the first. A nested block is not
# copied into the one around it, or a long text in a deep list would be copied at every level.

Block: TypeAlias = "str | list[Block]"


def _gather(block: Block, strings: list[str]) -> None:
    if isinstance(block, str):
        strings.append(block)
        return
    for part in block:
        if isinstance(part, str):
            strings.append(part)
        else:
            _gather(part, strings)


def _start(block: Block) -> str:
    """The first characters of a block."""
    while not isinstance(block, str):
        block = block[0]
    return block


def _blocks(nodes: list[LexborNode], depth: int, indent: str) -> list[Block]:
    """The block elements among nodes; loose text between them becomes paragraphs."""
    if len(nodes) == 1 and nodes[0].tag == "-text":
        text = commonmark.text_paragraph(nodes[0].text_content or "")
        return [_indented(text, indent)] if text else []
    blocks: list[Block] = []
    run: list[str] = []
    marker = ""  # of the list just before, so that the next one does not continue it
    flat = depth >= MAX_DEPTH or len(indent) > MAX_INDENT
    for child in nodes:
        tag = child.tag or ""
        if tag in BLOCKS and not flat:
            if run and _flush(run, blocks, indent):
                marker = ""
            if tag in CONTAINERS:
                rendered = _blocks(siblings(child.first_child), depth + 1, indent)
                marker = "" if rendered else marker
            elif tag in LISTS:
                marker = _next_marker(tag, marker)
                rendered = _list(child, marker, depth + 1, indent)
            else:
                rendered = _block(child, tag, depth + 1, indent)
                marker = "" if rendered else marker
            blocks += rendered
        elif tag == "span" and (formula := katex.display(child)):
            _flush(run, blocks, indent)
            blocks.append(_indented(f"$$\n{formula}\n$$", indent))
            marker = ""
        else:
            run.append(inline(child, tag, depth + 1, ()))
    if run:
        _flush(run, blocks, indent)
    return blocks


def _flush(run: list[str], blocks: list[Block], indent: str) -> bool:
    """Write the loose text gathered so far as a paragraph; whether there was any."""
    paragraph = commonmark.paragraph(commonmark.join(run))
    run.clear()
    if paragraph:
        blocks.append(_indented(paragraph, indent))
    return bool(paragraph)


def _block(node: LexborNode, tag: str, depth: int, indent: str) -> list[Block]:
    if tag == "pre":
        return [_indented(_code_block(node), indent)]
    if tag in HEADINGS:
        text = line(siblings(node.first_child), depth)
        return [commonmark.heading(text, HEADINGS[tag])] if text.strip(commonmark.BLANKS) else []
    if tag == "blockquote":
        blocks = _blocks(siblings(node.first_child), depth, f"{indent}> ")
        return [["> ", *_loose(blocks, f"{indent}> ")]] if blocks else []
    if tag == "table":
        return _table(node, depth, indent)
    return ["---"]


def _indented(block: str, indent: str) -> str:
    """A block with ``indent`` before each line but the first; empty lines take no blanks."""
    if not indent or "\n" not in block:
        return block
    if "\n\n" not in block:
        return block.replace("\n", f"\n{indent}")
    first, *lines = block.split("\n")
    empty = indent.rstrip()
    return "\n".join([first, *[indent + line if line else empty for line in lines]])


def _loose(blocks: list[Block], indent: str) -> list[Block]:
    """Blocks with an empty line between them."""
    return _between(blocks, f"\n{indent.rstrip()}\n{indent}")


def _between(blocks: list[Block], separator: str) -> list[Block]:
    parts: list[Block] = [separator] * (2 * len(blocks) - 1)
    parts[::2] = blocks
    return parts


def _tight(blocks: list[Block], indent: str) -> list[Block]:
    """Blocks of an item without empty lines between them, where Markdown can do without."""
    parts = blocks[:1]
    for before, block in zip(map(_start, blocks), blocks[1:], strict=False):
        start = _start(block)
        merges = start[0] == before[0] == ">"
        if (_CLOSED.match(before) or _INTERRUPTS.match(start)) and not merges:
            parts.append(f"\n{indent}")
        else:
            parts.append(f"\n{indent.rstrip()}\n{indent}")
        parts.append(block)
    return parts


def _next_marker(tag: str, before: str) -> str:
    """``-`` or ``.``; the other style if a list of the same kind stands directly before."""
    if tag == "ul":
        return "*" if before == "-" else "-"
    return ")" if before == "." else "."


def _list(node: LexborNode, marker: str, depth: int, indent: str) -> list[Block]:
    items = _items(node)
    loose = any(child.tag == "p" for item in items for child in item)
    together = _loose if loose else _tight
    number = 0
    if marker in ".)":
        start = node.attributes.get("start") or ""
        number = int(start) if _START.fullmatch(start) else 1
    rendered: list[Block] = []
    for item in items:
        bullet = f"{min(number, _MAX_NUMBER)}{marker} " if marker in ".)" else f"{marker} "
        number += 1
        inner = indent + " " * len(bullet)
        blocks = _blocks(item, depth, inner)
        if blocks and _start(blocks[0])[0] in "-[":
            blocks[0] = _beside_bullet(blocks[0], item)
        if len(blocks) == 1 and isinstance(blocks[0], str):  # as most items
            rendered.append(bullet + blocks[0])
        else:
            rendered.append([bullet, *together(blocks, inner)] if blocks else bullet.rstrip())
    if not rendered:
        return []
    return [_loose(rendered, indent) if loose else _between(rendered, f"\n{indent}")]


def _beside_bullet(block: Block, item: list[LexborNode]) -> Block:
    """An item's first block, if the bullet would make something else of it."""
    if block == "---":
        return "___"  # the other would be a rule with one dash more, and no item
    if isinstance(block, str) and _TASK.match(block):
        heads = [child.first_child if child.tag == "p" else child for child in item]
        if not any(head is not None and head.tag == "input" for head in heads):
            return f"\\{block}"
    return block


def _items(node: LexborNode) -> list[list[LexborNode]]:
    """What is in each item; what stands between two, such as a nested list, ends the first."""
    items: list[list[LexborNode]] = []
    for child in siblings(node.first_child):
        tag = child.tag
        if tag == "li":
            items.append(siblings(child.first_child))
        elif tag != "-text" or (child.text_content or "").strip():
            if items:
                items[-1].append(child)
            else:
                items.append([child])
    return items


def _code_block(node: LexborNode) -> str:
    """A fenced block: the text of ``<code>`` as it is, without bar, button and colours."""
    code = _only_code(node)
    if code is None:
        return commonmark.code_block(node.text_lexbor(), "")
    label = _LANGUAGE.search(code.attributes.get("class") or "")
    return commonmark.code_block(code.text_lexbor(), label[1] if label else _bar_label(node))


def _only_code(node: LexborNode) -> LexborNode | None:
    """The one ``<code>`` of a block, beside which only the page's bar stands; else nothing."""
    codes = node.css("code")
    if len(codes) != 1:
        return None
    for child in siblings(node.first_child):
        if child.tag == "-text" and (child.text_content or "").strip():
            return None
    return codes[0]


def _bar_label(node: LexborNode) -> str:
    """The language that the code bar shows; the bar's own ``Copy code`` is none."""
    bar = node.css_first("span")
    inside = bar is not None and bar.parent is not None and bar.parent.tag == "div"
    word = bar.text_lexbor().strip() if inside and bar is not None else ""
    return word.lower() if _LABEL.fullmatch(word) else ""


def _table(node: LexborNode, depth: int, indent: str) -> list[Block]:
    parts = siblings(node.first_child)
    caption = _blocks([part for part in parts if part.tag == "caption"], depth, indent)
    groups = [siblings(part.first_child) for part in parts if part.tag in _ROW_GROUPS]
    rows = [siblings(row.first_child) for group in (parts, *groups) for row in group]
    rows = [[cell for cell in row if cell.tag in _CELLS] for row in rows]
    rows = [row for row in rows if row]
    if not rows:
        return caption
    width = max(map(len, rows))
    padded = width if width * len(rows) <= _MAX_PADDED else 0
    lines: list[str] = []
    for row in rows:
        cells = [commonmark.cell(line(siblings(cell.first_child), depth)) for cell in row]
        lines.append(_row(cells, padded if lines else width))
    ruler = [_ALIGN.get((cell.attributes.get("align") or "").lower(), "---") for cell in rows[0]]
    ruler += ["---"] * (width - len(ruler))
    lines.insert(1, _row(ruler, width))
    return [*caption, f"\n{indent}".join(lines)]


def _row(cells: list[str], width: int) -> str:
    return f"| {' | '.join(cells + [''] * (width - len(cells)))} |"


if __name__ == "__main__":
    from datasets_scripts.sharegpt import convert

    convert.main()
