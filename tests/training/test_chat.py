"""The chat in the terminal. Its model is the tiny checkpoint, whose answers make no sense."""

import contextlib
import io
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.conftest import ROOT
from training import chat, stream
from ultra import command, local_chat
from ultra.chat import Sampling
from ultra.errors import InputError, ModelError, SettingError
from ultra.schema import Message

SHORT = Sampling(temperature=0, max_tokens=12)
HOT = Sampling(temperature=5, max_tokens=40)
"""Draws nearly any token, so that what the model learned does not matter."""
QUESTION = "How long shall tea number 3 steep?"


class Terminal(io.StringIO):
    """Standard input that is typed, or output that is looked at."""

    def isatty(self) -> bool:
        return True


@dataclass
class Said:
    """What a chat wrote, and how the conversation stands after it."""

    out: str
    err: str
    turns: list[Message]
    refused: int
    prompts: list[list[Message]]

    @property
    def asked(self) -> list[str]:
        return [turn["content"] for turn in self.turns if turn["role"] == "user"]


@pytest.fixture(scope="module")
def loaded(checkpoint: Path) -> tuple[Any, Any]:
    return local_chat.load(checkpoint)


@pytest.fixture
def say(
    loaded: tuple[Any, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> Callable[..., Said]:
    """Type lines into a chat, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    prompts: list[list[Message]] = []
    prompt_ids = chat.prompt_ids

    def recorded(messages: list[Message], tokenizer: Any) -> list[int]:
        prompts.append(messages)
        return prompt_ids(messages, tokenizer)

    monkeypatch.setattr(chat, "prompt_ids", recorded)

    def say(*lines: str, sampling: Sampling = SHORT, system: str = "") -> Said:
        monkeypatch.setattr("sys.stdin", Terminal("".join(f"{line}\n" for line in lines)))
        talking = chat.Chat(*loaded, sampling, system)
        prompts.clear()
        chat.talk(talking)
        out, err = capsys.readouterr()
        return Said(out, err, talking.turns, talking.refused, prompts[:])

    return say


@pytest.fixture
def endless(loaded: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no answer end by itself."""
    monkeypatch.setattr(loaded[0].generation_config, "eos_token_id", None)


Say = Callable[..., Said]


# Answers.


def test_each_line_is_answered_with_what_was_said_before_in_mind(say: Say) -> None:
    said = say(QUESTION, "And then?")
    assert [turn["role"] for turn in said.turns] == ["user", "assistant"] * 2
    assert said.asked == [QUESTION, "And then?"]
    assert said.prompts == [said.turns[:1], said.turns[:3]]
    answers = [turn["content"] for turn in said.turns if turn["role"] == "assistant"]
    assert said.out == "".join(f"{answer}\n" for answer in answers) + "\n"  # Ctrl-D ends the last


def test_an_answer_is_the_one_that_benchmarks_get(
    say: Say, loaded: tuple[Any, Any], checkpoint: Path, endless: None
) -> None:
    benchmarked = local_chat.LocalChat(checkpoint)
    benchmarked._loaded = loaded
    messages: list[Message] = [{"role": "user", "content": QUESTION}]
    for sampling in (replace(HOT, seed=seed) for seed in range(5)):
        completion = benchmarked._generate(messages, sampling)
        assert say(QUESTION, sampling=sampling).turns[1]["content"] == completion.text != ""


def test_an_answer_comes_in_pieces_each_written_at_once(
    say: Say, endless: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    monkeypatch.setattr("sys.stdout", out := io.StringIO())
    monkeypatch.setattr(out, "flush", lambda: written.append(out.getvalue()))
    answer = say(QUESTION, sampling=HOT).turns[1]["content"]
    assert len({seen for seen in written if seen and answer.startswith(seen)}) > 3


def test_a_system_prompt_comes_first_and_can_be_replaced_and_removed(say: Say) -> None:
    said = say("one", "/system Be kind.", "two", "/system", "three", system="Be terse.")
    asked: list[Message] = [{"role": "user", "content": text} for text in ("one", "two", "three")]
    assert said.prompts == [
        [{"role": "system", "content": "Be terse."}, asked[0]],
        [{"role": "system", "content": "Be kind."}, asked[1]],
        [asked[2]],
    ]


def test_a_draw_depends_on_the_seed_alone(say: Say) -> None:
    hot = [replace(HOT, seed=seed) for seed in (0, 0, 1)]
    one, same, other = (say(QUESTION, sampling=sampling).out for sampling in hot)
    assert one == same != other


def test_an_answer_ends_at_every_end_that_the_checkpoint_names(
    say: Say, loaded: tuple[Any, Any], endless: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    model, tokenizer = loaded
    cut = say(QUESTION)
    assert "# cut after 12 tokens; --max-tokens allows more\n" in cut.err
    prompt = chat.prompt_ids(cut.turns[:1], tokenizer)
    output = model.generate(torch.tensor([prompt]), max_new_tokens=12, do_sample=False)
    said = output[0, len(prompt) :].tolist()
    last = max(said, key=said.index)  # the token that comes for the first time the latest
    monkeypatch.setattr(model.generation_config, "eos_token_id", [299, last])
    ended = say(QUESTION)
    assert ended.turns[1]["content"] == tokenizer.decode(said[: said.index(last)], True).strip()
    assert "# cut" not in ended.err


def test_a_text_that_spells_a_control_token_stays_text(loaded: tuple[Any, Any]) -> None:
    tokenizer = loaded[1]
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    counts = []
    for text in ("a", "a<|im_end|>"):
        ids = chat.prompt_ids([{"role": "user", "content": text}], tokenizer)
        counts.append(ids.count(end))
    assert counts == [1, 1]


def test_a_conversation_that_is_too_long_says_how_to_go_on(say: Say) -> None:
    said = say(QUESTION, "x " * 300, "/reset", QUESTION)
    assert "no longer fits" in said.err
    assert "/reset starts afresh" in said.err
    assert said.turns == say(QUESTION).turns
    assert said.refused == 1


def test_an_answer_that_fills_the_model_says_so(
    say: Say, loaded: tuple[Any, Any], endless: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = len(chat.prompt_ids([{"role": "user", "content": QUESTION}], loaded[1]))
    monkeypatch.setattr(local_chat, "positions", lambda model: asked + 5)
    assert "cut, as no more fits into the model; /reset" in say(QUESTION).err


def test_a_template_that_refuses_is_one_clear_line(
    say: Say, loaded: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    template = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('no\\nsystem') }}{% endif %}"
    )
    monkeypatch.setattr(loaded[1], "chat_template", template + loaded[1].chat_template)
    said = say("hi", "/system", "hi", system="Be terse.")
    assert "# the chat template refuses the conversation (no system)\n" in said.err
    assert said.asked == ["hi"]


# What a terminal gets to see.


def streamed(tokenizer: Any, text: str, *, torn: int = 0) -> stream.Stream:
    """A stream that got the tokens of a text, less the last few."""
    import torch

    made = stream.Stream(tokenizer, {-1})
    ids = tokenizer.encode(text, add_special_tokens=False)
    made.put(torch.tensor([ids]))  # the prompt
    for one in ids[: len(ids) - torn]:
        made.put(torch.tensor([one]))
    return made


def test_no_character_is_torn(byte_tokenizer: Any, capsys: pytest.CaptureFixture[str]) -> None:
    text = "né 日本 😀\n\n  \N{FAMILY}."
    assert streamed(byte_tokenizer, f"\n {text}\n ").text == text
    assert capsys.readouterr().out == text


def test_what_ends_within_a_character_shows_that(byte_tokenizer: Any) -> None:
    torn = streamed(byte_tokenizer, "so 日", torn=1)
    assert torn.text == "so"
    torn.end()
    assert torn.text == "so \ufffd"


@pytest.mark.parametrize(
    ("text", "terminal"),
    [
        ("a\x1b[2Jb\x07\r", "a\\x1b[2Jb\\x07\\r"),
        ("\x9b31m\u202e", "\\x9b31m\\u202e"),
        ("a\n\tb\u3000c\xa0d", "a\n\tb\u3000c\xa0d"),
        ("👩\u200d🚀 a\u200cb", "👩\u200d🚀 a\u200cb"),
    ],
)
def test_a_terminal_shows_control_sequences_and_does_not_act_on_them(
    text: str, terminal: str
) -> None:
    assert stream.shown(text) == terminal


def test_control_sequences_are_escaped_on_terminals_alone(
    byte_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind, expected in ((Terminal, "\\x1b[2Jx"), (io.StringIO, "\x1b[2Jx")):
        out = kind()
        monkeypatch.setattr("sys.stdout", out)
        assert streamed(byte_tokenizer, "\x1b[2Jx").text == "\x1b[2Jx"
        assert out.getvalue() == expected


# Commands.


def test_reset_forgets_the_turns_and_keeps_the_system_prompt(say: Say) -> None:
    again = say("Hello", "/reset", QUESTION, system="Be terse.")
    assert again.prompts[1:] == say(QUESTION, system="Be terse.").prompts


def test_undo_forgets_the_last_turn_and_its_answer(say: Say) -> None:
    assert say(QUESTION, "Hello", "/undo").turns == say(QUESTION).turns != []
    nothing = say("/undo")
    assert "# /undo: nothing has been said yet" in nothing.err


def test_save_writes_the_conversation_as_one_line(say: Say, tmp_path: Path) -> None:
    said = say(QUESTION, f"/save {tmp_path}/my talk.jsonl", system="Be terse.")
    (line,) = (tmp_path / "my talk.jsonl").read_bytes().splitlines()
    row = orjson.loads(line)
    assert list(row) == ["id", "messages"]
    assert row["messages"] == [{"role": "system", "content": "Be terse."}, *said.turns]


def test_save_makes_up_a_name_that_tells_conversations_apart(say: Say, tmp_path: Path) -> None:
    say(QUESTION, "/save", "Hello", "/save")
    names = {path.name for path in tmp_path.glob("*")}
    ids = {orjson.loads(path.read_bytes())["id"] for path in tmp_path.glob("*")}
    assert names == {f"chat-{one[:8]}.jsonl" for one in ids}
    assert len(names) == 2


def test_save_overwrites_nothing_and_the_chat_goes_on(say: Say, tmp_path: Path) -> None:
    kept = tmp_path / "kept.jsonl"
    kept.write_text("mine")
    said = say(QUESTION, "/save kept.jsonl", "Hello")
    assert kept.read_text() == "mine"
    assert "# /save: kept.jsonl is already there; name another file\n" in said.err
    assert said.asked == [QUESTION, "Hello"]


@pytest.mark.parametrize("name", ["file/below", "~nobody-of-that-name/x", "n" * 300, "nul\0"])
def test_a_place_that_cannot_be_written_is_one_clear_line(
    name: str, say: Say, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    said = say(QUESTION, f"/save {name}", "Hello")
    assert f"# /save: {command.printable(name)} cannot be written (" in said.err
    assert said.asked == [QUESTION, "Hello"]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_nothing_said_is_nothing_saved(say: Say, tmp_path: Path) -> None:
    assert "# /save: nothing has been said yet" in say("/save").err
    assert not list(tmp_path.iterdir())


def test_an_unknown_command_is_not_sent(say: Say) -> None:
    said = say("/rest", "/\x1b[2J")
    assert "# /rest: no such command, see /help; did you mean '/reset'?" in said.err
    assert "\x1b" not in said.err
    assert (said.turns, said.refused) == ([], 2)


def test_help_names_every_command(say: Say) -> None:
    said = say("/help")
    for name in ("/reset", "/system", "/undo", "/save", "/help", "/quit", "//", "Ctrl-C"):
        assert name in said.err


def test_two_slashes_send_one(say: Say) -> None:
    assert say("//reset is a command").asked == ["/reset is a command"]


def test_a_backslash_goes_on_in_the_next_line(say: Say) -> None:
    assert say("one \\", "", "/save \\", "two", "three \\").asked == ["one \n", "three "]


def test_empty_lines_are_no_turns_and_quit_ends(say: Say) -> None:
    assert say("", "  ", "Hello", "/quit", "unread").asked == ["Hello"]


# Ctrl-C.


@pytest.fixture(autouse=True)
def _heeded() -> Iterator[None]:
    """Have Ctrl-C mean something also where the tests run in a shell's background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Impatient(io.StringIO):
    """Output in front of somebody who presses Ctrl-C when so many pieces have come."""

    def __init__(self, pieces: int) -> None:
        super().__init__()
        self.pieces = pieces

    def write(self, text: str) -> int:
        written = super().write(text)
        self.pieces -= bool(text)
        if self.pieces == 0 and text:
            signal.raise_signal(signal.SIGINT)
        return written


def test_ctrl_c_stops_an_answer_and_keeps_what_was_said(
    say: Say, endless: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = say(QUESTION, sampling=HOT).turns[1]["content"]
    monkeypatch.setattr("sys.stdout", out := Impatient(3))
    said = say(QUESTION, "Hello", sampling=HOT)
    stopped = said.turns[1]["content"]
    assert whole.startswith(stopped)
    assert 0 < len(stopped) < len(whole)
    assert out.getvalue().startswith(f"{stopped}\n")
    assert "# stopped\n" in said.err
    assert said.asked == [QUESTION, "Hello"]


def test_ctrl_c_before_the_first_word_forgets_the_turn(
    say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(writing: stream.Stream, tokens: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(stream.Stream, "put", interrupt)
    said = say(QUESTION)
    assert said.turns == []
    assert "# stopped before a word was said" in said.err


def test_ctrl_c_at_the_prompt_ends_the_chat(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(prompt: str) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("builtins.input", interrupt)
    assert say(QUESTION).turns == []


def test_ctrl_c_ends_a_pipe(
    loaded: tuple[Any, Any], endless: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("Hello\nHello\n"))
    monkeypatch.setattr("sys.stdout", Impatient(3))
    with pytest.raises(KeyboardInterrupt):
        chat.talk(chat.Chat(*loaded, HOT))


# Pipes, processes and terminals.


def test_a_pipe_whose_lines_come_to_nothing_fails_at_its_end(
    loaded: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("/nope\nHello"))
    talking = chat.Chat(*loaded, SHORT)
    with pytest.raises(InputError, match="stdin: 1 of its lines came to nothing"):
        chat.talk(talking)
    assert capsys.readouterr().out == f"{talking.turns[1]['content']}\n"


def test_a_pipe_gets_the_answers_and_nothing_else(checkpoint: Path, say: Say) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "training.chat", checkpoint, "--max-tokens", "256"],
        input=b"Hello\nb\xffd\n/quit\n",
        capture_output=True,
        cwd=ROOT,
        check=True,
        env={key: value for key, value in os.environ.items() if "PROGRESS_BARS" not in key},
    )
    patient = say("Hello", "b\ufffdd", sampling=Sampling(temperature=0, max_tokens=256))
    assert f"{done.stdout.decode()}\n" == patient.out  # where Ctrl-D adds a line
    assert all(line.startswith("# cut") for line in done.stderr.decode().splitlines())


def test_what_is_no_checkpoint_is_one_clear_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "training.chat", tmp_path / "gone"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        cwd=ROOT,
        check=False,
    )
    expected = f"error: {tmp_path}/gone: no checkpoint there (no config.json)\n"
    assert (done.returncode, done.stdout, done.stderr.decode()) == (2, b"", expected)


def test_a_checkpoint_without_a_template_is_no_chat_model(checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bare"
    shutil.copytree(checkpoint, folder)
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(ModelError, match="bare: the tokenizer has no chat template"):
        local_chat.load(folder)


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(SettingError, match="temperature must be 0 or more"):
        command.parse(chat.Settings, ["somewhere", "--temperature", "-1"])


def until(terminal: int, text: str) -> str:
    """Read what a terminal shows, up to a text."""
    seen = b""
    while text.encode() not in seen:
        ready, _, _ = select.select([terminal], [], [], 60)
        assert ready, f"no {text!r} in {seen!r}"
        seen += os.read(terminal, 1024)
    return seen.decode()


def test_a_terminal_has_prompts_and_ctrl_c_there_ends_the_chat(
    checkpoint: Path, tmp_path: Path
) -> None:
    terminal, name = os.openpty()
    process = subprocess.Popen(  # what a new session opens first becomes its terminal
        [
            *("sh", "-c", 'exec "$@" <"$0" >"$0" 2>&1', os.ttyname(name)),
            *(sys.executable, "-m", "training.chat", str(checkpoint), "--max-tokens", "8"),
        ],
        cwd=ROOT,
        env={**os.environ, "TERM": "dumb"},
        start_new_session=True,
    )
    try:
        start = until(terminal, "you> ")
        assert start == f"# loading {checkpoint}\r\n# /help lists the commands\r\nyou> "
        os.write(terminal, f"{QUESTION}\n".encode())
        assert until(terminal, "you> ").count("\r\n") >= 2
        os.write(terminal, b"one \\\n")
        until(terminal, "...> ")
        os.write(terminal, f"two\n/save {tmp_path}/talk\n".encode())
        until(terminal, f"# saved as {tmp_path}/talk\r\nyou> ")
        os.write(terminal, b"half a line")
        for _ in range(12):  # readline may lose a Ctrl-C that comes as it begins to wait
            if process.poll() is not None:
                break
            os.write(terminal, b"\x03")
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
        assert process.returncode == 0
    finally:
        process.kill()
        process.wait()
        os.close(terminal)
        os.close(name)
    asked = orjson.loads((tmp_path / "talk").read_bytes())["messages"][::2]
    assert [turn["content"] for turn in asked] == [QUESTION, "one \ntwo"]
