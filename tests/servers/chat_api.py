"""A small OpenAI-compatible chat endpoint on 127.0.0.1, with faults and limits on demand.

In a test::

    with ChatServer(reply=lambda messages: "yes") as server:
        server.fail(RATE_LIMITED, times=2)
        ...  # talk to server.url
        assert len(server.requests) == 3

For another process: ``python -m tests.servers.chat_api --port 0`` prints its address and serves.
One thread serves thousands of calls at a time, so replies must not wait for anything.
"""

import argparse
import asyncio
import hashlib
import json
import math
import random
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from aiohttp import web

from tests.servers.chat_faults import (
    BAD_KEY,
    CONTEXT_LENGTH,
    CUT_SHORT,
    FILTERED_ANSWER,
    FILTERED_PROMPT,
    HANG,
    NO_CHOICE,
    NOT_JSON,
    NULL_CONTENT,
    QUOTA,
    RATE_LIMITED,
    RESET,
    RESET_IN_BODY,
    SERVER_ERROR,
    UNKNOWN_MODEL,
    Fault,
    Json,
    Messages,
    Request,
    rate_limited,
    refusal,
    thinking,
)

__all__ = [
    "BAD_KEY",
    "CONTEXT_LENGTH",
    "CUT_SHORT",
    "FILTERED_ANSWER",
    "FILTERED_PROMPT",
    "HANG",
    "NOT_JSON",
    "NO_CHOICE",
    "NULL_CONTENT",
    "QUOTA",
    "RATE_LIMITED",
    "RESET",
    "RESET_IN_BODY",
    "SERVER_ERROR",
    "UNKNOWN_MODEL",
    "Capacity",
    "ChatServer",
    "Fault",
    "Json",
    "Latency",
    "Messages",
    "Request",
    "answer",
    "echo",
    "rate_limited",
    "refusal",
    "thinking",
]


@dataclass(frozen=True)
class Latency:
    """Seconds before each answer, drawn from a lognormal distribution of the given ``mean``.

    ``sigma`` is the standard deviation of its logarithm; 0 makes all answers take ``mean``.
    """

    mean: float = 0.0
    sigma: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Capacity:
    """What the server can take; 0 is no limit.

    It refuses with 429 what goes beyond ``requests_per_second`` (counted in each whole second) or
    beyond ``concurrent`` calls at a time, saying ``retry_after`` seconds if that is not 0. Beyond
    ``running`` calls at a time it lets them wait their turn, as vLLM does.
    """

    requests_per_second: int = 0
    concurrent: int = 0
    running: int = 0
    retry_after: float = 0.0


def echo(messages: Messages) -> str:
    """The default reply: depends on every message, and is readable."""
    digest = hashlib.sha256(json.dumps(messages, sort_keys=True).encode()).hexdigest()
    return f"Reply {digest[:12]} to: {messages[-1]['content'][:80]}"


class ChatServer:
    """Answers ``POST /v1/chat/completions`` by a rule; use it as a context manager."""

    def __init__(
        self,
        reply: Callable[[Messages], str] = echo,
        latency: float | Latency = 0.0,
        port: int = 0,
        capacity: Capacity | None = None,
    ) -> None:
        self.reply = reply
        self.latency = latency if isinstance(latency, Latency) else Latency(latency)
        self.capacity = capacity or Capacity()
        self.requests: list[Request] = []
        self.keeps_requests = True
        self.in_flight = self.most_in_flight = self.refused = 0
        self.fault_of: Callable[[Request], Fault] = lambda request: Fault()
        """Decides by the request; asked where no fault is queued by :meth:`fail`."""
        self._queue: deque[Fault] = deque()
        self._random = random.Random(self.latency.seed)
        self._second, self._in_second = 0, 0
        self._socket = socket.create_server(("127.0.0.1", port), backlog=4096)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.serve_forever)
        self._closing = asyncio.Event()
        self._turns = asyncio.Semaphore(self.capacity.running or 2**31)

    @property
    def url(self) -> str:
        """The base URL that a client is given."""
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}/v1"

    def fail(self, fault: Fault, times: int = 1) -> None:
        """Let the next calls meet a fault."""
        self._queue.extend([fault] * times)

    def serve_forever(self) -> None:
        """Serve until another thread closes the server, or the process ends."""
        self._loop.run_until_complete(self._serve())
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join()

    async def _serve(self) -> None:
        runner = web.ServerRunner(web.Server(self._answer, access_log=None), shutdown_timeout=0.01)
        await runner.setup()
        await web.SockSite(runner, self._socket).start()
        await self._closing.wait()
        await runner.cleanup()

    async def _answer(self, http: web.BaseRequest) -> web.StreamResponse:
        body = json.loads(await http.read())
        request = Request(http.path, http.headers.get("Authorization", ""), body, http.headers)
        if self.keeps_requests:
            self.requests.append(request)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            return await self._send(http, request, self._next_fault(request))
        finally:
            self.in_flight -= 1

    def _next_fault(self, request: Request) -> Fault:
        second = int(self._loop.time())
        self._in_second = self._in_second + 1 if second == self._second else 1
        self._second = second
        capacity = self.capacity
        if (
            0 < capacity.requests_per_second < self._in_second
            or 0 < capacity.concurrent < self.in_flight
        ):
            self.refused += 1
            return rate_limited(capacity.retry_after) if capacity.retry_after else RATE_LIMITED
        return self._queue.popleft() if self._queue else self.fault_of(request)

    async def _send(
        self, http: web.BaseRequest, request: Request, fault: Fault
    ) -> web.StreamResponse:
        if fault.hang:
            await self._closing.wait()
            return _reset(http)
        if fault.reset:
            return _reset(http)
        if fault.error is not None:
            text = json.dumps({"error": dict(fault.error)})
            key = request.authorization.removeprefix("Bearer ")
            content = text.replace("KEY", key).encode()
        elif fault.raw is not None:
            content = fault.raw
        else:
            async with self._turns:
                if self.latency.mean:
                    await asyncio.sleep(self._seconds())
                said = answer(request.body, self.reply(request.body["messages"]))
            content = json.dumps(fault.change(said) if fault.change else said).encode()
        headers = {"Content-Type": "application/json", **fault.headers}
        if fault.reset_in_body:
            response = web.StreamResponse(status=fault.status, headers=headers)
            response.content_length = len(content)
            await response.prepare(http)
            await response.write(content[: len(content) // 2])
            return _reset(http)
        return web.Response(status=fault.status, headers=headers, body=content)

    def _seconds(self) -> float:
        sigma = self.latency.sigma
        if not sigma:
            return self.latency.mean
        return self.latency.mean * math.exp(self._random.gauss(-sigma * sigma / 2, sigma))


def _reset(http: web.BaseRequest) -> web.StreamResponse:
    """Cut the connection so that the client sees a reset."""
    if http.transport is not None:
        linger = struct.pack("ii", 1, 0)  # on, for no time: closing resets
        connection = http.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        http.transport.abort()
    return web.Response()


def answer(body: Json, text: str) -> Json:
    """The completion of a request, with log probabilities where it asks for them.

    A word counts as a token.
    """
    read = sum(len(turn["content"].split()) for turn in body["messages"])
    words = text.split()
    choice: Json = {
        "index": 0,
        "message": {"role": "assistant", "content": text},
        "finish_reason": "stop",
    }
    if body.get("logprobs"):
        choice["logprobs"] = {"content": [_word(word, body["top_logprobs"]) for word in words]}
    return {
        "id": "chatcmpl-loopback",
        "object": "chat.completion",
        "created": 0,
        "model": body["model"],
        "choices": [choice],
        "usage": {
            "prompt_tokens": read,
            "completion_tokens": len(words),
            "total_tokens": read + len(words),
            "prompt_tokens_details": {"cached_tokens": read // 2},
        },
    }


def _word(word: str, count: int) -> Json:
    """The word at probability 1/2, then others, each at half the one before."""
    likely = [word, *(f"other{place}" for place in range(1, count))]
    top = [
        {"token": token, "logprob": -math.log(2) * place, "bytes": None}
        for place, token in enumerate(likely, 1)
    ]
    return {**top[0], "top_logprobs": top}


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(description="Loopback chat endpoint")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.0, help="mean seconds of an answer")
    parser.add_argument("--sigma", type=float, default=0.0, help="lognormal spread of the latency")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--requests-per-second", type=int, default=0, help="429 beyond them")
    parser.add_argument("--concurrent", type=int, default=0, help="429 beyond them")
    parser.add_argument("--running", type=int, default=0, help="more wait their turn")
    options = parser.parse_args()
    server = ChatServer(
        latency=Latency(options.latency, options.sigma, options.seed),
        port=options.port,
        capacity=Capacity(options.requests_per_second, options.concurrent, options.running),
    )
    server.keeps_requests = False
    print(server.url, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
