"""The command behind ``python -m datasets_scripts.sharegpt.markdown``: see what cleaning does."""

import importlib
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, NoReturn

from selectolax.lexbor import LexborHTMLParser
from tabulate import tabulate

from datasets_scripts.pipeline import Drop
from datasets_scripts.sharegpt import inputs, pages, round_trip, turns
from datasets_scripts.sharegpt.markdown import to_markdown
from datasets_scripts.sharegpt.pages import RawConversation
from ultra import command, jsonl
from ultra.errors import InputError, SettingError

FASTCHAT = "pip install --no-deps fschat==0.2.36 markdownify==0.11.6 beautifulsoup4 soupsieve six"


@dataclass(frozen=True)
class Settings:
    """Convert one turn of a saved page: HTML on standard input, Markdown on standard output.

    Bytes that are no UTF-8 are replaced.
    """

    jsonl: bool = False
    """Convert many: lines {"html": ...} in, lines {"markdown": ...} out, each as it comes.
    The keys are the same for human turns, whose text is neither."""
    role: Literal["assistant", "human"] = "assistant"
    """Whose turn it is; a human turn is no HTML and stays as it was typed."""
    era: Literal["raw", "sanitized"] | None = None
    """For human turns: sanitized if the page is of 2023-03-12 or later, when its first answer
    begins with a bare <div>; otherwise raw."""
    round_trip: Path | None = None
    """Instead of converting, measure what survives: all answers in a folder of saved pages and
    dumps are converted, read back, and compared."""

    def __post_init__(self) -> None:
        if self.role == "human" and self.era is None:
            raise SettingError(
                "role: human needs --era raw or --era sanitized; it is sanitized if the page's "
                "first answer begins with a bare <div>"
            )
        if self.role == "assistant" and self.era is not None:
            raise SettingError("era: is for human turns; add --role human or leave it out")
        if self.round_trip is not None and (self.jsonl or self.role == "human"):
            raise SettingError("round_trip: reads answers from a folder; leave out jsonl and role")


def main() -> NoReturn:
    """Run the command and exit."""
    # A person runs the module that holds the converter; that one only calls us.
    command.main(Settings, run, program="python -m datasets_scripts.sharegpt.markdown")


def run(settings: Settings) -> None:
    """Convert standard input, or measure a folder.

    Raises:
        InputError: a line that holds no turn, or a folder without answers.
        SettingError: a round trip without the packages that it takes.
    """
    if settings.round_trip is not None:
        measure(settings.round_trip)
        return
    convert = _conversion(settings)
    if settings.jsonl:
        convert_lines(sys.stdin.buffer, sys.stdout.buffer, convert)
        return
    text = convert(sys.stdin.buffer.read().decode("utf-8-sig", "replace"))
    end = "\n" if text and not text.endswith("\n") else ""
    sys.stdout.buffer.write(f"{text}{end}".encode())


def _conversion(settings: Settings) -> Callable[[str], str]:
    era = settings.era
    return to_markdown if era is None else lambda text: turns.human_text(text, era)


def convert_lines(source: BinaryIO, target: BinaryIO, convert: Callable[[str], str]) -> None:
    """Answer each line before the next is waited for; blank lines are passed over.

    Raises:
        InputError: names the line that is no object with a text as its ``html``.
    """
    for number, line in enumerate(source, 1):
        if not line.strip():
            continue
        row = pages.loads(line.decode("utf-8-sig", "replace").encode())
        html = row.get("html") if isinstance(row, dict) else None
        if not isinstance(html, str):
            raise InputError(f'standard input, line {number}: expected {{"html": "..."}}')
        target.write(jsonl.dump({"markdown": convert(jsonl.scrub(html))}))
        target.flush()


def measure(folder: Path) -> None:
    """Print how much of the answers in a folder comes back, and where something does not.

    Raises:
        InputError: there are none.
        SettingError: the packages that read Markdown are not installed.
    """
    peer = _fastchat()
    ours, theirs, files = Counter[str](), Counter[str](), set()
    for source, item, page in answers(folder):
        files.add(source)
        result = round_trip.compare(page, to_markdown(page))
        _count(ours, result)
        if result.difference:
            print(f"{source}, item {item}: {result.difference}")
        if peer is not None:
            _count(theirs, round_trip.compare(page, peer(page)))
    if not files:
        raise InputError(f"{folder}: holds no answer in HTML, neither in pages nor in dumps")
    print(f"{ours['answers']} answers in {len(files)} files")
    columns = {"here": ours} | ({"FastChat": theirs} if peer is not None else {})
    print(_table(columns))
    if peer is None:
        print(f"to see FastChat's converter beside it: {FASTCHAT}")


def answers(root: Path) -> Iterator[tuple[str, int, str]]:
    """Source, number from 1 and HTML of every answer in saved pages and dumps.

    Raises:
        InputError: there is nothing to read, or a file cannot be read.
    """
    base = root if root.is_dir() else root.parent
    for record in inputs.read_all(root):
        found: Iterator[tuple[int, str]] = iter(())
        if isinstance(record, RawConversation):
            found = _held(record)
        elif record.drop.reason == "no_next_data" and (base / record.source).is_file():
            found = _shown(base / record.source)
        for item, page in found:
            yield record.source, item, page


def _held(raw: RawConversation) -> Iterator[tuple[int, str]]:
    conversation = turns.to_conversation(raw)
    if isinstance(conversation, Drop):
        return
    for item, turn in enumerate(conversation.messages, 1):
        if turn["role"] == "assistant" and turn["content"].lstrip()[:4].lower() == "<div":
            yield item, turn["content"]


def _shown(file: Path) -> Iterator[tuple[int, str]]:
    """Answers as ChatGPT's own page shows them, or a file that is one answer."""
    page = file.read_text(encoding="utf-8", errors="replace")
    found = [node.html or "" for node in LexborHTMLParser(page).css("div.markdown")]
    yield from enumerate(found or [page] * page.lstrip().lower().startswith("<div"), 1)


def _count(counts: Counter[str], result: round_trip.Fidelity) -> None:
    counts["answers"] += 1
    counts["text"] += result.text
    counts["structure"] += result.structure
    counts["codes"] += result.codes
    counts["exact"] += result.exact


def _table(columns: dict[str, Counter[str]]) -> str:
    shown = {
        "text equal": ("text", "answers"),
        "structure equal": ("structure", "answers"),
        "code blocks exact": ("exact", "codes"),
    }
    rows = [
        [name, *(f"{counts[part]} of {counts[whole]}" for counts in columns.values())]
        for name, (part, whole) in shown.items()
    ]
    return str(tabulate(rows, headers=["", *columns]))


def _fastchat() -> Callable[[str], str] | None:
    """FastChat's converter, if it is installed; what it fails on comes out empty."""
    try:
        peer = importlib.import_module("fastchat.data.clean_sharegpt")
    except ImportError:
        return None

    def convert(page: str) -> str:
        try:
            return str(peer.html_to_markdown(page))
        except Exception:  # its parser's errors; a peer that fails has kept nothing
            return ""

    return convert
