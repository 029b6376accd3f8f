"""Raw pages and dumps for these tests, how they are read, and plain settings to build with."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from datasets_scripts.pipeline import Drop
from datasets_scripts.sharegpt import inputs
from datasets_scripts.sharegpt.build import Settings
from datasets_scripts.sharegpt.inputs import Record
from datasets_scripts.sharegpt.pages import RawConversation, Unreadable
from tests.datasets_scripts.helpers import page, row

Read = Callable[..., tuple[list[Record], list[str]]]
Build = Callable[..., Path]

BOM = b"\xef\xbb\xbf"
ROW = row("a", "Why <b>?", "<div><p>Caf\N{LATIN SMALL LETTER E WITH ACUTE}</p></div>")
TWO = [ROW, row("b", "q", "r")]
PAGE = page(ROW)
LINES = b"".join(orjson.dumps(one) + b"\n" for one in TWO)
MANY = [row(f"id{n}", f"question {n}", "answer", views=n) for n in range(250)]
ROWS = [row(f"id{n}", f"question {n % 40}", "answer", f"more {n}", "yes") for n in range(60)]

PLAIN: dict[str, Any] = {
    "workers": 1,
    "banners": "keep",
    "refusals": "none",
    "languages": False,
    "personal_data": "off",
    "numbering": "keep",
    "encoding": "keep",
    "near_duplicates": 0.0,
    "test_share": 0.0,
}
"""Settings under which nothing is cleaned, in one process, all in ``train``."""


def settings_for(raw: Path, out: Path, **settings: Any) -> Settings:
    return Settings(str(raw), out, **PLAIN | settings)


def read_all(root: Path) -> tuple[list[Record], list[str]]:
    """All that is found, and what was ignored; pieces pass as to another process."""
    ignored: list[str] = []
    found: list[Record] = []
    for piece in inputs.pieces(root):
        found += inputs.read(pickle.loads(pickle.dumps(piece)), ignored)  # noqa: S301
    return found, ignored


def ids(found: list[Record]) -> list[str]:
    return [one.id for one in found if isinstance(one, RawConversation)]


def drops(found: list[Record]) -> list[tuple[str, Drop]]:
    return [(one.source, one.drop) for one in found if isinstance(one, Unreadable)]
