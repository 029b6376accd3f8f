"""A suite of three questions, and a way to put fake models in the place of real ones."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.benchmarks.fakes import FakeChat, write_rows


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """Three questions; the second has two turns."""
    return write_rows(
        tmp_path / "small.jsonl",
        [
            {"id": "q1", "category": "tea", "turns": ["How hot?"]},
            {"id": "q2", "category": "tea", "turns": ["How long?", "And for green tea?"]},
            {"id": "q3", "category": "cake", "turns": ["Which cake?"]},
        ],
    )


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[FakeChat], FakeChat]:
    """Make a fake the model that is opened, whatever name is asked for."""

    def put(fake: FakeChat) -> FakeChat:
        monkeypatch.setattr("ultra.models.open_model", lambda name, base_url="": fake)
        return fake

    return put
