"""Pages of one file: no network, no script but ours, and nothing in a model's words that acts.

Words of models and judges become HTML in two steps, either of which would do: Markdown is rendered
with raw HTML shown as text, and what comes out is cut down to a list of harmless elements. A policy
in the page's head then lets the browser run and load nothing but what has our digests.
"""

import base64
import hashlib
import html
import re
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from ultra import jsonl

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

HERE = Path(__file__).parent / "pages"
MOST_CHARACTERS = 16_000
"""Of one text on a page. An answer of a megabyte helps nobody there; the files have it whole."""

_SLOT = re.compile(r"<!--([a-z_]+)-->")
_TAGS = set(
    "p br hr em strong s code pre blockquote ul ol li h1 h2 h3 h4 h5 h6 a "  # noqa: SIM905
    "table thead tbody tr th td".split()
)
_DEEPEST = 40
"""Quotes and lists within each other, which the renderer would leave out from there on."""


def fill(name: str, slots: Mapping[str, str]) -> str:
    """The page ``name`` of ``pages/``, with its style, its script and ``slots`` put in.

    Slots are ``<!--name-->`` and hold HTML. What is put in is not looked at again.
    """
    style = (HERE / "style.css").read_text(encoding="utf-8")
    script = (HERE / f"{name}.js").read_text(encoding="utf-8")
    policy = (
        f"default-src 'none'; style-src {_source(style)}; script-src {_source(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    parts = {
        **slots,
        "policy": policy,
        "style": f"<style>{style}</style>",
        "script": f"<script>{script}</script>",
    }
    template = (HERE / f"{name}.html").read_text(encoding="utf-8")
    return _SLOT.sub(lambda slot: parts[slot[1]], template)


def _source(code: str) -> str:
    """A style or script in the words of a Content-Security-Policy."""
    digest = hashlib.sha256(code.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def data(value: Any) -> str:
    """JSON for a script element, which nothing in it can end."""
    text = orjson.dumps(value).decode("utf-8")
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text


def text(value: Any) -> str:
    """Plain text, as HTML."""
    return html.escape(jsonl.scrub(str(value)))


def shortened(words: str) -> str:
    """Plain text of a page: the beginning of what is long, and no half of a surrogate pair."""
    more = "\n(only the beginning is shown; the files have all of it)"
    return jsonl.scrub(words[:MOST_CHARACTERS]) + (more if len(words) > MOST_CHARACTERS else "")


@lru_cache(maxsize=8192)  # a baseline's answers stand on the page of every model
def markdown(words: str) -> str:
    """Words of a model or judge as harmless HTML; of long ones the beginning."""
    import nh3

    words = jsonl.scrub(words[: MOST_CHARACTERS + 1])
    more = len(words) > MOST_CHARACTERS
    clean = nh3.clean(
        _rendered(words[:MOST_CHARACTERS]),
        tags=_TAGS,
        attributes={"a": {"href"}, "ol": {"start"}},
        url_schemes={"http", "https"},
        link_rel="noopener noreferrer nofollow",
        set_tag_attribute_values={"a": {"target": "_blank"}},
    )
    cut = "<p><em>(only the beginning is shown; the files have all of it)</em></p>" if more else ""
    return clean + cut


def _rendered(words: str) -> str:
    tokens = _markdown().parse(words)
    if any(token.level >= _DEEPEST - 2 for token in tokens):
        return f"<pre>{html.escape(words)}</pre>"
    rendered: str = _markdown().renderer.render(tokens, _markdown().options, {})
    return rendered


@cache
def _markdown() -> "MarkdownIt":
    from markdown_it import MarkdownIt

    made = MarkdownIt("commonmark", {"html": False, "breaks": True, "maxNesting": _DEEPEST})
    made.enable("table")
    made.add_render_rule("image", _image)
    return made


def _image(_: Any, tokens: Any, at: int, *__: Any) -> str:
    """An image as its text and address: looking at a page must tell nobody of it."""
    token = tokens[at]
    return (
        f"<code>[image: {html.escape(token.content)} {html.escape(str(token.attrs['src']))}]</code>"
    )
