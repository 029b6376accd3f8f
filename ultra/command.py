"""How every command starts and ends: settings from a YAML file, then flags; one line for an error.

A command is a dataclass of settings and a function that takes it::

    if __name__ == "__main__":
        command.main(Settings, run)

Field names are the flags (``base_url`` is ``--base-url``) and the keys of ``--config FILE.yaml``.
What is given without a flag is declared by :func:`positional`. A program of several commands, each
with its settings and its function, ends in :func:`group` instead.
"""

import argparse
import dataclasses
import difflib
import os
import re
import sys
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import jsonargparse
import yaml

from ultra.errors import SettingError, UltraError

S = TypeVar("S")


def positional(meaning: str = "one or more folders") -> Any:
    """A field of settings that takes a word without a flag; a list takes one or more of them.

    Words are taken in the order of the fields. ``meaning`` is what ``--help`` says of it. After
    ``--`` a word may begin with a dash.
    """
    return dataclasses.field(metadata={"positional": meaning})


class _Parser(jsonargparse.ArgumentParser):
    """Shows flags with dashes; the fields behind them have underscores."""

    def format_help(self, formatter: argparse.HelpFormatter | None = None) -> str:
        text = super().format_help(formatter)
        return _plain(re.sub(r"--[a-z_.]+", lambda match: match[0].replace("_", "-"), text))


def parse(
    settings: type[S], argv: Sequence[str], recipes: Path | None = None, program: str | None = None
) -> S:
    """Read settings from ``--config`` and flags; flags win, whatever their order.

    ``recipes`` is the folder in which a bare ``--config NAME`` is looked up as ``NAME.yaml``.
    ``program`` is what a person typed to start it, by default the module of the settings.

    Raises:
        SettingError: unknown key (names the nearest one), wrong value, missing or broken file.
    """
    jsonargparse.set_parsing_settings(
        docstring_parse_attribute_docstrings=True,
        instantiate_subclass_spec_in_any=False,  # a config file names values, never code to run
    )
    spec = sys.modules[settings.__module__].__spec__
    parser = _Parser(
        prog=program or (f"python -m {spec.name}" if spec else None),
        description=(settings.__doc__ or "").strip(),
        exit_on_error=False,
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
        switches = {name for name, kind in typing.get_type_hints(settings).items() if kind is bool}
        values = parser.parse_args(_switched(_config_first(argv, recipes), switches))
        values.pop("config")
        _refuse_null(settings, values)
        return settings(**vars(parser.instantiate(values)))
    except jsonargparse.ArgumentError as error:
        message = _plain(" ".join(str(error).split()))
        raise SettingError(message + _nearest(message, settings)) from error


def main(
    settings: type[S],
    run: Callable[[S], object],
    recipes: Path | None = None,
    program: str | None = None,
) -> NoReturn:
    """Run a command and exit: 0 done, 2 with one clear line on stderr, 130 interrupted."""
    _exit_after(lambda: run(parse(settings, sys.argv[1:], recipes, program)))


Command = tuple[type[Any], Callable[[Any], object]]
"""A dataclass of settings, and the function that takes them."""


def group(module: str, commands: Mapping[str, Command]) -> NoReturn:
    """Run the command that the first word names, and exit like :func:`main`.

    ``module`` is what a person runs with ``python -m``; ``commands`` are listed in their order.
    """
    _exit_after(lambda: _run_named(f"python -m {module}", commands, sys.argv[1:]))


def _run_named(program: str, commands: Mapping[str, Command], argv: Sequence[str]) -> None:
    names = ", ".join(commands)
    if not argv:
        raise SettingError(f"no command is given, one of: {names} (--help says what they do)")
    word, *rest = argv
    if word in ("-h", "--help"):
        print(f"usage: {program} {{{','.join(commands)}}} ...\n\ncommands:")
        for name, (settings, _) in commands.items():
            print(f"  {name:<10}{(settings.__doc__ or '').strip().partition(chr(10))[0]}")
        print("\nEach of them has its own --help.")
        return
    if word not in commands:
        hint = did_you_mean(word, commands)
        raise SettingError(f"{word}: no such command, it is one of: {names}{hint}")
    settings, run = commands[word]
    run(parse(settings, rest, program=f"{program} {word}"))


def _exit_after(run: Callable[[], object]) -> NoReturn:
    """Turn what happens in ``run`` into an exit code and at most one line on stderr."""
    try:
        run()
        code = 0
    except UltraError as error:
        print(f"error: {printable(' '.join(str(error).split()))}", file=sys.stderr)
        code = 2
    except BrokenPipeError:  # whoever read our output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except OSError as error:  # a full disk, a folder without permission: the machine's, not a bug
        place = "" if error.filename else " (writing to --out)"
        print(f"error: {printable(str(error))}{place}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        print("interrupted: nothing is lost; run the same command again", file=sys.stderr)
        code = 130
    sys.stdout.flush()
    sys.exit(code)


def printable(text: str) -> str:
    """Escape what a terminal would act on or not show; text of pages and of people is hostile."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


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


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the nearest known one, or nothing."""
    close = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean '{close[0]}'?" if close else ""


def _names(settings: type[Any]) -> list[str]:
    """Names of all settings, those of groups of settings among them."""
    names = []
    for name, kind in typing.get_type_hints(settings).items():
        names.append(name)
        for group in filter(dataclasses.is_dataclass, typing.get_args(kind) or (kind,)):
            inner = _names(typing.cast(type[Any], group))
            names += inner + [f"{name}.{one}" for one in inner]
    return names
