"""Text as CommonMark: it stays text, whatever it looks like, with as few escapes as that takes."""

import re
import unicodedata
from collections.abc import Iterable
from itertools import count

BREAK = "\x00"
"""Stands for ``<br>`` until a paragraph or a table cell decides how to write it."""

_TAGS = {"**": "strong", "*": "em", "~~": "del"}
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
        | (?=[-:| ]+$)(?=.*-)(?=.*\|)[-:|]    # would make the line above the head of a table
        )
        | (\d{1,9})([.)](?=\s|$))
    )
    """,
    re.VERBOSE | re.MULTILINE,
)


def join(parts: Iterable[str]) -> str:
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


def escape(text: str) -> str:
    """Text as Markdown: blanks evened out as a browser does, line ends kept as soft breaks."""
    text = _SPACE_RUN.sub(" ", text)
    return _INLINE_MARKUP.sub(lambda match: re.sub("(.)", r"\\\1", match[0]), text)


def emphasis(core: str, mark: str, before: str, after: str) -> str:
    """Put ``mark`` around ``core``, or HTML tags where the neighbours would keep it from working.

    A mark opens and closes only beside the right characters (CommonMark, left- and right-flanking
    delimiter runs): punctuation inside it must not stand against a letter outside.
    """
    opens = not (_is_punctuation(core[0]) and before.strip() and not _is_punctuation(before))
    closes = not (_is_punctuation(core[-1]) and after.strip() and not _is_punctuation(after))
    if opens and closes:
        return f"{mark}{core}{mark}"
    return f"<{_TAGS[mark]}>{core}</{_TAGS[mark]}>"


def _is_punctuation(character: str) -> bool:
    return unicodedata.category(character)[0] in "PS"


def code_span(text: str) -> str:
    """Backticks around code, in the shortest run that the code does not hold itself."""
    text = text.replace("\n", " ")  # as a browser shows it; a line of it must not look like text
    runs = {len(run) for run in re.findall(r"`+", text)}
    ticks = "`" * next(length for length in count(1) if length not in runs)
    edges = text[:1] + text[-1:]
    pad = " " if "`" in edges or (edges == "  " and text.strip()) else ""
    return f"{ticks}{pad}{text}{pad}{ticks}" if text else ""


def link_target(address: str) -> str:
    """A link's address; in angle brackets if it would end early."""
    address = re.sub(r"[\r\n\t]", "", address)
    if re.search(r"[\s()<>]", address) or not address:
        return f"<{address.replace('<', '%3C').replace('>', '%3E')}>"
    return address


def cell(text: str) -> str:
    """The inside of a table's cell."""
    text = _SPACE.sub(" ", text).strip(" " + BREAK)
    return re.sub(rf" ?{BREAK} ?", "<br>", text).replace("|", "\\|")


def one_line(text: str) -> str:
    """Text without line ends, as a heading needs it."""
    return _SPACE.sub(" ", text.replace(BREAK, " ")).strip()


def paragraph(text: str) -> str:
    """Inline Markdown as a block: breaks written out, line starts that look like blocks escaped."""
    text = _NEWLINE.sub("\n", _SPACE_RUN.sub(" ", text)).replace(BREAK + "\n", BREAK)
    text = re.sub(rf" *{BREAK} *", BREAK, text).strip(" \n" + BREAK)
    text = re.sub(r"\n+", "\n", text).replace(BREAK, "  \n")
    return _LINE_MARKUP.sub(_escape_line, text)


def _escape_line(match: re.Match[str]) -> str:
    markup, number, point = match.groups()
    return f"\\{markup}" if markup else f"{number}\\{point}"
