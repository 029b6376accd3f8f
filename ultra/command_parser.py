"""The whole parser of settings: config files, groups of settings, ``--help``, and clear errors.

:func:`ultra.command.parse` comes here with all that is not flags and words of plain values, since
importing this takes longer than many a command takes for its work.
"""

import argparse
import dataclasses
import re
import sys
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import jsonargparse
import yaml

from ultra.command import did_you_mean
from ultra.errors import SettingError

S = TypeVar("S")


class _Parser(jsonargparse.ArgumentParser):
    """Shows flags with dashes; the fields behind them have underscores."""

    def format_help(self, formatter: argparse.HelpFormatter | None = None) -> str:
        text = super().format_help(formatter)
        return _plain(re.sub(r"--[a-z_.]+", lambda match: match[0].replace("_", "-"), text))


def parse(
    settings: type[S], argv: Sequence[str], recipes: Path | None = None, program: str | None = None
) -> S:
    """Read settings as :func:`ultra.command.parse` does, which see."""
    jsonargparse.set_parsing_settings(
        docstring_parse_attribute_docstrings=True,
        instantiate_subclass_spec_in_any=False,  # a config file names values, never code to run
    )
    spec = sys.modules[settings.__module__].__spec__
    parser = _Parser(
        prog=program or (f"python -m {spec.name}" if spec else None),
        description=(settings.__doc__ or "").strip(),
        exit_on_error=False,
        allow_abbrev=False,  # half a flag is a mistake
    )
    parser.add_argument("--config", action="config", help="YAML file with any of these settings")
    fields: tuple[dataclasses.Field[Any], ...] = dataclasses.fields(settings)  # type: ignore[arg-type]
    words = {
        field.name: field.metadata["positional"]
        for field in fields
        if "positional" in field.metadata
    }
    for name, meaning in words.items():
        kind = typing.get_type_hints(settings)[name]
        if typing.get_origin(kind) is list:
            parser.add_argument(name, type=typing.get_args(kind)[0], nargs="+", help=meaning)
        else:
            parser.add_argument(name, type=kind, help=meaning)
    parser.add_class_arguments(settings, as_group=False, skip=set(words))
    try:
        kinds = typing.get_type_hints(settings)
        switches = {name for name, kind in kinds.items() if kind is bool}
        lists = {name for name, kind in kinds.items() if typing.get_origin(kind) is list}
        flags = _switched(_config_first(argv, recipes), switches)
        values = parser.parse_args(_appended(flags, lists - {*words}))
        values.pop("config")
        _refuse_null(settings, values)
        return settings(**vars(parser.instantiate(values)))
    except jsonargparse.ArgumentError as error:
        message = _plain(" ".join(str(error).split()))
        raise SettingError(message + _nearest(message, settings)) from error


def _config_first(argv: Sequence[str], recipes: Path | None) -> list[str]:
    """Put ``--config`` before the flags that override it; write flags with underscores."""
    config: list[str] = []
    flags: list[str] = []
    words = iter(argv)
    for word in words:
        name, equals, value = word.partition("=")
        if word == "--":  # what follows are words, whatever they look like
            flags += [word, *words]
        elif name == "--config":
            config += ["--config", _find_config(value if equals else next(words, ""), recipes)]
        elif name.startswith("--"):
            flags.append("--" + name[2:].replace("-", "_") + equals + value)
        else:
            flags.append(word)
    return config + flags


def _switched(flags: list[str], switches: set[str]) -> list[str]:
    """Let a flag that is true or false stand alone for true."""
    following = [*flags, ""][1:]
    return [
        f"{flag}=true" if flag[2:] in switches and value not in ("true", "false") else flag
        for flag, value in zip(flags, following, strict=True)
    ]


def _appended(flags: list[str], lists: set[str]) -> list[str]:
    """Let a flag that takes a list be given once for each of its values."""
    names = [flag.partition("=")[0][2:] if flag.startswith("--") else "" for flag in flags]
    return [
        flag.replace(f"--{name}", f"--{name}+", 1) if name in lists else flag
        for flag, name in zip(flags, names, strict=True)
    ]


def _find_config(name: str, recipes: Path | None) -> str:
    path = Path(name)
    if recipes is not None and not path.exists() and "/" not in name and not path.suffix:
        path = recipes / f"{name}.yaml"
        if not path.exists():
            known = ", ".join(sorted(path.stem for path in recipes.glob("*.yaml")))
            raise SettingError(
                f"--config {name}: no such file, and no recipe of that name ({known})"
            )
    try:
        written = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        why = " ".join(str(error).split())
        raise SettingError(f"--config {name}: cannot be read ({why})") from error
    if not isinstance(written, dict) or not all(isinstance(key, str) for key in written):
        raise SettingError(f"--config {name}: holds no settings, lines of 'name: value'")
    return str(path)


def _plain(text: str) -> str:
    """Words of the parser's without Python's names for things."""
    text = re.sub(r'Parser key "([\w.]+)":', r"\1:", text)
    text = re.sub(r"<class\s+'(?:\w+\.)*(\w+)'>", r"\1", text)
    return re.sub(r"(typing\.)?Literal\[", "one of [", text)


def _refuse_null(settings: type[Any], values: jsonargparse.Namespace) -> None:
    """``null`` in a config file passes for any type; here it is only let through where it fits."""
    for name, kind in typing.get_type_hints(settings).items():
        value, kinds = getattr(values, name, ""), typing.get_args(kind) or (kind,)
        if value is None and type(None) not in kinds:
            raise SettingError(f"{name}: must not be null")
        if isinstance(value, jsonargparse.Namespace):
            group = next(kind for kind in kinds if dataclasses.is_dataclass(kind))
            _refuse_null(typing.cast(type[Any], group), value)


def _nearest(message: str, settings: type[Any]) -> str:
    """A hint after a message about an unknown name."""
    found = re.search(r"option '([\w.]+)'|arguments: --([\w.]+)", message, re.IGNORECASE)
    return did_you_mean(found[1] or found[2], _names(settings)) if found else ""


def _names(settings: type[Any]) -> list[str]:
    """Names of all settings, those of groups of settings among them."""
    names = []
    for name, kind in typing.get_type_hints(settings).items():
        names.append(name)
        for group in filter(dataclasses.is_dataclass, typing.get_args(kind) or (kind,)):
            inner = _names(typing.cast(type[Any], group))
            names += inner + [f"{name}.{one}" for one in inner]
    return names
