"""Formulas: TeX from what KaTeX drew, as the page had it and as a sanitiser left it."""

from collections.abc import Callable
from html import escape

import pytest

from datasets_scripts.sharegpt import katex
from datasets_scripts.sharegpt.katex import recover
from datasets_scripts.sharegpt.markdown import to_markdown

Era = Callable[[str, str, str], str]


def raw(mathml: str, tex: str, seen: str) -> str:
    return (
        f'<span class="katex"><span class="katex-mathml"><math><semantics>{mathml}<annotation '
        f'encoding="application/x-tex">{tex}</annotation></semantics></math></span>'
        f'<span class="katex-html" aria-hidden="true">{seen}</span></span>'
    )


def sanitized(mathml: str, tex: str, seen: str) -> str:
    return (
        f'<span class="katex"><span class="katex-mathml">{mathml}{tex}</span>'
        f'<span class="katex-html">{seen}</span></span>'
    )


# MathML's text, the TeX, and what KaTeX's HTML shows: in another order, without drawn accents.
FORMULAS = [
    ("x", "x", "x"),
    ("n=1", "n = 1", "n=1"),
    ("2\u22123", "2-3", "2\u22123"),
    ("ab", r"\frac{a}{b}", "ba\u200b"),
    ("\u2211k=1nk2", r"\sum_{k=1}^n k^2", "k=1\u2211n\u200bk2"),
    ("v\u20d7", r"\vec{v}", "v"),
    ("y^", r"\hat{y}", "y^\u200b"),
    ("AB\u203e", r"\overline{AB}", "AB\u200b"),
    ("x\u2260y", r"x \neq y", "x\ue020=y"),
    ("if\u00a0x", r"\text{if } x", "if\u00a0x"),
    ("sin\u2061x", r"\sin x", "sinx"),
    (
        "{1x2y3z",
        r"\begin{cases}1 & x \\ 2 & y \\ 3 & z\end{cases}",
        "\u23a9\u23a8\u23a7\u200b123\u200bxyz\u200b",
    ),
    ("\\{a\\}".replace("\\", ""), r"\{a\}", "{a}"),
    ("12", "12", "12"),
    ("\u03b1", "\u03b1", "\u03b1"),
]


@pytest.mark.parametrize(("mathml", "tex", "seen"), FORMULAS)
@pytest.mark.parametrize("era", [raw, sanitized])
def test_the_tex_of_a_formula_is_kept(era: Era, mathml: str, tex: str, seen: str) -> None:
    formula = era(escape(mathml), escape(tex), escape(seen))
    assert to_markdown(f"<p>so {formula} holds</p>") == f"so ${tex}$ holds"
    display = f'<span class="katex-display">{formula}</span>'
    assert to_markdown(f"<p>so {display} holds</p>") == f"so\n\n$$\n{tex}\n$$\n\nholds"


UNCERTAIN = [
    ("f", r"\xrightarrow{f}", "\u2192f"),  # another character seen
    ("AB\u2192", r"\overrightarrow{AB}", "AB"),  # the arrow would pass for TeX
    ("AB^", r"\widehat{AB}", "AB"),
    ("xy", "", "xy"),  # no TeX at all
    ("x", "y", "abc"),
]


@pytest.mark.parametrize(("mathml", "tex", "seen"), UNCERTAIN)
def test_a_formula_whose_tex_is_not_certain_keeps_what_was_seen_once(
    mathml: str, tex: str, seen: str
) -> None:
    assert recover(mathml + tex, seen) == ""
    assert to_markdown(f"<p>so {sanitized(mathml, tex, seen)}.</p>") == f"so {seen}."


def test_a_formula_of_which_only_one_form_is_left_keeps_it() -> None:
    page = '<p>so <span class="katex"><span class="katex-mathml">ab</span></span></p>'
    assert to_markdown(page) == "so ab"


def test_what_is_no_formula_keeps_its_text() -> None:
    assert to_markdown('<p><span class="katex-error">\\bad{</span></p>') == "\\bad{"


def test_a_formula_takes_one_line_in_a_line_and_has_no_empty_one_by_itself() -> None:
    formula = raw("ab", "a\n\nb", "ab")
    assert to_markdown(f"<p>so {formula}</p>") == "so $a  b$"
    display = f'<ul><li><span class="katex-display">{formula}</span></li></ul>'
    assert to_markdown(display) == "- $$\n  a\n  b\n  $$"


def test_formulas_in_formulas_are_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[int] = []

    def counted(hidden: str, seen: str) -> str:
        compared.append(len(hidden) + len(seen))
        return ""

    monkeypatch.setattr(katex, "recover", counted)
    pair = sanitized("", "x" * 1_000, "y" * 1_000)
    around = '<span class="katex"><span class="katex-mathml">a</span><span class="katex-html">'
    for page in ('<span class="katex">' * 100 + pair, around * 100 + pair):
        to_markdown(f"<p>{page}</p>")
        assert sum(compared) <= 2 * 2_200
        compared.clear()
    to_markdown('<span class="katex-display">' * 100 + pair)
    assert sum(compared) <= 2 * 2_200
