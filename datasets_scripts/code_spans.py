"""Code in Markdown, fenced or inline, set apart from the prose around it."""

import re
from collections.abc import Callable, Iterator

_CODE = re.compile(
    r"""
    ^[ \t>]*+ (?: (?:[-*+]|\d{1,9}[.)]) [ \t]++ )?+ (`{3,}|~{3,}) [^`\n]*+ (?:\n|\Z)
        (?: .*? ^[ \t>]*+ \1 [`~]*+ [ \t]*+ $ | .* )    # a fence nobody closed reaches to the end
    | `[^`\n]+`
    """,
    re.VERBOSE | re.MULTILINE | re.DOTALL,
)
_NOT_A_LINE_END = re.compile(r"[^\n]")


def blank(match: re.Match[str]) -> str:
    """What was found as a row of ``x``, line ends kept."""
    return _NOT_A_LINE_END.sub("x", match[0])


def mask_code(text: str) -> str:
    """A text with the same lines and length, where fenced and inline code is all ``x``."""
    return _CODE.sub(blank, text) if "`" in text or "~~~" in text else text


def outside_code(text: str, change: Callable[[str], str]) -> str:
    """Change the pieces of a text that are not fenced or inline code."""
    return "".join(change(piece) if prose else piece for prose, piece in _pieces(text))


def _pieces(text: str) -> Iterator[tuple[bool, str]]:
    end = 0
    for match in _CODE.finditer(text):
        yield True, text[end : match.start()]
        yield False, match[0]
        end = match.end()
    yield True, text[end:]
