"""How much of an answer survives: HTML to Markdown, back to HTML, and the two pages compared.

Two pages are the same if their outlines are: blocks in order with their depth, numbers of lists,
rows and cells, words with their marks and links, code to the character. How far apart blocks stand
and attributes that a reader does not see are no part of it. The outline knows nothing of the
converter, so that the two cannot agree on a mistake.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import groupby, takewhile, zip_longest
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

from selectolax.lexbor import LexborHTMLParser, LexborNode

from ultra.errors import SettingError

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

_DEEPEST = 250
"""Elements nested deeper than this count by their text alone."""
_NESTING = 240
"""Levels that the reader of Markdown follows; a list is two. At 300 Python's stack would end."""

_CHROME = {"button", "svg", "script", "style", "title", "-comment", "template", "noscript"}
_HEADINGS = {f"h{level}" for level in range(1, 7)}
_PARAGRAPHS = {"p", "div", "section", "article", "main", "details", "summary", "figure"}
_PARAGRAPHS |= {"dl", "dt", "dd"}
_MARKS = {"strong": "strong", "b": "strong", "em": "em", "i": "em"}
_MARKS |= {"del": "del", "s": "del", "strike": "del"}
_MARKS |= {tag: tag for tag in ("sub", "sup", "kbd", "mark", "u")}
_NOT_SHOWN = re.compile(r"[\s\u200b-\u200d\u2060-\u2064]")
_SHOWN = re.compile(r"[^\s\u200b-\u200d\u2060-\u2064]")
_WORDS = re.compile(r"\s+|\S+")


class Piece(NamedTuple):
    """Text under the same marks; with a ``kind`` one thing: code, an image, a formula, a break."""

    text: str
    marks: frozenset[str] = frozenset()
    kind: str = ""


BREAK = Piece("\n", kind="break")


class Block(NamedTuple):
    """One line of an outline."""

    depth: int
    kind: str
    pieces: tuple[Piece, ...] = ()


@dataclass(frozen=True)
class Fidelity:
    """What came back of one answer."""

    text: bool
    """All of it, in order, blanks aside."""
    structure: bool
    """The whole outline."""
    codes: int
    exact: int
    """Code blocks, and how many of them came back to the character."""
    difference: str
    """The first one, for a person; empty if there is none."""


def compare(page: str, markdown: str) -> Fidelity:
    """Read Markdown as CommonMark and GFM do, and say how far it is the page it was made from.

    Raises:
        SettingError: the packages that read Markdown are not installed.
    """
    before = outline(page)
    formulas = any(piece.kind == "math" for block in before for piece in block.pieces)
    after = outline(render(markdown, formulas))
    codes, kept = (Counter(_codes(blocks)) for blocks in (before, after))
    return Fidelity(
        text=_text(before) == _text(after),
        structure=before == after,
        codes=codes.total(),
        exact=(codes & kept).total(),
        difference=_first_difference(before, after),
    )


def render(markdown: str, formulas: bool = False) -> str:
    """Markdown to HTML; ``$`` begins a formula only where there are some.

    Raises:
        SettingError: the packages that do it are not installed.
    """
    try:
        return str(_reader(formulas).render(markdown))
    except ImportError as error:
        raise SettingError(
            f"round_trip: needs {error.name}; pip install 'ultra-suite[check]'"
        ) from error


@cache
def _reader(formulas: bool) -> "MarkdownIt":
    from markdown_it import MarkdownIt
    from mdit_py_plugins.dollarmath import dollarmath_plugin
    from mdit_py_plugins.tasklists import tasklists_plugin

    class Reader(MarkdownIt):
        """Takes any address as it is, as the page did."""

        def validateLink(self, url: str) -> bool:  # noqa: ARG002, N802
            return True

        def normalizeLink(self, url: str) -> str:  # noqa: N802
            return url

    reader = Reader("commonmark", {"maxNesting": _NESTING})
    reader.enable(["table", "strikethrough"]).use(tasklists_plugin)
    if formulas:
        reader.use(dollarmath_plugin, allow_space=False, double_inline=True)
    return reader


def outline(page: str) -> list[Block]:
    """What a reader of a page sees, in order; the page's buttons and bars are no part of it."""
    body = LexborHTMLParser(page.replace("\0", "\N{REPLACEMENT CHARACTER}")).body
    view = _View()
    if body is not None:
        view.walk(body, 0)
        view.end(0)
    return view.blocks


class _View:
    """The outline so far, and the pieces that will be the next block's."""

    def __init__(self, level: int = 0) -> None:
        self.blocks: list[Block] = []
        self.run: list[Piece] = []
        self.level = level

    def walk(self, node: LexborNode, depth: int, marks: frozenset[str] = frozenset()) -> None:
        self.level += 1
        for child in _children(node):
            self.add(child, depth, marks)
        self.level -= 1

    def end(self, depth: int, kind: str = "p") -> None:
        """Make a block of the pieces that have come together, if there are any."""
        pieces = _evened(self.run)
        self.run.clear()
        if pieces:
            self.blocks.append(Block(depth, kind, pieces))

    def add(self, node: LexborNode, depth: int, marks: frozenset[str]) -> None:
        tag = node.tag or ""
        if tag in _CHROME:
            return
        if tag == "-text" or self.level > _DEEPEST:
            self.run.append(Piece(node.text(), marks))
        elif formula := _formula(node):
            # One on a line of its own is a block, wherever it stands.
            block = tag == "div" or "katex-display" in (node.attributes.get("class") or "")
            if block:
                self.end(depth)
            self.run.append(Piece(formula, marks, "math"))
            if block:
                self.end(depth, "math")
        elif atom := _atom(node, tag, marks):
            self.run.append(atom)
        elif tag in _PARAGRAPHS or tag in _HEADINGS:
            self.end(depth)
            self.walk(node, depth, marks)
            self.end(depth, tag if tag in _HEADINGS else "p")
        elif tag in {"pre", "hr", "ul", "ol", "blockquote", "table"}:
            self.end(depth)
            self._add_block(node, tag, depth)
        elif tag == "a" and (address := node.attributes.get("href")) is not None:
            self.walk(node, depth, marks | {f"a {unquote(address).strip()}"})
        else:
            self.walk(node, depth, marks | {_MARKS[tag]} if tag in _MARKS else marks)

    def _add_block(self, node: LexborNode, tag: str, depth: int) -> None:
        begin = len(self.blocks)
        if tag == "pre":
            self.blocks.append(Block(depth, "code", (Piece(_code(node)),)))
        elif tag == "hr":
            self.blocks.append(Block(depth, "hr"))
        elif tag == "table":
            self._add_table(node, depth)
        else:
            self._add_inside(node, tag, depth + 1)
            if len(self.blocks) > begin:
                start = node.attributes.get("start") or ""
                number = int(start) if re.fullmatch("[0-9]{1,9}", start) else 1
                kind = f"ol {number}" if tag == "ol" else tag
                self.blocks.insert(begin, Block(depth, kind))

    def _add_inside(self, node: LexborNode, tag: str, depth: int) -> None:
        """What is in a quote or a list; something between two items belongs to the first."""
        self.level += 1
        if tag == "blockquote":
            self.walk(node, depth)
            self.end(depth)
            self.level -= 1
            return
        begin = len(self.blocks)
        for child in _children(node):
            if child.tag == "li" or (len(self.blocks) == begin and child.text().strip()):
                self.end(depth + 1)
                self.blocks.append(Block(depth, "li"))
            if child.tag == "li":
                self.walk(child, depth + 1)
            else:
                self.add(child, depth + 1, frozenset())
        self.end(depth + 1)
        self.level -= 1

    def _add_table(self, node: LexborNode, depth: int) -> None:
        rows = []
        for part in _children(node):
            if part.tag == "caption":
                self.walk(part, depth)
                self.end(depth)
            rows += [part] if part.tag == "tr" else list(_children(part))
        cells = [
            [self._cell(cell) for cell in _children(row) if cell.tag in {"th", "td"}]
            for row in rows
        ]
        if any(cells):
            self.blocks.append(Block(depth, "table"))
        for row in filter(None, cells):
            while row and not row[-1]:
                row.pop()  # Markdown fills rows up to the same number of cells
            self.blocks.append(Block(depth + 1, "row"))
            self.blocks += [Block(depth + 2, "cell", pieces) for pieces in row]

    def _cell(self, node: LexborNode) -> tuple[Piece, ...]:
        """A cell is one line: all that stands in it, side by side."""
        view = _View(self.level + 3)  # body, row and cell
        view.walk(node, 0)
        view.end(0)
        return _evened([piece for block in view.blocks for piece in (*block.pieces, Piece(" "))])


def _children(node: LexborNode) -> Iterator[LexborNode]:
    child = node.child
    while child is not None:
        yield child
        child = child.next


def _atom(node: LexborNode, tag: str, marks: frozenset[str]) -> Piece | None:
    """An element that is one piece, whatever is in it."""
    attributes = node.attributes
    if tag == "br":
        return BREAK
    if tag == "code" and node.text():
        return Piece(node.text().replace("\n", " "), marks, "code")
    if tag == "img":
        return Piece(
            attributes.get("alt") or "", marks, f"image {unquote(attributes.get('src') or '')}"
        )
    if tag == "input" and attributes.get("type") == "checkbox":
        return Piece("[x]" if "checked" in attributes else "[ ]", kind="box")
    return None


def _formula(node: LexborNode) -> str:
    """The TeX of KaTeX's markup on the page, or of what a reader of Markdown made of ``$``."""
    classes = (node.attributes.get("class") or "").split()
    tex = ""
    if classes in (["math", "inline"], ["math", "block"]):
        tex = node.text()
    elif "katex" in classes or "katex-display" in classes:
        note = node.css_first("annotation")
        tex = _tex_at_the_end(node) if note is None else note.text()
    return " ".join(tex.split())


def _tex_at_the_end(node: LexborNode) -> str:
    """On sanitised pages TeX has lost its tag: it follows the characters that are shown."""
    mathml, shown = node.css_first(".katex-mathml"), node.css_first(".katex-html")
    if mathml is None or shown is None:
        return ""
    seen = sorted(_NOT_SHOWN.sub("", shown.text()))
    places = [match.end() for match in _SHOWN.finditer(mathml.text())][: len(seen)]
    end = places[-1] if places else 0
    same = sorted(_NOT_SHOWN.sub("", mathml.text()[:end])) == seen
    return mathml.text()[end:] if same else ""


def _code(node: LexborNode) -> str:
    """A block's code without the bar above it; whether its last line ends makes no difference."""
    codes = node.css("code")
    bare = any(child.tag == "-text" and child.text().strip() for child in _children(node))
    return (codes[0] if len(codes) == 1 and not bare else node).text().removesuffix("\n")


def _evened(run: list[Piece]) -> tuple[Piece, ...]:
    """Pieces with blanks as a browser shows them, and neighbours under the same marks as one."""
    pieces: list[Piece] = []
    gap = False
    for piece in run:
        for word in [piece.text] if piece.kind else _WORDS.findall(piece.text):
            if not piece.kind and word.isspace():
                gap = True
                continue
            if gap and pieces and BREAK not in (pieces[-1], piece):
                pieces.append(Piece(" ", pieces[-1].marks & piece.marks))
            pieces.append(Piece(word, piece.marks, piece.kind))
            gap = False
    while pieces and pieces[-1] == BREAK:
        pieces.pop()
    begin = next((at for at, piece in enumerate(pieces) if piece != BREAK), 0)
    evened: list[Piece] = []
    for (marks, kind), group in groupby(pieces[begin:], key=lambda piece: piece[1:]):
        same = list(group)
        evened += same if kind else [Piece("".join(piece.text for piece in same), marks)]
    return tuple(evened)


def _text(blocks: list[Block]) -> str:
    return "".join("".join(piece.text for block in blocks for piece in block.pieces).split())


def _codes(blocks: list[Block]) -> Iterator[str]:
    return (block.pieces[0].text for block in blocks if block.kind == "code")


def _first_difference(before: list[Block], after: list[Block]) -> str:
    """The first two lines that differ, from a little before where they part."""
    pairs = zip_longest(before, after, fillvalue=Block(0, "nothing"))
    one, other = next(((a, b) for a, b in pairs if a != b), (None, None))
    if one is None or other is None:
        return ""
    lines = [_line(one), _line(other)]
    same = takewhile(lambda pair: pair[0] == pair[1], zip(*lines, strict=False))
    begin = max(0, sum(1 for _ in same) - 20)
    return " came back as ".join(f"{line[begin : begin + 60]!r}" for line in lines)


def _line(block: Block) -> str:
    words = (
        f"<{','.join([*sorted(marks), kind]).strip(',')} {text}>" if marks or kind else text
        for text, marks, kind in block.pieces
    )
    return f"{block.depth} {block.kind}: {''.join(words)}"
