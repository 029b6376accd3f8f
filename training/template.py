"""Chat templates: Jinja files that mark what the assistant says."""

from pathlib import Path

from ultra.errors import SettingError

TEMPLATES = Path(__file__).parent / "templates"


def read(name: str) -> str:
    """A chat template: a name in ``training/templates`` or the path of a Jinja file.

    Raises:
        SettingError: there is no such template.
    """
    path = TEMPLATES / f"{name}.jinja" if "/" not in name and "." not in name else Path(name)
    if not path.is_file():
        known = ", ".join(sorted(known.stem for known in TEMPLATES.glob("*.jinja")))
        raise SettingError(f"template {name}: no such file, and no template of that name ({known})")
    return path.read_text(encoding="utf-8").rstrip("\n")
