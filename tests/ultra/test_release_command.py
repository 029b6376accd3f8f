import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.conftest import ROOT
from ultra import release, release_command, schema
from ultra.command import printable
from ultra.prompts import Prompt
from ultra.release_command import find

Row = dict[str, Any]
Run = Callable[..., tuple[int, str, str]]

CARD = Prompt("card.md", "---\nlicense: mit\n---\n# Talks {version}\n")
STEPS = [
    {"step": "read", "in": 1240, "dropped": {"not_utf8": 4}, "changed": {}},
    {"step": "roles", "in": 1236, "dropped": {}, "changed": {"cut_trailing_turn": 77}},
]
_EMPTY = {"string": "", "int64": 0, "float64": 0.0}


def row(id: str, source: str = "a.html", *texts: str, **fields: str) -> Row:
    """A row of the corpus sharegpt; texts of the two sides in turn, the person first."""
    messages = [
        {"role": ("user", "assistant")[place % 2], "content": text}
        for place, text in enumerate(texts or ("Question", "Answer"))
    ]
    columns = {name: _EMPTY[dtype] for name, dtype in schema.PROVENANCE["sharegpt"].items()}
    return {"id": id, "root": id, "messages": messages, **columns, "source": source, **fields}


def drop(id: str, source: str, reason: str, detail: str = "") -> dict[str, str]:
    return {"id": id, "source": source, "step": "a step", "reason": reason, "detail": detail}


def release_of(
    path: Path, rows: dict[str, list[Row]], drops: list[dict[str, str]] | None = None, **made: Any
) -> Path:
    """A release with ``rows`` by ``configuration/split``."""
    with release.Writer(path, "sharegpt") as writer:
        for place, members in rows.items():
            config, _, split = place.partition("/")
            for member in members:
                writer.add(config, split, member)
        for dropped in drops or []:
            writer.drop(dropped)
        writer.finish({"version": "1.2.3", "steps": STEPS, **made}, CARD)
    return path


@pytest.fixture
def talks(tmp_path: Path) -> Path:
    rows = {
        "all/train": [row("one", "pages/one.html"), row("two", "dump.json.gz")],
        "all/test": [row("three", "dump.json.gz")],
        "long/train": [row("one", "pages/one.html")],
    }
    drops = [
        drop("", "pages/broken.html", "not_utf8"),
        drop("one", "old/one.html", "same_id", "kept one of pages/one.html"),
        drop("one", "older/one.html", "same_text"),
        drop("four", "dump.json.gz", "empty_turn", "turn 2, assistant"),
    ]
    return release_of(tmp_path / "talks-1.2.3", rows, drops)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command with some words; returns exit code, output and errors."""

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["release", *map(str, words)])
        with pytest.raises(SystemExit) as exit:
            release_command.main()
        printed = capsys.readouterr()
        assert isinstance(exit.value.code, int)
        return exit.value.code, printed.out, printed.err

    return run


# verify


def test_an_intact_release_is_named_with_rows_and_digest(talks: Path, run: Run) -> None:
    code, out, err = run("verify", talks)
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "sharegpt 1.2.3, 3 rows: every file is intact; "
        f"data digest {release.read_manifest(talks)['data_digest']}"
    ]


def test_a_damaged_file_is_named(talks: Path, run: Run) -> None:
    file = talks / "data/long/train-00000-of-00001.jsonl"
    file.write_bytes(file.read_bytes().replace(b"Answer", b"answer"))
    code, out, err = run("verify", talks)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {file}: wrong digest")


@pytest.mark.parametrize("words", [["verify"], ["show"], ["why", "one"]])
def test_a_place_without_a_release_is_one_line(words: list[str], tmp_path: Path, run: Run) -> None:
    code, _, err = run(words[0], tmp_path, *words[1:])
    assert (code, err) == (2, f"error: {tmp_path}: not a complete release (no manifest.json)\n")


@pytest.mark.parametrize("words", [["verify"], ["show"], ["why", "one"]])
@pytest.mark.parametrize(
    "manifest",
    [
        {"files": []},
        {"files": [], "splits": {"all": 3}},
        {"files": [], "splits": {}},
        {"files": [], "corpus": "c", "version": "1", "splits": {"all": {"train": {"rows": "x"}}}},
    ],
)
def test_a_manifest_of_something_else_is_one_line(
    words: list[str], manifest: Row, tmp_path: Path, run: Run
) -> None:
    (tmp_path / "manifest.json").write_bytes(orjson.dumps(manifest))
    code, _, err = run(words[0], tmp_path, *words[1:])
    assert code == 2
    assert err.startswith(f"error: {tmp_path / 'manifest.json'}: not the manifest of a release")
    assert err.count("\n") == 1


# show


def words_of(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_the_account_holds_what_the_manifest_says(talks: Path, run: Run) -> None:
    code, out, _ = run("show", talks)
    lines = words_of(out)
    assert code == 0
    assert lines[0] == ["sharegpt", "1.2.3,", "3", "rows"]
    assert ["data", "digest", release.read_manifest(talks)["data_digest"]] in lines
    assert [line[:2] for line in lines if line and "/" in line[0]][:4] == [
        ["configuration/split", "rows"],
        ["all/train", "2"],
        ["all/test", "1"],
        ["long/train", "1"],
    ]
    assert ["read", "1,240", "1,236", "4"] in lines
    assert ["dropped:", "not_utf8", "4"] in lines
    assert ["roles", "1,236", "1,236", "0"] in lines
    assert ["changed:", "cut_trailing_turn", "77"] in lines
    assert out.splitlines()[-1].strip() == release.load_line(talks, "all")


def test_figures_are_shown_whatever_their_shape(tmp_path: Path, run: Run) -> None:
    made: Row = {
        "input": {"conversations": 14, "ignored": [f"notes{n}.json" for n in range(25)]},
        "statistics": {"turns": 1200, "languages": {"en": 0.5, "de": 3}},
        "contamination": {
            "summary": "checked against two suites",
            "suites": ["alpaca_eval", "vicuna_80"],
            "hits": 0,
            "by_question": {f"question {n}": {"user": 1} for n in range(1021)},
        },
        "models": {"user": "demo"},
        "demo": True,
    }
    path = release_of(tmp_path / "r", {"all/train": [row("one")]}, **made)
    lines = words_of(run("show", path)[1])
    assert ["turns", "1,200"] in lines
    languages = lines.index(["languages"])
    assert lines[languages + 1 : languages + 3] == [["en", "0.5"], ["de", "3"]]
    assert ["suites", "alpaca_eval,", "vicuna_80"] in lines
    assert ["hits", "0"] in lines
    assert ["question", "19"] in lines
    assert ["question", "20"] not in lines
    assert ["and", "1,001", "more"] in lines
    assert ["user", "demo"] in lines
    assert any(line[:1] == ["demo:"] for line in lines)
    ignored = next(line for line in lines if line[:1] == ["ignored"])
    assert ignored[-3:] == ["and", "5", "more"]
    assert "notes19.json" in ignored
    assert ["not", "checked"] not in lines


def test_what_was_not_checked_is_said(talks: Path, run: Run) -> None:
    lines = words_of(run("show", talks)[1])
    assert lines[lines.index(["contamination"]) + 1] == ["not", "checked"]


def test_a_manifest_of_before_changes_were_counted_is_shown(tmp_path: Path, run: Run) -> None:
    steps = [{"step": "read", "in": 3, "dropped": {}}]
    path = release_of(tmp_path / "r", {"all/train": [row("one")]}, steps=steps)
    assert ["read", "3", "3", "0"] in words_of(run("show", path)[1])


# why


def test_an_id_finds_each_drop_and_each_place_where_it_was_kept(talks: Path, run: Run) -> None:
    code, out, _ = run("why", talks, "one")
    assert code == 0
    assert out.splitlines() == [
        "dropped: one, from old/one.html",
        "  step     a step",
        "  reason   same_id: kept one of pages/one.html",
        "dropped: one, from older/one.html",
        "  step     a step",
        "  reason   same_text",
        "kept: one, from pages/one.html",
        "  split    all/train",
        "  file     data/all/train-00000-of-00001.jsonl",
        "kept: one, from pages/one.html",
        "  split    long/train",
        "  file     data/long/train-00000-of-00001.jsonl",
    ]


@pytest.mark.parametrize(
    "name",
    [
        "pages/broken.html",
        "broken.html",
        "broken",
        "pages/broken",
        "/home/me/raw/pages/broken.html",
    ],
)
def test_an_unreadable_page_is_found_by_any_of_its_names(name: str, talks: Path, run: Run) -> None:
    _, out, _ = run("why", talks, name)
    assert out.splitlines() == [
        "dropped: (without an id), from pages/broken.html",
        "  step     a step",
        "  reason   not_utf8",
    ]


@pytest.mark.parametrize("name", ["dump", "dump.json", "dump.json.gz"])
def test_a_dump_finds_all_that_came_from_it(name: str, talks: Path) -> None:
    assert [found.outcome for found in find(talks, name)] == [
        "dropped for empty_turn",
        "kept in all/test",
        "kept in all/train",
    ]


@pytest.mark.parametrize("name", ["in/talks.zip", "talks.zip", "talks", "talks.zip/a", "a/b.html"])
def test_an_archive_or_folder_finds_what_is_in_it(name: str, tmp_path: Path) -> None:
    rows = {"all/train": [row("one", "in/talks.zip/a/b.html"), row("two", "other.html")]}
    path = release_of(tmp_path / "r", rows)
    assert [found.lines[0] for found in find(path, name)] == [
        "kept: one, from in/talks.zip/a/b.html"
    ]


@pytest.mark.parametrize("name", ["b", "age", "ages/b", "html", "page.h", "x.page.html"])
def test_a_part_of_a_name_is_no_name(name: str, tmp_path: Path) -> None:
    path = release_of(tmp_path / "r", {"all/train": [row("one", "pages/a.page.html")]})
    assert not list(find(path, name))


def test_an_id_wins_over_a_source_of_that_name(tmp_path: Path, run: Run) -> None:
    rows = {"all/train": [row("one", "two.html"), row("two", "one.html")]}
    path = release_of(tmp_path / "r", rows, [drop("three", "one.html", "same_text")])
    assert run("why", path, "one")[1].splitlines()[0] == "kept: one, from two.html"
    assert len(run("why", path, "one")[1].splitlines()) == 3


def test_of_a_large_dump_the_first_are_shown_and_all_counted(tmp_path: Path, run: Run) -> None:
    rows = {"all/train": [row(f"kept{n}", "dump.json") for n in range(15)]}
    drops = [drop(f"drop{n}", "dump.json", "same_text") for n in range(1200)]
    out = run("why", release_of(tmp_path / "r", rows, drops), "dump.json")[1]
    assert out.count("dropped: ") == 20
    assert out.splitlines()[-1] == (
        "the first 20 of 1,215 from there: 1,200 dropped for same_text, 15 kept in all/train"
    )


@pytest.mark.parametrize("name", ["tw", "ONE", "Question", "content", "html", "/", ".", "one/"])
def test_what_is_not_there_is_said_with_how_names_look(name: str, talks: Path, run: Run) -> None:
    code, out, err = run("why", talks, name)
    assert (code, out) == (2, "")
    assert f"error: {name}: no such id or source among 4 rows and 4 dropped of {talks}" in err
    assert "an id looks like one, a source like pages/one.html" in err


def test_an_empty_name_is_refused(talks: Path, run: Run) -> None:
    code, _, err = run("why", talks, "")
    assert code == 2
    assert err.startswith("error: id: is empty")


def test_a_release_without_drops_is_searched(tmp_path: Path, run: Run) -> None:
    path = release_of(tmp_path / "r", {"all/train": [row("one")]})
    assert run("why", path, "one")[0] == 0
    assert "among 1 rows and 0 dropped" in run("why", path, "two")[2]


def test_a_row_without_a_source_is_of_no_source(tmp_path: Path) -> None:
    path = release_of(tmp_path / "r", {"all/train": [row("one", "")]})
    assert not list(find(path, "one/"))
    assert [found.by_id for found in find(path, "one")] == [True]


def test_a_damaged_row_on_the_way_is_named(talks: Path, run: Run) -> None:
    file = talks / "dropped/dropped-00000-of-00001.jsonl"
    for damage in (b'{"id": "one"\n', b"\x1f\x8b one", b"\x28\xb5\x2f\xfd one"):
        file.write_bytes(damage)
        code, _, err = run("why", talks, "one")
        assert code == 2
        assert err.startswith(f"error: {file}: damaged (")
    file.unlink()
    assert "cannot be read" in run("why", talks, "one")[2]


@given(
    id=st.text(min_size=1, max_size=8),
    source=st.text(st.characters(codec="utf-8", exclude_characters="/"), min_size=1, max_size=8),
)
def test_any_id_and_any_source_is_found(
    id: str, source: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("r") / "r"
    release_of(path, {"all/train": [row(id, "-")]}, [drop("-", f"folder/{source}", "not_utf8")])
    assert [found.outcome for found in find(path, id) if found.by_id] == ["kept in all/train"]
    if source != "-":
        assert "dropped for not_utf8" in {found.outcome for found in find(path, source)}
    assert "dropped for not_utf8" in {found.outcome for found in find(path, f"folder/{source}")}


# What reaches the terminal.


HOSTILE = "\x1b[2J\x07\r\n\u202e\u2028\x00\x9b31m"


def test_nothing_that_a_terminal_obeys_is_printed(tmp_path: Path, run: Run) -> None:
    path = release_of(
        tmp_path / "r",
        {"all/train": [row(f"id{HOSTILE}", f"{HOSTILE}.html")]},
        [drop(f"id{HOSTILE}", HOSTILE, HOSTILE, HOSTILE)],
        input={HOSTILE: HOSTILE, "ignored": [HOSTILE]},
        statistics={HOSTILE: {HOSTILE: 1}},
    )
    printed = [
        *run("why", path, f"id{HOSTILE}"),
        *run("why", path, f"{HOSTILE}.html"),
        *run("why", path, f"no{HOSTILE}"),
        *run("show", path),
    ]
    text = "".join(part for part in printed if isinstance(part, str))
    assert r"\x1b[2J\x07" in text
    assert not set(HOSTILE) - set("\n[2J31m") & set(text)


@given(st.text())
@example("\ud800")
def test_what_is_printed_is_printable(text: str) -> None:
    assert printable(text).isprintable()


def test_plain_text_is_printed_as_it_is() -> None:
    assert printable("Grüße 😀 \\n 中文") == "Grüße 😀 \\n 中文"


def test_a_long_name_is_cut(tmp_path: Path, run: Run) -> None:
    name = "x" * 100_000
    path = release_of(tmp_path / "r", {"all/train": [row(name)]}, [drop(name, name, name, name)])
    assert len(run("why", path, name)[1]) < 3000
    assert len(run("why", path, "y" * 100_000)[2]) < 3000


# The command.


def test_each_sub_command_is_listed_and_has_its_own_help(run: Run) -> None:
    code, out, _ = run("--help")
    assert code == 0
    for name in ("verify", "show", "why"):
        assert f"  {name} " in out
        code, own, _ = run(name, "--help")
        assert code == 0
        assert own.startswith(f"usage: python -m ultra.release {name} ")


def test_the_module_release_is_the_command(talks: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ultra.release", "verify", str(talks)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("sharegpt 1.2.3, 3 rows")
