"""Settings that every test runs under, and where the shared material lies."""

import os
from pathlib import Path

# Read when huggingface_hub and datasets are imported, so they are set before any test module is.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"
for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "HF_TOKEN"):
    os.environ.pop(name, None)

import pytest  # noqa: E402  (after the environment is set)

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"


@pytest.fixture
def golden() -> Path:
    """Published material that is not ours to ship; present in CI, seldom elsewhere."""
    folder = SHARED / "golden"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there: published judgments and raw pages are not shipped")
    return folder


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what ``datasets`` caches away from the person's own cache."""
    cache = tmp_path_factory.getbasetemp() / "hf-datasets"
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", cache)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(cache))
