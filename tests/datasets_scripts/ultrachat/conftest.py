"""Openings, models and builds that the tests of UltraChat share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from datasets_scripts.ultrachat.build import build
from datasets_scripts.ultrachat.settings import Settings
from tests.datasets_scripts.ultrachat.fakes import FakeChat

Build = Callable[..., Path]


def write_openings(path: Path, count: int, sector: str = "world") -> Path:
    """A file of openings that are no duplicates of each other."""
    rows = [
        {"sector": sector, "topic": f"Topic {n}", "opening": f"Opening number {n}?"}
        for n in range(count)
    ]
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return path


def card_of(path: Path) -> str:
    """The card of a release, without its front matter."""
    return (path / "README.md").read_text("utf-8").split("---\n", 2)[2]


@pytest.fixture
def openings(tmp_path: Path) -> Path:
    return write_openings(tmp_path / "mine.jsonl", 12)


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> dict[str, FakeChat]:
    """Models by name, opened in place of real ones."""
    cast = {name: FakeChat(name) for name in ("asker", "helper", "grader")}
    monkeypatch.setattr("ultra.models.open_model", lambda name, base_url="": cast[name])
    return cast


@pytest.fixture
def run(openings: Path, models: dict[str, FakeChat], tmp_path: Path) -> Build:
    """Build with two fakes, into a folder under a name."""

    def start(out: str = "out", **settings: Any) -> Path:
        chosen: dict[str, Any] = {
            "openings": openings,
            "out": tmp_path / out,
            "user_model": "asker",
            "assistant_model": "helper",
            "test_share": 0.2,
        }
        return build(Settings(**chosen | settings))

    return start
