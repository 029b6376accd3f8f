import subprocess
import sys
from pathlib import Path

import pytest

from ultra import models
from ultra.chat import OpenAIChat
from ultra.demo import DemoChat
from ultra.errors import SettingError
from ultra.local_chat import LocalChat


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = tmp_path / "my-model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    return folder


def test_demo_is_the_offline_model() -> None:
    assert isinstance(models.open_model("demo"), DemoChat)


def test_a_folder_with_a_config_is_a_checkpoint(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(models.open_model(str(checkpoint)), LocalChat)
    monkeypatch.chdir(checkpoint)
    model = models.open_model(".")
    assert isinstance(model, LocalChat)
    assert model.name.startswith("my-model@")


@pytest.mark.parametrize("name", ["./gone", "/gone", "../gone"])
def test_a_path_without_a_checkpoint_is_a_setting_error(name: str) -> None:
    with pytest.raises(SettingError, match="no checkpoint there"):
        models.open_model(name, "http://127.0.0.1:1/v1")


def test_a_folder_without_a_config_is_a_setting_error(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="no checkpoint there"):
        models.open_model(str(tmp_path), "http://127.0.0.1:1/v1")


def test_any_other_name_is_asked_for_at_the_endpoint() -> None:
    model = models.open_model("org/model", "http://127.0.0.1:1/v1")
    assert isinstance(model, OpenAIChat)
    assert model.name == "org/model"


def test_the_cloud_needs_a_key() -> None:
    with pytest.raises(SettingError, match="OPENAI_API_KEY"):
        models.open_model("gpt")


def test_demo_is_never_chosen_silently(capsys: pytest.CaptureFixture[str]) -> None:
    assert models.chosen("", "judge", "--judge") == "demo"
    notice = capsys.readouterr().err
    assert all(word in notice for word in ("judge", "demo", "--judge", "--base-url"))
    assert models.chosen("gpt", "judge", "--judge") == "gpt"
    assert capsys.readouterr().err == ""


def test_opening_a_model_imports_no_heavy_library(checkpoint: Path) -> None:
    code = (
        "import sys\n"
        "from ultra import command, journal, models, pool, release\n"
        f"for name in ('demo', {str(checkpoint)!r}): models.open_model(name)\n"
        "models.open_model('gpt', 'http://127.0.0.1:1/v1')\n"
        "print({'torch', 'transformers', 'datasets', 'openai'} & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_a_checkpoint_that_is_not_there_yet_is_no_name_at_an_endpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    for name in ("out/checkpoints/tiny", str(tmp_path / "tiny"), "./tiny"):
        with pytest.raises(SettingError, match="no checkpoint there"):
            models.open_model(name, "http://127.0.0.1:9/v1")
    assert models.open_model("org/tiny", "http://127.0.0.1:9/v1").name == "org/tiny"
