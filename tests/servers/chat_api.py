"""A small OpenAI-compatible chat endpoint on 127.0.0.1, with faults on demand.

In a test::

    with ChatServer(reply=lambda messages: "yes") as server:
        server.fail(RATE_LIMITED, times=2)
        ...  # talk to server.url
        assert len(server.requests) == 3

For another process: ``python -m tests.servers.chat_api --port 0`` prints its address and serves.
"""

import argparse
import hashlib
import json
import os
import socket
import struct
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tests.servers.loopback import LoopbackHandler, LoopbackServer

Json = dict[str, Any]
Messages = list[dict[str, str]]


@dataclass(frozen=True)
class Request:
    """What a client sent."""

    path: str
    authorization: str
    body: Json


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one call; by default nothing does.

    ``error`` is the error object of a refusal, in which ``KEY`` stands for the key that was sent;
    ``change`` rewrites the good answer; ``raw`` is sent in place of it; ``reset`` cuts the
    connection, ``hang`` keeps it open without a word until the server closes.
    """

    status: int = 200
    error: Mapping[str, str] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    change: Callable[[Json], object] | None = None
    raw: bytes | None = None
    reset: bool = False
    hang: bool = False


def refusal(status: int, code: str, message: str) -> Fault:
    """An error as OpenAI words it."""
    return Fault(status, {"message": message, "type": "error", "code": code})


def _first_choice(**changes: Any) -> Fault:
    return Fault(change=lambda answer: {**answer, "choices": [answer["choices"][0] | changes]})


RATE_LIMITED = refusal(429, "rate_limit_exceeded", "Rate limit reached for requests")
SERVER_ERROR = refusal(500, "server_error", "The server had an error")
BAD_KEY = refusal(401, "invalid_api_key", "Incorrect API key provided: KEY")
UNKNOWN_MODEL = refusal(404, "model_not_found", "The model does not exist")
FILTERED_PROMPT = refusal(400, "content_filter", "The prompt was filtered by policy")
NO_CHOICE = Fault(change=lambda answer: answer | {"choices": []})
NULL_CONTENT = _first_choice(message={"role": "assistant", "content": None})
CUT_SHORT = _first_choice(finish_reason="length")
FILTERED_ANSWER = _first_choice(finish_reason="content_filter")
NOT_JSON = Fault(raw=b'{"choices": [')
RESET = Fault(reset=True)
HANG = Fault(hang=True)


def rate_limited(retry_after: float) -> Fault:
    """A 429 that says when to come again."""
    return replace(RATE_LIMITED, headers={"Retry-After": f"{retry_after:g}"})


def echo(messages: Messages) -> str:
    """The default reply: depends on every message, and is readable."""
    digest = hashlib.sha256(json.dumps(messages, sort_keys=True).encode()).hexdigest()
    return f"Reply {digest[:12]} to: {messages[-1]['content'][:80]}"


class ChatServer(LoopbackServer):
    """Answers ``POST /v1/chat/completions`` by a rule; use it as a context manager."""

    def __init__(
        self, reply: Callable[[Messages], str] = echo, latency: float = 0.0, port: int = 0
    ) -> None:
        super().__init__(_Handler, port)
        self.reply, self.latency = reply, latency
        self.requests: list[Request] = []
        self.fault_of: Callable[[Request], Fault] = lambda request: Fault()
        """Decides by the request; asked where no fault is queued by :meth:`fail`."""
        self._queue: deque[Fault] = deque()

    @property
    def url(self) -> str:
        """The base URL that a client is given."""
        return f"http://127.0.0.1:{self.server_port}/v1"

    def fail(self, fault: Fault, times: int = 1) -> None:
        """Let the next calls meet a fault."""
        self._queue.extend([fault] * times)

    def next_fault(self, request: Request) -> Fault:
        try:
            return self._queue.popleft()
        except IndexError:
            return self.fault_of(request)


class _Handler(LoopbackHandler):
    server: ChatServer

    def do_POST(self) -> None:  # noqa: N802 (http.server asks for this name)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        request = Request(self.path, self.headers.get("Authorization", ""), body)
        self.server.requests.append(request)
        fault = self.server.next_fault(request)
        self.server.closing.wait(None if fault.hang else self.server.latency)
        self.close_connection |= fault.reset or fault.hang
        if fault.reset:
            linger = struct.pack("ii", 1, 0)  # on, for no time: closing resets
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            os.close(self.connection.detach())
        elif fault.hang:
            return
        elif fault.error is not None:
            text = json.dumps({"error": dict(fault.error)})
            key = request.authorization.removeprefix("Bearer ")
            self._send(fault, text.replace("KEY", key).encode())
        elif fault.raw is not None:
            self._send(fault, fault.raw)
        else:
            answer = _answer(body, self.server.reply(body["messages"]))
            self._send(fault, json.dumps(fault.change(answer) if fault.change else answer).encode())

    def _send(self, fault: Fault, body: bytes) -> None:
        self.send_response(fault.status)
        for name, value in fault.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _answer(body: Json, text: str) -> Json:
    read = sum(len(turn["content"].split()) for turn in body["messages"])
    said = len(text.split())
    message = {"role": "assistant", "content": text}
    return {
        "id": "chatcmpl-loopback",
        "object": "chat.completion",
        "created": 0,
        "model": body["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": read, "completion_tokens": said, "total_tokens": read + said},
    }


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(description="Loopback chat endpoint")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    options = parser.parse_args()
    server = ChatServer(latency=options.latency, port=options.port)
    print(server.url, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
