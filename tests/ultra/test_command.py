import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import ROOT
from ultra import command
from ultra.errors import InputError, SettingError


@dataclass(frozen=True)
class Size:
    """Size of a thing."""

    width: int = 1
    """How wide."""


@dataclass(frozen=True)
class Settings:
    """Do a thing."""

    base_url: str = ""
    """Where it is."""
    count: int = 1
    """How often."""
    out: Path = Path("out")
    """Where to."""
    size: Size | None = None
    """How large."""

    def __post_init__(self) -> None:
        if self.count < 1:
            raise SettingError(f"count: {self.count} is not 1 or more")


@dataclass(frozen=True)
class Folders:
    """Read folders."""

    raw: list[Path] = command.positional()
    count: int = 1
    """How often."""


@dataclass(frozen=True)
class Find:
    """Find a thing.

    In a folder.
    """

    folder: Path = command.positional("where it may be")
    name: str = command.positional("what it is called")
    count: int = 1
    """How often."""


@pytest.fixture
def recipes(tmp_path: Path) -> Path:
    (tmp_path / "five.yaml").write_text("count: 5\nsize:\n  width: 7\n")
    return tmp_path


def settings_file(folder: Path, text: str) -> str:
    path = folder / "settings.yaml"
    path.write_text(text)
    return str(path)


def test_no_arguments_give_the_defaults() -> None:
    assert command.parse(Settings, []) == Settings()


@pytest.mark.parametrize("config", [["--config", "five"], ["--config=five"]])
@pytest.mark.parametrize("flag_first", [True, False])
def test_flags_win_over_the_file_whatever_their_order(
    config: list[str], flag_first: bool, recipes: Path
) -> None:
    flags = ["--base-url", "http://x-y"]
    argv = [*flags, "--count=2", *config] if flag_first else [*config, "--count=2", *flags]
    assert command.parse(Settings, argv, recipes) == Settings("http://x-y", 2, size=Size(7))


def test_a_value_keeps_its_dashes() -> None:
    assert command.parse(Settings, ["--base-url=http://a--b-c"]).base_url == "http://a--b-c"


def test_bare_words_are_the_positional_field() -> None:
    assert command.parse(Folders, ["--count", "2", "a-b", "c"]) == Folders(
        [Path("a-b"), Path("c")], 2
    )


@pytest.mark.parametrize(
    "name", ["b", "12", "null", "1e5", "[", '{"a": 1}', "- b", "a: b", "", "é"]
)
def test_single_words_are_taken_in_order_and_as_they_are(name: str) -> None:
    assert command.parse(Find, ["a", name]) == Find(Path("a"), name)
    assert command.parse(Find, ["a", "--count", "2", name]) == Find(Path("a"), name, 2)


@pytest.mark.parametrize("name", ["-b", "--b-c", "--count", "--config", "--config=c"])
def test_after_two_dashes_a_word_may_look_like_a_flag(name: str) -> None:
    assert command.parse(Find, ["--count", "2", "--", "a", name]) == Find(Path("a"), name, 2)


@pytest.mark.parametrize(
    ("argv", "part"),
    [([], "required: folder, name"), (["a"], "required: name"), (["a", "b", "c"], "c")],
)
def test_words_too_few_or_too_many_are_named(argv: list[str], part: str) -> None:
    with pytest.raises(SettingError, match=part):
        command.parse(Find, argv)


@pytest.mark.parametrize(
    ("argv", "parts"),
    [
        (["--cuont", "3"], ["cuont", "did you mean 'count'?"]),
        (["--count", "many"], ["count", "many"]),
        (["--count", "0"], ["count: 0 is not 1 or more"]),
        (["--count"], ["count", "expected one argument"]),
        (["stray"], ["stray"]),
        (["--config", "sixth"], ["sixth", "no recipe of that name (five)"]),
        (["--config", "gone.yaml"], ["gone.yaml"]),
        (["--config"], ["config"]),
    ],
)
def test_a_wrong_setting_is_named_in_one_line(
    argv: list[str], parts: list[str], recipes: Path
) -> None:
    with pytest.raises(SettingError) as caught:
        command.parse(Settings, argv, recipes)
    message = str(caught.value)
    assert "\n" not in message
    assert all(part in message for part in parts), message


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("cuont: 5\n", "did you mean 'count'?"),
        ("count: many\n", "count"),
        ("count: [5\n", "config"),
        ("- a\n", "config"),
        ("five", "config"),
        ("size:\n  widht: 5\n", "did you mean 'width'?"),
        ("size:\n  width: null\n", "width: must not be null"),
        ("count: 2024-13-45\n", "cannot be read"),
        ("1: 2\n", "holds no settings"),
        ("count: null\n", "count: must not be null"),
        ("out: null\n", "out: must not be null"),
    ],
)
def test_a_wrong_file_is_a_setting_error(text: str, part: str, tmp_path: Path) -> None:
    with pytest.raises(SettingError) as caught:
        command.parse(Settings, ["--config", settings_file(tmp_path, text)])
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["count: [5\n", "- a\n", "", "count: \0\n", "{[1]: 2, {}: 3}"])
def test_an_unreadable_settings_file_is_named(text: str, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"settings\.yaml"):
        command.parse(Settings, ["--config", settings_file(tmp_path, text)])


def test_a_settings_file_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_bytes(b"out: caf\xe9\n")
    with pytest.raises(SettingError, match=r"settings\.yaml: cannot be read"):
        command.parse(Settings, ["--config", str(tmp_path / "settings.yaml")])


def test_null_is_fine_where_the_type_allows_it(tmp_path: Path) -> None:
    file = settings_file(tmp_path, "size: null\n")
    assert command.parse(Settings, ["--config", file]) == Settings()


def test_help_shows_flags_with_dashes_and_their_meaning(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        command.parse(Settings, ["--help"])
    shown = capsys.readouterr().out
    assert exit.value.code == 0
    assert "--base-url" in shown
    assert "--base_url" not in shown
    assert "Where it is." in shown


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (InputError("raw: no such folder"), 2, "error: raw: no such folder"),
        (
            OSError(28, "No space left on device"),
            2,
            "error: [Errno 28] No space left on device (writing to --out)",
        ),
        (KeyboardInterrupt(), 130, "interrupted: nothing is lost; run the same command again"),
        (None, 0, ""),
    ],
)
def test_a_command_ends_with_one_line_and_a_code(
    error: BaseException | None,
    code: int,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.argv", ["command", "--count", "2"])

    def run(settings: Settings) -> None:
        assert settings.count == 2
        if error:
            raise error

    with pytest.raises(SystemExit) as exit:
        command.main(Settings, run)
    assert exit.value.code == code
    assert capsys.readouterr().err.strip() == line


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["command"])

    def run(settings: Settings) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        command.main(Settings, run)


def test_a_reader_that_leaves_early_is_no_error() -> None:
    code = (
        "from tests.ultra.test_command import Settings\n"
        "from ultra import command\n"
        "def run(settings):\n"
        "    while True: print('line')\n"
        "command.main(Settings, run)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"line\n"
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


# Several commands in one program.


@dataclass
class Ran:
    code: int
    out: str
    err: str
    settings: object = None


@pytest.fixture
def group(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Ran]:
    """Run one of two commands, ``find`` and ``do``, with some words."""

    def run(*argv: str, error: BaseException | None = None) -> Ran:
        seen: list[object] = []

        def work(settings: object) -> None:
            seen.append(settings)
            if error:
                raise error

        monkeypatch.setattr("sys.argv", ["program", *argv])
        with pytest.raises(SystemExit) as exit:
            command.group("some.things", {"find": (Find, work), "do": (Settings, work)})
        printed = capsys.readouterr()
        assert isinstance(exit.value.code, int)
        return Ran(exit.value.code, printed.out, printed.err.strip(), *seen)

    return run


def test_the_first_word_names_the_command(group: Callable[..., Ran]) -> None:
    assert group("find", "a", "b") == Ran(0, "", "", Find(Path("a"), "b"))
    assert group("do", "--count", "3") == Ran(0, "", "", Settings(count=3))


def test_a_command_of_a_group_ends_like_any_other(group: Callable[..., Ran]) -> None:
    ran = group("find", "a", "b", error=InputError("a: no such folder"))
    assert (ran.code, ran.out, ran.err) == (2, "", "error: a: no such folder")
    assert group("do", error=KeyboardInterrupt()).code == 130
    with pytest.raises(ZeroDivisionError):
        group("do", error=ZeroDivisionError())


@pytest.mark.parametrize(
    ("argv", "parts"),
    [
        ([], ["no command is given, one of: find, do", "--help"]),
        (["fnid"], ["fnid: no such command", "find, do", "did you mean 'find'?"]),
        (["--count", "3", "do"], ["--count: no such command", "find, do"]),
        (["find", "a"], ["required: name"]),
        (["do", "--cuont", "3"], ["did you mean 'count'?"]),
    ],
)
def test_a_wrong_command_is_named_in_one_line(
    argv: list[str], parts: list[str], group: Callable[..., Ran]
) -> None:
    ran = group(*argv)
    assert (ran.code, ran.out, ran.settings) == (2, "", None)
    assert ran.err.startswith("error: ")
    assert "\n" not in ran.err
    assert all(part in ran.err for part in parts), ran.err


@pytest.mark.parametrize("word", ["--help", "-h"])
def test_help_lists_the_commands_and_what_they_do(word: str, group: Callable[..., Ran]) -> None:
    ran = group(word)
    assert (ran.code, ran.err, ran.settings) == (0, "", None)
    lines = [" ".join(line.split()) for line in ran.out.splitlines()]
    assert lines[0] == "usage: python -m some.things {find,do} ..."
    assert lines.index("find Find a thing.") < lines.index("do Do a thing.")
    assert "In a folder." not in ran.out


def test_each_command_of_a_group_has_its_own_help(group: Callable[..., Ran]) -> None:
    ran = group("find", "--help")
    assert (ran.code, ran.err, ran.settings) == (0, "", None)
    assert ran.out.startswith("usage: python -m some.things find [")
    assert "folder name" in ran.out
    shown = " ".join(ran.out.split())
    assert "folder where it may be (required, type: Path) name what it is called" in shown
