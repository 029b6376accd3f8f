"""Formulas: the TeX from which KaTeX drew them.

KaTeX writes a formula three times: as MathML, as the TeX it came from (an ``annotation``) and as
what a reader sees. Pages from 2023-03-12 on went through a sanitiser that took MathML's tags away
and left their text: MathML's and the TeX, with nothing between.
"""

import re
import unicodedata
from collections import Counter

from selectolax.lexbor import LexborNode

from datasets_scripts.sharegpt.tree import siblings

_UNSEEN = "\u200b\u200c\u200d\u2060\u2061\u2062\u2063\u2064\ufeff"  # zero-width and operators
_DRAWN = "\u00af\u203e\u23b4\u23b5\u23de\u23df\ue020"  # lines, braces and strokes: no text in HTML
_PIECES = dict.fromkeys(map(ord, "⎝⎜⎠⎟⎣⎢⎦⎥⎧⎩⎪⎫⎭"), "") | dict(
    zip(map(ord, "⎛⎞⎡⎤⎨⎬"), "()[]{}", strict=True)
)
"""A bracket of several lines is put together from these in HTML, and is one character in MathML."""


def display(node: LexborNode) -> str:
    """The TeX of a formula by itself; nothing if the node is none, or its TeX is lost."""
    classes = _classes(node)
    tex = _tex(node, classes) if "katex-display" in classes else ""
    return re.sub(r"\n\s*\n", "\n", tex)  # an empty line would end the formula


def inline(node: LexborNode) -> str:
    """A formula in a line, in dollars; nothing if the node is none, or its TeX is lost."""
    classes = _classes(node)
    if "katex" not in classes and "katex-display" not in classes:
        return ""
    tex = " ".join(_tex(node, classes).splitlines())
    dollars = "$$" if "katex-display" in classes else "$"
    return f"{dollars}{tex}{dollars}" if tex else ""


def is_formula(node: LexborNode) -> bool:
    """Whether KaTeX drew it."""
    return "katex" in _classes(node)


def shown(node: LexborNode) -> list[LexborNode]:
    """The children of a ``span``; of a formula, only what a reader of the page sees."""
    children = siblings(node.first_child)
    if is_formula(node):
        seen = [child for child in children if "katex-html" in _classes(child)]
        return seen or children
    return children


def _classes(node: LexborNode) -> list[str]:
    return (node.attributes.get("class") or "").split()


def _tex(node: LexborNode, classes: list[str]) -> str:
    """The TeX where KaTeX puts it, and nowhere deeper: formulas in formulas are no formulas."""
    formula = node if "katex" in classes else _child(node, "katex")
    hidden = _child(formula, "katex-mathml")
    if formula is None or hidden is None:
        return ""
    here: LexborNode | None = hidden
    for tag in ("math", "semantics", "annotation"):
        children = siblings(here.first_child) if here is not None else []
        here = next((child for child in children if child.tag == tag), None)
    if here is not None:
        return here.text().strip()
    seen = _child(formula, "katex-html")
    return recover(hidden.text(), seen.text()) if seen is not None else ""


def _child(node: LexborNode | None, name: str) -> LexborNode | None:
    """The first child of a class."""
    children = siblings(node.first_child) if node is not None else []
    return next((child for child in children if name in _classes(child)), None)


def recover(hidden: str, seen: str) -> str:
    """The TeX in ``hidden``, which is MathML's text and then the TeX; nothing if it is not certain.

    MathML's text holds the characters that a reader sees, if in another order, so it ends after as
    many. A formula that stretches over several lines or holds what KaTeX draws is compared without.
    """
    wanted = [base for base in map(_base, seen.translate(_PIECES)) if base]
    passed: list[str] = []
    tex = ""
    for place, character in enumerate(hidden):
        base = _base(character)
        if base and len(passed) == len(wanted):
            tex = hidden[place:].strip()
            break
        if base:
            passed.append(base)
    # What else stands before the TeX is an accent that a reader sees drawn.
    foreign = tex[:1] in "^_~" or (not tex[:1].isascii() and tex[:1] not in seen)
    return tex if Counter(passed) == Counter(wanted) and not foreign else ""


def _base(character: str) -> str:
    """A character without what is put over or through it; nothing if that is all there is."""
    if character.isspace() or character in _UNSEEN or character in _DRAWN:
        return ""
    base = unicodedata.normalize("NFD", character)[0]
    return "" if unicodedata.combining(base) else base
