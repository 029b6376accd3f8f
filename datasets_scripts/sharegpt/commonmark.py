"""Text as CommonMark: it stays text, whatever it looks like, with as few escapes as that takes."""

import re
import unicodedata
from collections.abc import Iterable
from itertools import count

BREAK = "\x00"
"""Stands for ``<br>`` until a paragraph or a table cell decides how to write it."""

BLANKS = " \n" + BREAK + "\u00a0\u1680\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
"""What may not stand at the inner edge of a mark (CommonMark: Unicode whitespace)."""

_APART = "<!-- -->"
"""Keeps neighbours apart and shows nothing."""

_TAGS = {"**": "strong", "*": "em", "~~": "del"}
_SPACE_RUN = re.compile(r" [ \t\r\f]+|[\t\r\f][ \t\r\f]*")
_LINE_END = re.compile(r" ?\n[ \n]*")
_PLAIN = bytes(set(range(256)) - set(b"\t\n\r\f\\`*_<&]~"))
"""Of text in UTF-8: text of nothing else needs no escape, and only runs of spaces evened out.

Deleting these is three times as fast as a search for the others."""

_INLINE_MARKUP = re.compile(
    # The ends of the text count as letters: anything may stand there. Each way begins with the
    # character itself and looks back over it, because then a search skips all other characters.
    r"""
    \\(?=[!-/:-@[-`{-~\n]|\Z)       # a backslash before punctuation or a line end means something
    | `
    | \*(?:(?<!\s\*)|(?!\s))
    | _(?:(?<![^\W_]_)(?!\s)|(?<!\s_)(?![^\W_]))
    | <(?=[a-zA-Z/!?]|\Z)           # would open a tag or an autolink
    | &(?=\#?\w*(?:;|\Z))           # would be an entity
    | \](?=[(:\[]|\Z)               # would end the text of a link
    | ~(?:(?<![\s~]~)~+|(?<!~~)~+(?![\s~])|(?<!.~)|\Z)
    """,
    re.VERBOSE | re.DOTALL,
)
_LINE_MARKUP = re.compile(
    r"""
    ^(?:
        ( \#{1,6}(?=\s|$) | > | [-+*](?=\s|$) | ~~~
        | (?:-+|=+)[ ]*$                      # would make the line above a heading
        | _(?=[ ]*_[ ]*_[_ ]*$)               # would be a rule
        | (?=[-:| ]+$)(?=.*-)[-:|]            # would make the line above the head of a table
        )
        | (\d{1,9})([.)](?=\s|$))
    )
    """,
    re.VERBOSE | re.MULTILINE,
)
_BRACKET = re.compile(r"\\[!-/:-@\[-`{-~]|[\[\]]")  # or any other character that is escaped
_BREAKS = re.compile(f"{BREAK}+")
_DEFINITION = re.compile(r"\[(?:[^\[\]\\]|\\.){1,999}\]:")
_HEADING_END = re.compile(r"(?:^|(?<= ))#+$")


def escape(text: str) -> str:
    """Part of a line as Markdown; what will stand beside it is not known.

    Blanks are evened out as a browser does, line ends stay as soft breaks.
    """
    if text.encode().translate(None, _PLAIN):
        return _INLINE_MARKUP.sub(_escape_all, _even(text))
    return _SPACE_RUN.sub(" ", text) if "  " in text else text


def _even(text: str) -> str:
    text = _SPACE_RUN.sub(" ", text)
    return _LINE_END.sub("\n", text) if "\n" in text else text


def escape_alone(text: str) -> str:
    """Text as Markdown that has a line, or several, for itself."""
    text = text.strip(" \t\n\r\f")
    if text.encode().translate(None, _PLAIN):
        return _INLINE_MARKUP.sub(_escape_all, f"\n{_even(text)}\n")[1:-1]
    return _SPACE_RUN.sub(" ", text) if "  " in text else text


def _escape_all(match: re.Match[str]) -> str:
    return "\\" + "\\".join(match[0])


def escape_brackets(escaped: str) -> str:
    """Text inside a link: brackets that do not pair up would end it early or not at all."""
    level = 0
    for bracket in _BRACKET.findall(escaped):
        level += (bracket == "[") - (bracket == "]")
        if level < 0:
            break
    return _BRACKET.sub(_escape_bracket, escaped) if level else escaped


def _escape_bracket(match: re.Match[str]) -> str:
    return match[0] if match[0].startswith("\\") else f"\\{match[0]}"


def join(parts: Iterable[str]) -> str:
    """Put pieces side by side: one blank where blanks meet, none beside a break.

    What stands at their edges must not become other markup together.
    """
    joined: list[str] = []
    last = ""
    for part in parts:
        if not part:
            continue
        first = part[0]
        if last and last in " \n\0" and first in " \n\0":
            part = _seam(joined, part)
        elif first == last and first in "*`~":
            joined.append(_APART)
        elif first == "[" and last == "!":
            joined[-1] = joined[-1][:-1] + "\\!"  # would make the link an image
        if part:
            joined.append(part)
            last = part[-1]
    return "".join(joined)


def _seam(joined: list[str], part: str) -> str:
    """Even out the blanks between what is joined and the next part; what is left of the part."""
    if joined[-1].endswith("\\ "):  # the blank keeps the backslash one
        return part if part[0] == BREAK else part.lstrip(" \n")
    if part[0] == BREAK:
        joined[-1] = joined[-1].rstrip(" \n")
        return part
    if part[0] == "\n" and joined[-1][-1] == " ":
        joined[-1] = joined[-1][:-1] + "\n"
    return part.lstrip(" \n")


def edges(text: str) -> tuple[str, str, str]:
    """Blanks before, what is between, blanks after: what a mark goes around must not be blank.

    What is between keeps its meaning without those blanks, and has no empty line inside.
    """
    core = text.strip(BLANKS)
    if not core:
        return text, "", ""
    start = text.find(core)
    before, after = text[:start], text[start + len(core) :]
    if core[0] in "*_~" and core[1:2] in BLANKS:
        core = f"\\{core}"
    if core[-1] in "*_~" and core[-2:-1] in BLANKS:
        core = f"{core[:-1]}\\{core[-1]}"
    elif (len(core) - len(core.rstrip("\\"))) % 2:
        core += "\\"
    return before, _BREAKS.sub(BREAK, core) if BREAK * 2 in core else core, after


def emphasis(core: str, mark: str, before: str, after: str) -> str:
    """Put ``mark`` around ``core``, or HTML tags where the neighbours would keep it from working.

    A mark opens and closes only beside the right characters (CommonMark, left- and right-flanking
    delimiter runs): punctuation inside it must not stand against a letter outside.
    """
    opens = not _is_punctuation(core[0]) or not before.strip() or _is_punctuation(before)
    closes = not _is_punctuation(core[-1]) or not after.strip() or _is_punctuation(after)
    tildes = mark == "~~" and "~" in core
    several = core[0] == core[-1] == "*" and "*" in core.strip("*")  # marks at both ends
    if opens and closes and not tildes and not several and _APART not in core:
        return f"{mark}{core}{mark}"
    return f"<{_TAGS[mark]}>{core}</{_TAGS[mark]}>"


def _is_punctuation(character: str) -> bool:
    return unicodedata.category(character)[0] in "PS"


def code_span(text: str) -> str:
    """Backticks around code, in the shortest run that the code does not hold itself."""
    if (
        "\n" in text or "\r" in text
    ):  # a browser shows a blank; a line of code must not look like text
        text = text.replace("\r\n", " ").replace("\n", " ").replace("\r", " ")
    if "`" not in text and text[:1] != " ":
        return f"`{text}`" if text else ""
    runs = {len(run) for run in re.findall(r"`+", text)}
    ticks = "`" * next(length for length in count(1) if length not in runs)
    edges = text[:1] + text[-1:]
    pad = " " if "`" in edges or (edges == "  " and text.strip(" ")) else ""
    return f"{ticks}{pad}{text}{pad}{ticks}"


def code_block(text: str, language: str) -> str:
    """A fenced block whose fence is longer than any in the code."""
    if "\r" in text:  # would be a line end to Markdown too, but one that no indent follows
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    fence = "```"
    if fence in text:
        fence = "`" * (max(map(len, re.findall(r"`{3,}", text))) + 1)
    end = "" if text.endswith("\n") or not text else "\n"
    return f"{fence}{language}\n{text}{end}{fence}"


def link_target(address: str) -> str:
    """A link's address; in angle brackets if it would end early."""
    if not address:
        return "<>"
    address = re.sub(r"[\r\n\t]", "", address).replace("\\", "\\\\")
    address = re.sub(r"&(?=#?\w+;)", "&amp;", address)
    if not address or re.search(r"[\s()<>\x00-\x1f\x7f]", address):
        return f"<{address.replace('<', '%3C').replace('>', '%3E')}>"
    return address


def cell(text: str) -> str:
    """The inside of a table's cell."""
    return one_line(text, "<br>").replace("|", "\\|")


def heading(text: str, level: int) -> str:
    """A heading's line; marks at its end would be taken for its close."""
    return f"{'#' * level} {_HEADING_END.sub(_escape_all, one_line(text))}"


def one_line(text: str, line_break: str = " ") -> str:
    """Text without line ends."""
    return text.strip(" \n" + BREAK).replace("\n", " ").replace(BREAK, line_break)


def text_paragraph(text: str) -> str:
    """A paragraph that is nothing but text, as most are."""
    text = escape_alone(text)
    return text if text[:1].isalpha() and "\n" not in text else paragraph(text)


def paragraph(text: str) -> str:
    """Inline Markdown as a block: breaks written out, line starts that look like blocks escaped."""
    text = text.strip(" \n" + BREAK)
    if BREAK in text:
        text = text.replace(BREAK, "  \n")
    if _DEFINITION.match(text):  # of a link: as when code holds the second bracket and the colon
        text = f"<span></span>{text}"
    if "\n" in text:
        return _LINE_MARKUP.sub(_escape_line, text)
    if text[:1].isalpha():
        return text
    start = _LINE_MARKUP.match(text)
    return _escape_line(start) + text[start.end() :] if start else text


def _escape_line(match: re.Match[str]) -> str:
    markup, number, point = match.groups()
    return f"\\{markup}" if markup else f"{number}\\{point}"
