"""The converter as a command, run the way a stranger runs it."""

import os
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from tests.conftest import ROOT
from tests.datasets_scripts.helpers import page, row

COMMAND = [sys.executable, "-m", "datasets_scripts.sharegpt.markdown"]


def run(*words: object, given: bytes = b"", **environment: str) -> tuple[int, bytes, str]:
    """Exit code, standard output and standard error of the command."""
    done = subprocess.run(
        [*COMMAND, *map(str, words)],
        cwd=ROOT,
        env={**os.environ, **environment},
        input=given,
        capture_output=True,
    )
    return done.returncode, done.stdout, done.stderr.decode()


def fails(*words: object, given: bytes = b"", **environment: str) -> str:
    """Run a command that must fail with exit code 2; returns its one line of error."""
    code, _, errors = run(*words, given=given, **environment)
    assert code == 2, errors
    (line,) = errors.splitlines()
    return line.removeprefix("error: ")


# One turn


@pytest.mark.parametrize(
    ("given", "written"),
    [
        (b"<p>a <b>b</b></p>", b"a **b**\n"),
        (b"<ul><li>a</li></ul>\n", b"- a\n"),
        ("<p>Caf\u00e9 \u4e2d</p>".encode(), "Caf\u00e9 \u4e2d\n".encode()),
        (b"<p>a\xff\0b</p>", "a\ufffd\ufffdb\n".encode()),
        (b"\xef\xbb\xbf<p>a</p>", b"a\n"),
        (b"", b""),
    ],
)
def test_an_answer_comes_out_as_markdown(given: bytes, written: bytes) -> None:
    assert run(given=given) == (0, written, "")


@pytest.mark.parametrize("era", ["raw", "sanitized"])
def test_a_human_turn_is_no_html(era: str) -> None:
    text = b"2 / 2    <b>x_1</b> * &lt;y&gt;\r\n\n"
    _, written, _ = run("--role", "human", "--era", era, given=text)
    assert written == (text.replace(b"&lt;y&gt;", b"<y>") if era == "sanitized" else text)


def test_the_counter_before_a_human_turn_is_taken_off() -> None:
    words = ("--role", "human", "--era", "raw")
    assert run(*words, given=b"2 / 3what?")[1] == b"what?\n"
    assert run(*words, given=b"1 / 2 cup of flour")[1] == b"1 / 2 cup of flour\n"


# Many turns


def test_lines_come_out_in_order() -> None:
    given = b"".join(orjson.dumps({"n": n, "html": f"<h1>{n}\n</h1>"}) + b"\n" for n in range(50))
    code, written, errors = run("--jsonl", given=given + b"\n" + given.rstrip())
    rows = [orjson.loads(line) for line in written.splitlines()]
    assert (code, errors) == (0, "")
    assert rows == [{"markdown": f"# {n}"} for n in range(50)] * 2


def test_lines_of_human_turns_have_the_same_keys() -> None:
    given = b'{"html": "2 / 2What &lt;b&gt;"}\n'
    _, written, _ = run("--jsonl", "--role", "human", "--era", "sanitized", given=given)
    assert orjson.loads(written) == {"markdown": "What <b>"}


def test_what_utf_8_cannot_hold_is_replaced_in_lines() -> None:
    _, written, _ = run("--jsonl", given=b'{"html": "a\\ud83d"}\n{"html": "b\xff"}\n')
    assert [orjson.loads(line)["markdown"] for line in written.splitlines()] == [
        "a\ufffd",
        "b\ufffd",
    ]


def test_each_line_is_answered_before_the_next_is_sent() -> None:
    with subprocess.Popen(
        [*COMMAND, "--jsonl"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for number in range(3):
            process.stdin.write(b'{"html": "<p>%d</p>"}\n' % number)
            process.stdin.flush()
            assert process.stdout.readline() == b'{"markdown":"%d"}\n' % number
        process.stdin.close()
        assert process.wait() == 0


@pytest.mark.parametrize(
    "line",
    [b"x", b"[]", b'"<p>a</p>"', b"{}", b'{"html": null}', b'{"HTML": "a"}', b"[" * 100_000],
)
def test_a_bad_line_is_named_and_what_came_before_is_there(line: bytes) -> None:
    code, written, errors = run("--jsonl", given=b'{"html": "a"}\n\n' + line + b'\n{"html": "b"}')
    assert code == 2
    assert errors == 'error: standard input, line 3: expected {"html": "..."}\n'
    assert written == b'{"markdown":"a"}\n'


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    with subprocess.Popen(
        [*COMMAND, "--jsonl"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        _, errors = process.communicate(b'{"html": "a"}\n' * 3)
    assert (process.returncode, errors) == (1, b"")


# Settings


def test_help_is_for_the_command_that_was_run_and_loads_nothing_heavy() -> None:
    code = (
        "import atexit, runpy, sys;"
        "atexit.register(lambda: print(*sys.modules, file=sys.stderr));"
        "sys.argv = ['x', '--help'];"
        "runpy.run_module('datasets_scripts.sharegpt.markdown', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    heavy = {"torch", "transformers", "datasets", "openai", "pyarrow", "pandas", "markdown_it"}
    assert done.returncode == 0
    assert not heavy & set(done.stderr.split())
    _, shown, _ = run("--help")
    assert shown.startswith(b"usage: python -m datasets_scripts.sharegpt.markdown ")
    for flag in (b"--jsonl", b"--role", b"--era", b"--round-trip"):
        assert flag in shown


def test_settings_that_do_not_go_together_say_so() -> None:
    assert "needs --era raw or --era sanitized" in fails("--role", "human")
    assert "add --role human" in fails("--era", "raw")
    assert "leave out" in fails("--round-trip", "x", "--jsonl")
    assert "did you mean 'role'?" in fails("--roel", "human")


# The round trip


def test_the_round_trip_counts_what_came_back(tmp_path: Path) -> None:
    answer = "<div><p>a <b>b</b></p><pre><code>c\n</code></pre></div>"
    (tmp_path / "page.html").write_bytes(page(row("p", "<div>typed</div>", answer)))
    (tmp_path / "dump.json").write_bytes(orjson.dumps([row("d", "q", answer, "q", "a *text*")]))
    (tmp_path / "answer.html").write_text(answer)
    (tmp_path / "chat.html").write_text(
        f"<!DOCTYPE html><p>not this</p><div class='markdown prose'>{answer}</div>" * 2
    )
    (tmp_path / "bad.html").write_text("no page")
    code, written, errors = run("--round-trip", tmp_path)
    assert (code, errors) == (0, "")
    lines = [" ".join(line.split()) for line in written.decode().splitlines()]
    assert "5 answers in 4 files" in lines
    assert "text equal 5 of 5" in lines
    assert "structure equal 5 of 5" in lines
    assert "code blocks exact 5 of 5" in lines


def test_a_bad_row_is_passed_over(tmp_path: Path) -> None:
    dump = tmp_path / "dump.jsonl"
    answer = "<div class='markdown'>a</div>"
    dump.write_bytes(orjson.dumps(row("d", "q", answer)) + b"\n" + answer.encode() + b"\n{}\n")
    assert run("--round-trip", dump)[1].startswith(b"1 answers in 1 files\n")


def test_an_answer_that_does_not_come_back_is_named(tmp_path: Path) -> None:
    (tmp_path / "dump.jsonl").write_bytes(
        orjson.dumps(row("d", "q", "<div>a</div>", "q", "<div>a<span><p>b</p></span></div>"))
    )
    code, written, _ = run("--round-trip", tmp_path)
    first, *rest = written.decode().splitlines()
    assert code == 0
    assert first == "dump.jsonl, item 4: '0 p: a' came back as '0 p: a b'"
    assert any(line.split() == ["structure", "equal", "1", "of", "2"] for line in rest)


FASTCHAT = """
def html_to_markdown(page):
    if "fail" in page:
        raise AssertionError
    return "b"
"""


def test_fastchat_stands_beside_it_where_it_is_installed(tmp_path: Path) -> None:
    pages = tmp_path / "pages"
    pages.mkdir()
    for text in ("a", "b", "fail"):
        (pages / f"{text}.html").write_text(f"<div>{text}</div>")
    assert b"pip install --no-deps fschat" in run("--round-trip", pages)[1]
    package = tmp_path / "fastchat" / "data"
    package.mkdir(parents=True)
    (package / "clean_sharegpt.py").write_text(FASTCHAT)
    shown = run("--round-trip", pages, PYTHONPATH=str(tmp_path))[1].decode()
    assert "pip install" not in shown
    assert "textequal3of31of3" in shown.replace(" ", "")


def test_a_folder_without_answers_is_an_error(tmp_path: Path) -> None:
    assert "no such file or folder" in fails("--round-trip", tmp_path / "none")
    (tmp_path / "dump.jsonl").write_bytes(orjson.dumps(row("d", "q", "text")))
    assert "holds no answer in HTML" in fails("--round-trip", tmp_path)


def test_a_missing_reader_of_markdown_names_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "markdown_it.py").write_text("raise ModuleNotFoundError(name='markdown_it')")
    (tmp_path / "a.html").write_text("<div>a</div>")
    error = fails("--round-trip", tmp_path / "a.html", PYTHONPATH=str(tmp_path))
    assert error == "round_trip: needs markdown_it; pip install 'ultra-suite[check]'"
