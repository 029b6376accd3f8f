"""How every command starts and ends: settings from a YAML file, then flags; one line for an error.

A command is a dataclass of settings and a function that takes it::

    if __name__ == "__main__":
        command.main(Settings, run)

Field names are the flags (``base_url`` is ``--base-url``) and the keys of ``--config FILE.yaml``.
What is given without a flag is declared by :func:`positional`. A program of several commands, each
with its settings and its function, ends in :func:`group` instead.
"""

import dataclasses
import os
import re
import sys
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from ultra.errors import SettingError, UltraError

S = TypeVar("S")


def positional(meaning: str = "one or more folders") -> Any:
    """A field of settings that takes a word without a flag; a list takes one or more of them.

    Words are taken in the order of the fields. ``meaning`` is what ``--help`` says of it. After
    ``--`` a word may begin with a dash.
    """
    return dataclasses.field(metadata={"positional": meaning})


def parse(
    settings: type[S], argv: Sequence[str], recipes: Path | None = None, program: str | None = None
) -> S:
    """Read settings from ``--config`` and flags; flags win, whatever their order.

    ``recipes`` is the folder in which a bare ``--config NAME`` is looked up as ``NAME.yaml``.
    ``program`` is what a person typed to start it, by default the module of the settings.

    Raises:
        SettingError: unknown key (names the nearest one), wrong value, missing or broken file.
    """
    found = _read_plain(settings, argv)
    if found is None:
        from ultra import command_parser  # whose import takes a tenth of a second

        found = command_parser.parse(settings, argv, recipes, program)
    return found


def _read_plain(settings: type[S], argv: Sequence[str]) -> S | None:
    """Settings from flags and words that mean one thing only; None leaves the rest to the parser.

    The rest is ``--help``, ``--config``, groups of settings, and everything that may be a mistake.
    """
    kinds = typing.get_type_hints(settings)
    fields: tuple[dataclasses.Field[Any], ...] = dataclasses.fields(settings)  # type: ignore[arg-type]
    places = [field.name for field in fields if "positional" in field.metadata]
    values: dict[str, Any] = {}
    words: list[tuple[int, str]] = []
    at = 0
    while at < len(argv):
        flag, equals, value = argv[at].partition("=")
        name = flag[2:].replace("-", "_")
        if not flag.startswith("-"):
            words.append((at, argv[at]))
        elif not flag.startswith("--") or name in {*values, *places} or name not in kinds:
            return None
        else:
            following = argv[at + 1] if at + 1 < len(argv) else ""
            if not equals and (kinds[name] is not bool or following in ("true", "false")):
                value, at = following, at + 1
            values[name] = True if kinds[name] is bool and not value else _plain(kinds[name], value)
        at += 1
    if words and words[-1][0] - words[0][0] >= len(words):  # flags stand between them
        return None
    values |= _placed(places, kinds, [word for _, word in words])
    missing = dataclasses.MISSING
    owed = [one.name for one in fields if one.default is missing is one.default_factory]
    if _UNCLEAR in values.values() or not values.keys() >= {*owed}:
        return None
    return settings(**values)


_UNCLEAR = object()
"""In the place of a value that only the whole parser can read, or refuse."""
_PLAIN_TEXT = re.compile(r"(?:\.{0,2}/|[A-Za-z])[\w./:@-]*", re.ASCII)
_YAML_WORDS = {"null", "true", "false", "yes", "no", "on", "off", "y", "n", "none"}


def _plain(kind: Any, text: str) -> Any:
    """A flag's value, if the text can mean nothing else."""
    options = [one for one in typing.get_args(kind) if one is not type(None)]
    if typing.get_origin(kind) is typing.Literal:
        return text if text in options else _UNCLEAR
    if type(None) in typing.get_args(kind) and len(options) == 1:
        kind = options[0]
    if kind in (str, Path) and _PLAIN_TEXT.fullmatch(text) and text.lower() not in _YAML_WORDS:
        return kind(text)
    if kind in (int, float) and re.fullmatch(r"(0|[1-9][0-9]{0,14})", text, re.ASCII):
        return kind(text)
    if kind is float and re.fullmatch(r"(0|[1-9][0-9]{0,14})\.[0-9]{1,20}", text, re.ASCII):
        return float(text)
    if kind is bool and text in ("true", "false"):
        return text == "true"
    return _UNCLEAR


def _placed(places: list[str], kinds: Mapping[str, Any], words: list[str]) -> dict[str, Any]:
    """Words by the field that they belong to, taken as they are."""
    found: dict[str, Any] = {}
    for name in places:
        kind = kinds[name]
        many = typing.get_origin(kind) is list
        taken, words = (words, []) if many else (words[:1], words[1:])
        each = typing.get_args(kind)[0] if many else kind
        if not taken or each not in (str, Path):
            return {"": _UNCLEAR}
        found[name] = [each(word) for word in taken] if many else each(taken[0])
    return {"": _UNCLEAR} if words else found


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


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the nearest known one, or nothing."""
    import difflib

    close = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean '{close[0]}'?" if close else ""
