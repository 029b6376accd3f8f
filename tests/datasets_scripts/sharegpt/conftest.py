"""Folders of raw files that are read, and built from."""

from pathlib import Path
from typing import Any

import pytest

from datasets_scripts.sharegpt.build import build
from datasets_scripts.sharegpt.inputs import Record
from tests.datasets_scripts.sharegpt.raw import Build, Read, read_all, settings_for


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Put files into a folder and read it."""

    def run(**files: bytes) -> tuple[list[Record], list[str]]:
        for name, raw in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(raw)
        return read_all(tmp_path)

    return run


@pytest.fixture
def build_from(tmp_path: Path) -> Build:
    """Put files into a folder of their own and build a release from it, all in ``train``."""
    folders = iter(range(100))

    def run(files: dict[str, bytes], **settings: Any) -> Path:
        folder = tmp_path / f"made{next(folders)}"
        (folder / "raw").mkdir(parents=True)
        for name, raw in files.items():
            (folder / "raw" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "raw" / name).write_bytes(raw)
        return build(settings_for(folder / "raw", folder / "out", **settings))

    return run
