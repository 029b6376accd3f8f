"""What can go wrong with a call at the loopback chat endpoint."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

Json = dict[str, Any]
Messages = list[dict[str, str]]


@dataclass(frozen=True)
class Request:
    """What a client sent."""

    path: str
    authorization: str
    body: Json
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one call; by default nothing does.

    ``error`` is the error object of a refusal, in which ``KEY`` stands for the key that was sent;
    ``change`` rewrites the good answer; ``raw`` is sent in place of it; ``reset`` cuts the
    connection, ``reset_in_body`` does so in the middle of the answer, ``hang`` keeps it open
    without a word until the server closes.
    """

    status: int = 200
    error: Mapping[str, str] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    change: Callable[[Json], object] | None = None
    raw: bytes | None = None
    reset: bool = False
    reset_in_body: bool = False
    hang: bool = False


def refusal(status: int, code: str, message: str) -> Fault:
    """An error as OpenAI words it."""
    return Fault(status, {"message": message, "type": "error", "code": code})


def _first_choice(**changes: Any) -> Fault:
    return Fault(change=lambda answer: {**answer, "choices": [answer["choices"][0] | changes]})


RATE_LIMITED = refusal(429, "rate_limit_exceeded", "Rate limit reached for requests")
QUOTA = refusal(429, "insufficient_quota", "You exceeded your current quota")
SERVER_ERROR = refusal(500, "server_error", "The server had an error")
BAD_KEY = refusal(401, "invalid_api_key", "Incorrect API key provided: KEY")
UNKNOWN_MODEL = refusal(404, "model_not_found", "The model does not exist")
FILTERED_PROMPT = refusal(400, "content_filter", "The prompt was filtered by policy")
CONTEXT_LENGTH = refusal(
    400, "context_length_exceeded", "The prompt is longer than the context of the model"
)
NO_CHOICE = Fault(change=lambda answer: answer | {"choices": []})
NULL_CONTENT = _first_choice(message={"role": "assistant", "content": None})
CUT_SHORT = _first_choice(finish_reason="length")
FILTERED_ANSWER = _first_choice(finish_reason="content_filter")
NOT_JSON = Fault(raw=b'{"choices": [')
RESET = Fault(reset=True)
RESET_IN_BODY = Fault(reset_in_body=True)
HANG = Fault(hang=True)


def rate_limited(retry_after: float | str) -> Fault:
    """A 429 that says when to come again: in seconds, or as an HTTP date."""
    after = retry_after if isinstance(retry_after, str) else f"{retry_after:g}"
    return replace(RATE_LIMITED, headers={"Retry-After": after})


def thinking(aloud: str, text: str) -> Fault:
    """Not a fault: an answer whose reasoning stands in a field of its own."""
    return _first_choice(message={"role": "assistant", "content": text, "reasoning_content": aloud})
