"""From a name in a setting to a chat model."""

import sys
from pathlib import Path

from ultra.chat import ChatModel, OpenAIChat
from ultra.errors import SettingError

DEMO_NOTICE = (
    "{job}: no model is set, so the offline demo model is used; name a real one with {flag}, "
    "and its endpoint with --base-url or OPENAI_BASE_URL"
)


def open_model(name: str, base_url: str = "") -> ChatModel:
    """Open ``demo``, the folder of a checkpoint, or a model's name at an OpenAI-like endpoint.

    Raises:
        SettingError: a path without a checkpoint, or no key for the cloud endpoint.
    """
    if name == "demo":
        from ultra.demo import DemoChat

        return DemoChat()
    path = Path(name)
    if (path / "config.json").is_file():
        from ultra.local_chat import LocalChat

        return LocalChat(path)
    below = len(path.parts) > 1 and Path(path.parts[0]).is_dir()  # out/checkpoints/not-yet-trained
    if below or path.is_dir() or name.startswith("."):
        raise SettingError(f"model {name}: no checkpoint there (no config.json)")
    return OpenAIChat(name, base_url)


def display_name(name: str) -> str:
    """What rows and tables call the model that :func:`open_model` would open."""
    return open_model(name).name if (Path(name) / "config.json").is_file() else name


def chosen(name: str, job: str, flag: str) -> str:
    """The model set for a job, or ``demo`` after a notice that says so."""
    if name:
        return name
    print(DEMO_NOTICE.format(job=job, flag=flag), file=sys.stderr)
    return "demo"
