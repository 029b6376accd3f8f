"""A chat with a checkpoint in the terminal, or through a pipe, a line a turn."""

import contextlib
import io
import re
import sys
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from training.conversations import Dialogue
from training.encoding import Encoder
from training.stream import Stream
from ultra import command, files, jsonl, local_chat
from ultra.chat import Sampling
from ultra.errors import CallError, InputError
from ultra.schema import Message

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

HELP = r"""/reset         forget what was said, keep the system prompt
/system TEXT   set another system prompt and forget what was said; without TEXT, set none
/undo          forget your last turn and its answer
/save FILE     write the conversation as one line of JSON; without FILE, the name is made up
/help          print this
/quit          end, as Ctrl-D does
A line that ends in \ goes on in the next one. A line that begins with // is sent with one slash.
Ctrl-C stops an answer; what was said so far is kept.
"""


@dataclass(frozen=True)
class Settings:
    """Talk to a checkpoint; /help in the chat lists what else can be done there."""

    checkpoint: Path = command.positional("folder of the checkpoint")
    system: str = ""
    """System prompt; empty for none."""
    temperature: float = 0.0
    """Softmax temperature; 0 is greedy."""
    top_p: float = 1.0
    """Share of probability that is sampled from."""
    max_tokens: int = 1024
    """Longest answer, in tokens."""
    seed: int = 0
    """Seed of all draws of the chat."""

    def __post_init__(self) -> None:
        _ = self.sampling  # refuses what is out of range

    @property
    def sampling(self) -> Sampling:
        """How each answer is drawn."""
        return Sampling(self.temperature, self.top_p, self.max_tokens, self.seed)


def run(settings: Settings) -> None:
    """Load the checkpoint, without a word from libraries, and talk until the input ends.

    Raises:
        ModelError: the folder holds no usable checkpoint, or one without a chat template.
        InputError: the input is no terminal, and some of its lines came to nothing.
    """
    for stream, errors in ((sys.stdin, "replace"), (sys.stdout, "backslashreplace")):
        if isinstance(stream, io.TextIOWrapper):  # bytes that are no text end no chat
            stream.reconfigure(errors=errors)
    if sys.stdin.isatty():
        _note(f"loading {settings.checkpoint}")
    warnings.simplefilter("ignore")
    with contextlib.suppress(ImportError):  # loading says what is to be installed
        from transformers.utils import logging

        logging.set_verbosity_error()
        logging.disable_progress_bar()
    model, tokenizer = local_chat.load(settings.checkpoint)
    talk(Chat(model, tokenizer, settings.sampling, jsonl.scrub(settings.system)))


def prompt_ids(messages: list[Message], tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """The ids after which the model is to answer, made as those that it was trained on.

    A template of other makers that rewords messages is followed as a server does.

    Raises:
        CallError: the chat template refuses the messages.
    """
    from jinja2 import TemplateError

    try:
        ids = Encoder(tokenizer).prompt(Dialogue(messages, [None] * len(messages)))
        if ids is None:
            turns = [dict(turn) for turn in messages]
            rendered: Any = tokenizer.apply_chat_template(
                turns, add_generation_prompt=True, return_dict=True, sanitize_control_tokens=True
            )
            ids = [int(one) for one in rendered["input_ids"]]
    except TemplateError as error:
        raise CallError(f"the chat template refuses the conversation ({error})") from error
    return ids


@dataclass
class Chat:
    """A conversation with a loaded model."""

    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"
    sampling: Sampling
    system: str = ""
    turns: list[Message] = field(default_factory=list)
    """The user's and the assistant's, in pairs."""
    refused: int = 0
    """Lines that came to nothing."""

    @property
    def messages(self) -> list[Message]:
        """The system prompt, if there is one, and the turns."""
        system: list[Message] = [{"role": "system", "content": self.system}]
        return [*(system if self.system else []), *self.turns]

    def refuse(self, why: str) -> None:
        """Say why a line comes to nothing."""
        self.refused += 1
        _note(" ".join(why.split()))

    def ask(self, text: str) -> None:
        """Write the answer as it comes; a turn that gets none is forgotten."""
        self.turns.append({"role": "user", "content": text})
        try:
            answer = self._answer()
        except CallError as error:
            self.turns.pop()
            self.refuse(str(error))
        else:
            self.turns.append({"role": "assistant", "content": answer})

    def _answer(self) -> str:
        ids = prompt_ids(self.messages, self.tokenizer)
        room = (local_chat.positions(self.model.config) or 2**20) - len(ids)
        if room < 1:
            raise CallError(
                f"the conversation no longer fits: it is {len(ids):,} tokens long, and the model "
                f"takes {len(ids) + room:,}, with its answer; /reset starts afresh"
            )
        ends: Any = self.model.generation_config.eos_token_id
        stream = Stream(self.tokenizer, set(ends if isinstance(ends, list) else [ends]))
        stopped = self._generate(ids, min(room, self.sampling.max_tokens), stream)
        print(flush=True)
        if stopped and not stream.text:
            raise CallError("stopped before a word was said; your turn is forgotten")
        if stopped:
            _note("stopped")
        elif not stream.ended and room <= self.sampling.max_tokens:
            _note("cut, as no more fits into the model; /reset starts afresh")
        elif not stream.ended:
            _note(f"cut after {self.sampling.max_tokens:,} tokens; --max-tokens allows more")
        return stream.text

    def _generate(self, ids: list[int], most: int, stream: Stream) -> bool:
        """Send an answer of at most so many tokens to ``stream``; tells whether Ctrl-C stopped it.

        Nobody who pipes many questions wants to stop one answer: there it ends the command.
        """
        import torch

        prompt = torch.tensor([ids], device=self.model.device)
        try:
            with torch.inference_mode():
                self.model.generate(
                    prompt,
                    attention_mask=torch.ones_like(prompt),
                    max_new_tokens=most,
                    streamer=stream,
                    **local_chat.draw_arguments(self.sampling),
                )
        except KeyboardInterrupt:
            if not sys.stdin.isatty():
                raise
            stream.end()
            return True
        return False


def talk(chat: Chat) -> None:
    """Answer the lines of the standard input, and do what its commands say.

    Raises:
        InputError: the input is no terminal, and some of its lines came to nothing.
    """
    import torch

    torch.manual_seed(chat.sampling.draw)
    typed = sys.stdin.isatty()
    if typed:
        with contextlib.suppress(ImportError):  # not every Python has it
            import readline  # noqa: F401  (now ``input`` edits lines and recalls them)
        _note("/help lists the commands")
    try:
        while (line := _read_turn()) is not None and line.split()[:1] != ["/quit"]:
            if line.startswith("/") and not line.startswith("//"):
                _obey(chat, line)
            elif line.strip():
                chat.ask(line[1:] if line.startswith("//") else line)
    except KeyboardInterrupt:
        if not typed:
            raise
        print()
    if chat.refused and not typed:
        raise InputError(f"stdin: {chat.refused:,} of its lines came to nothing, as said above")


def _obey(chat: Chat, line: str) -> None:
    name, rest = [*line.rstrip().split(maxsplit=1), ""][:2]
    if name == "/help":
        print(HELP, end="", file=sys.stderr)
    elif name == "/save":
        _save(chat, rest)
    elif name in ("/reset", "/system"):
        chat.system = rest if name == "/system" else chat.system
        chat.turns.clear()
        _note(f"what was said is forgotten; {'the' if chat.system else 'no'} system prompt is set")
    elif name == "/undo" and chat.turns:
        del chat.turns[-2:]
        _note("your last turn and its answer are forgotten")
    elif name == "/undo":
        chat.refuse("/undo: nothing has been said yet")
    else:
        hint = command.did_you_mean(name, re.findall(r"^/\w+", HELP, re.MULTILINE))
        chat.refuse(f"{name}: no such command, see /help{hint} (// sends a line with a slash)")


def _save(chat: Chat, name: str) -> None:
    """Write the conversation as one line of JSON, to a file that is not there yet."""
    row = {"id": jsonl.digest(chat.messages), "messages": chat.messages}
    path = Path(name or f"chat-{row['id'][:8]}.jsonl")
    try:
        path = path.expanduser()
        if not chat.turns:
            chat.refuse("/save: nothing has been said yet")
        elif path.exists() or path.is_symlink():
            chat.refuse(f"/save: {path} is already there; name another file")
        else:
            with files.atomic(path) as file:
                file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
            _note(f"saved as {path}")
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: the ~ of nobody
        chat.refuse(f"/save: {path} cannot be written ({error})")


def _read_turn() -> str | None:
    """The next turn, of one line or of several; None at the end of the input."""
    lines: list[str] = []
    while (line := _read_line("...> " if lines else "you> ")) is not None:
        if not line.endswith("\\"):
            return "\n".join([*lines, line])
        lines.append(line[:-1])
    return "\n".join(lines) if lines else None


def _read_line(prompt: str) -> str | None:
    if sys.stdin.isatty():
        try:
            return input(prompt if sys.stdout.isatty() else "")
        except EOFError:
            print()
            return None
    line = sys.stdin.readline()
    return line.removesuffix("\n") if line else None


def _note(text: str) -> None:
    """Say something that is no answer, where it cannot be taken for one."""
    print(f"# {command.printable(text)}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    command.main(Settings, run)
