"""What an OpenAI-compatible endpoint answers, in whatever dialect, as plain values."""

import json
import math
import time
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from ultra import jsonl

LONGEST_WAIT = 600.0
"""Seconds; a server that asks for more in ``Retry-After`` is asked again after these."""


def parse(content: bytes) -> Any:
    """The JSON of an answer, halves of surrogate pairs included, which orjson refuses.

    Raises:
        ValueError, RecursionError: it is none.
    """
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        return json.loads(content)


def split_reasoning(text: str) -> tuple[str, str]:
    """The text of an answer, and the ``<think>`` part before it that some servers leave in.

    One that never ends is all reasoning: the answer was cut short before it began.
    """
    start = text.lstrip()
    if start.startswith("<think>"):
        aloud, _, rest = start.removeprefix("<think>").partition("</think>")
        return rest.lstrip(), aloud.strip()
    aloud, end, rest = text.partition("</think>")  # templates of some models open it themselves
    return (rest.lstrip(), aloud.strip()) if end and "<think>" not in aloud else (text, "")


def wait_seconds(retry_after: str) -> float:
    """Seconds to wait by a ``Retry-After`` header, a number or a date; 0 if it says nothing."""
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(retry_after).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return 0.0
    return min(max(seconds, 0.0), LONGEST_WAIT) if math.isfinite(seconds) else 0.0


def counts(found: Any) -> tuple[int, int, int]:
    """Tokens read, written, and read from the server's cache; 0 where ``usage`` does not say."""
    if not isinstance(found, dict):
        return 0, 0, 0
    details = found.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else 0
    return (
        _count(found.get("prompt_tokens")),
        _count(found.get("completion_tokens")),
        _count(cached),
    )


def _count(number: Any) -> int:
    return number if type(number) is int and 0 <= number < 2**53 else 0


def top_logprobs(found: Any) -> list[dict[str, float]]:
    """For each token the likeliest ones and their log probabilities; none if one is no number."""
    if not isinstance(found, dict):
        return []
    tops = [
        {jsonl.scrub(top["token"]): float(top["logprob"]) for top in token["top_logprobs"]}
        for token in found.get("content") or []
    ]
    return tops if all(map(math.isfinite, (p for top in tops for p in top.values()))) else []


def error(content: bytes) -> tuple[str, str]:
    """The code and the message of an error, as OpenAI, vLLM and others word them."""
    try:
        body = parse(content)
    except (ValueError, RecursionError):
        return "", ""
    found = body.get("error", body) if isinstance(body, dict) else body
    if not isinstance(found, dict):
        return "", found if isinstance(found, str) else ""
    code, message = found.get("code") or found.get("type"), found.get("message")
    return (code if isinstance(code, str) else "", message if isinstance(message, str) else "")
