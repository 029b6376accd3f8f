"""A chat endpoint that costs next to nothing, so that what is measured is the client.

``python -m tests.speed.engine_server --latency 2 --sigma 0.3`` prints its address and serves until
it is ended. It reads no more of a request than where it ends. Each answer is a text that begins
with the seconds it was made to take, from which a client can tell what could not have been faster.
"""

import argparse
import asyncio
import json
import math
import random
import re
from collections.abc import Callable

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
_WORDS = (
    "What holds here depends on the case, so start from one that you know well and change a single "
    "thing at a time. Write down what you expect before you look, because memory is kind to us. "
)
TEXT = _WORDS * 4
"""What every answer says after its seconds: about as long as a turn of UltraChat's."""


def answer(seconds: float, read: int) -> bytes:
    """A whole HTTP response with a completion; ``read`` is the size of the request."""
    text = f"{seconds:.4f} seconds. {TEXT}"
    message = {"role": "assistant", "content": text}
    body = json.dumps(
        {
            "id": "chatcmpl-speed",
            "object": "chat.completion",
            "created": 0,
            "model": "loopback",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {
                "prompt_tokens": read // 4 + 1,
                "completion_tokens": len(text) // 4,
                "total_tokens": (read + len(text)) // 4 + 1,
            },
        }
    ).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


class Calls(asyncio.Protocol):
    """One connection; calls on it are answered in turn, each after its seconds."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._got = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, why: Exception | None) -> None:
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._got += data
        while (size := _whole(self._got)) is not None:
            del self._got[:size]
            seconds = self._seconds()
            self._loop.call_later(seconds, self._send, seconds, size)

    def _send(self, seconds: float, size: int) -> None:
        if self._transport is not None:
            self._transport.write(answer(seconds, size))


def _whole(got: bytearray) -> int | None:
    """How many bytes the first request takes; None if it is not all there."""
    head = got.find(b"\r\n\r\n")
    if head < 0:
        return None
    if _CHUNKED.search(got, 0, head):
        end = got.find(b"\r\n0\r\n\r\n", head)
        return None if end < 0 else end + 7
    length = _LENGTH.search(got, 0, head + 2)
    size = head + 4 + (int(length[1]) if length else 0)
    return size if len(got) >= size else None


async def serve(latency: float, sigma: float) -> None:
    """Answer after lognormal times of mean ``latency`` seconds; ``sigma`` is that of their log."""
    draw = random.Random(7)
    middle = math.log(latency) - sigma * sigma / 2
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Calls(lambda: math.exp(draw.gauss(middle, sigma))), "127.0.0.1", 0, backlog=4096
    )
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description="Chat endpoint that costs next to nothing")
    parser.add_argument("--latency", type=float, required=True, help="mean seconds of an answer")
    parser.add_argument("--sigma", type=float, default=0.3)
    options = parser.parse_args()
    asyncio.run(serve(options.latency, options.sigma))


if __name__ == "__main__":
    main()
