"""What a loopback server says in a dialogue: other words to each request, in the right part."""

from itertools import pairwise

from tests.servers.chat_api import Messages
from ultra import jsonl


def reply(messages: Messages) -> str:
    """A question from the simulated user, an answer from the assistant."""
    words = [code_word(part) for part in _parts(jsonl.digest(messages))]
    if messages[0]["role"] == "system":
        return f"And how would {words[0]} change if {words[1]} were {words[2]} instead?"
    said = "; ".join(f"{word} follows from {other}" for word, other in pairwise(words))
    return f"It depends on {words[0]}. As far as is known, {said}. More cannot be said here."


def code_word(hexadecimal: str) -> str:
    """Letters for digits, so that it looks like a word."""
    return "".join("abcdefghijklmnop"[int(digit, 16)] for digit in hexadecimal)


def _parts(digest: str) -> list[str]:
    return [digest[start : start + 6] for start in range(0, 30, 6)]


def opening_number(messages: Messages) -> int:
    """Which of the openings of ``conftest.write_openings`` a request is about; -1 for none."""
    for turn in messages:
        start, _, rest = turn["content"].partition("Opening number ")
        if not start and rest:
            return int(rest.partition("?")[0])
    return -1
