"""Plain flags and words are read without the whole parser, and mean the same to both."""

import subprocess
import sys
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Literal

import pytest

from tests.conftest import ROOT
from ultra import command, command_parser
from ultra.command import _read_plain
from ultra.errors import SettingError


@dataclass(frozen=True)
class Inner:
    """A group."""

    size: int = 1
    """How large."""


@dataclass(frozen=True)
class Plain:
    """Settings of every plain kind."""

    word: str = command.positional("a word")
    files: list[Path] = command.positional("files")
    name: str = "x"
    """A text."""
    count: int = 1
    """A number."""
    share: float | None = None
    """A share."""
    kind: Literal["a", "b"] = "a"
    """One of two."""
    on: bool = False
    """A switch."""
    out: Path | None = None
    """A path."""
    inner: Inner = field(default_factory=Inner)
    """A group."""


FLAGS = [
    ["--name", "abc"],
    ["--name=a-b.c/d:e@f"],
    ["--count", "12"],
    ["--share", "3"],
    ["--share", "0.359"],
    ["--kind", "b"],
    ["--on"],
    ["--on", "false"],
    ["--on=true"],
    ["--out", "./a/b.json"],
    ["--out=/a b"],
]
WORDS = ["w", "a.json"]


@pytest.mark.parametrize(("one", "two"), list(product(FLAGS, FLAGS)))
def test_plain_flags_are_read_as_the_parser_reads_them(one: list[str], two: list[str]) -> None:
    for argv in ([*WORDS, *one, *two], [*one, *WORDS, "b.json", *two]):
        quick = _read_plain(Plain, argv)
        if quick is not None:
            assert quick == command_parser.parse(Plain, argv)


def test_most_commands_need_no_more() -> None:
    argv = [*WORDS, "--count", "2", "--on", "--out", "o", "--share", "0.5", "--kind", "b"]
    assert _read_plain(Plain, argv) == Plain(
        "w", [Path("a.json")], count=2, share=0.5, kind="b", on=True, out=Path("o")
    )


@pytest.mark.parametrize(
    "argv",
    [
        *([*WORDS, "--name", word] for word in ("null", "Yes", "1e5", "", "~", "-b", "a b", "é")),
        *([*WORDS, "--count", word] for word in ("x", "1.5", "007", "1_0", "٣", "9" * 20, "null")),
        *([*WORDS, "--share", word] for word in ("1e-4", ".5", "nan", "null", "x")),
        *(
            [*WORDS, flag]
            for flag in ("-h", "--help", "--", "--config", "--nam=x", "--count", "-o")
        ),
        [*WORDS, "--kind", "c"],
        [*WORDS, "--on", "maybe", "--on"],
        [*WORDS, "--inner.size", "2"],
        [*WORDS, "--inner", "null"],
        [*WORDS, "--name", "a", "--name", "b"],
        ["w"],
        [],
        ["w", "--on", "a.json"],
    ],
)
def test_all_else_is_left_to_the_parser(argv: list[str]) -> None:
    assert _read_plain(Plain, argv) is None


def test_a_plain_command_does_not_import_the_parser() -> None:
    code = (
        "import sys; from ultra import command; from benchmarks.score import Settings\n"
        "command.parse(Settings, ['vicuna_80', 'a.jsonl', '--json'])\n"
        "heavy = {'jsonargparse', 'yaml', 'numpy', 'pandas', 'statistics', 'random', 'argparse'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_half_a_flag_is_a_mistake_that_names_the_whole_one() -> None:
    with pytest.raises(SettingError, match=r"did you mean '?(--)?name"):
        command.parse(Plain, [*WORDS, "--nam", "x"])
