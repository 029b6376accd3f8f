"""CPU seconds of the stages of reading pages, each with those before it: the limits of a build.

``python -m tests.speed.sharegpt_stages PAGES`` prints one JSON object: stage, seconds.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
from selectolax.lexbor import LexborHTMLParser

from datasets_scripts.sharegpt import pages, turns
from ultra.schema import Conversation

_SCRIPT = b'<script id="__NEXT_DATA__"'


def read(folder: Path) -> None:
    """Only the bytes."""
    for file in _files(folder):
        file.read_bytes()


def parse_json(folder: Path) -> None:
    """And the page's data, found by its script."""
    for file in _files(folder):
        _data(file.read_bytes())


def parse_answers(folder: Path) -> None:
    """And the tree of each answer, which nobody walks."""
    for file in _files(folder):
        for item in _items(_data(file.read_bytes())):
            if item["from"] == "gpt":
                _ = LexborHTMLParser(item["value"]).body


def convert(folder: Path) -> None:
    """Our own reader and converter: raw pages in, messages of Markdown out and forgotten."""
    for file in _files(folder):
        record = pages.read_page(file.name, file.read_bytes())
        if isinstance(record, pages.RawConversation):
            conversation = turns.to_conversation(record)
            if isinstance(conversation, Conversation):
                turns.to_text(conversation)


STAGES: dict[str, Callable[[Path], None]] = {
    "read bytes": read,
    "+ find script, orjson": parse_json,
    "+ Lexbor parse of every answer": parse_answers,
    "our reader and converter": convert,
}


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.html"))


def _data(page: bytes) -> Any:
    """The page's data; None for the few pages that orjson refuses, as a limit need not be fair."""
    start = page.find(b">", page.rfind(_SCRIPT)) + 1
    try:
        return orjson.loads(page[start : page.find(b"</script>", start)])
    except orjson.JSONDecodeError:
        return None


def _items(data: Any) -> list[Any]:
    content = data["props"]["pageProps"].get("content") if data else None
    return content["items"] if content else []


def main(folder: Path) -> None:
    """Take the stages one after the other and print what each took."""
    seconds = {}
    for name, stage in STAGES.items():
        start = time.process_time()
        stage(folder)
        seconds[name] = time.process_time() - start
    print(json.dumps(seconds))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
