import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.speed import engine, engine_ours, engine_server, harness
from tests.speed.engine import Held, Settings
from tests.speed.harness import Cost
from tests.speed.peers import bare_openai
from ultra.engine import Limits
from ultra.errors import SettingError

BODY = b'{"model": "m"}'
PLAIN = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 14\r\n\r\n" + BODY
CHUNKED = (
    b"POST /v1/chat/completions HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"e\r\n" + BODY + b"\r\n0\r\n\r\n"
)


async def talk(pieces: list[bytes], answers: int, seconds: Callable[[], float]) -> list[str]:
    """Send pieces one by one; returns the texts of so many answers, in the order they came."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: engine_server.Calls(seconds), "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        texts = []
        for _ in range(answers):
            head = await reader.readuntil(b"\r\n\r\n")
            size = int(head.rpartition(b"Content-Length: ")[2])
            body = json.loads(await reader.readexactly(size))
            texts.append(body["choices"][0]["message"]["content"])
        writer.close()
        return texts


@pytest.mark.parametrize("request_", [PLAIN, CHUNKED])
def test_the_endpoint_answers_each_request_however_it_comes(request_: bytes) -> None:
    pieces = [request_[:5], request_[5:70], request_[70:] + request_, request_[:-3], request_[-3:]]
    texts = asyncio.run(talk(pieces, 3, lambda: 0.0))
    assert [text.partition(" ")[0] for text in texts] == ["0.0000"] * 3


def test_the_endpoint_says_how_long_an_answer_took() -> None:
    seconds = iter([0.02, 0.01])
    texts = asyncio.run(talk([PLAIN, PLAIN], 2, lambda: next(seconds)))
    assert sorted(text.partition(" ")[0] for text in texts) == ["0.0100", "0.0200"]


def test_the_share_of_the_limit_is_of_what_no_client_could_pass() -> None:
    held = Held(Cost(1, 1), seconds=20, calls=100, server_s=100, slowest_s=6, loop_s=0.2)
    assert held.share(10) == 50  # ten at a time take ten seconds
    assert held.share(100) == 30  # one dialogue alone takes six
    assert (held.per_s, held.ms) == (5, 2)


def test_settings_that_measure_nothing_are_refused() -> None:
    with pytest.raises(SettingError, match="flight: 0 is less than 1"):
        Settings(flight=0)
    with pytest.raises(SettingError, match="latency, short: must be more than 0"):
        Settings(short=0)
    assert Settings(dialogues=10).few == 10


def test_every_side_holds_the_same_dialogues(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def mine(url: str) -> Awaitable[dict[str, float]]:
        return engine_ours.hold(url, 5, Limits(concurrency=3), tmp_path)

    def pool(url: str) -> Awaitable[dict[str, float]]:
        return bare_openai.hold(url, 5, 3, "pool")

    def gather(url: str) -> Awaitable[dict[str, float]]:
        return bare_openai.hold(url, 5, 3, "gather")

    async def all_of(url: str) -> list[dict[str, float]]:
        return [await side(url) for side in (mine, pool, gather)]

    with engine.endpoint(0.002) as url:
        found = asyncio.run(all_of(url))
    assert [one["calls"] for one in found] == [35, 35, 35]
    for one in found:
        assert one["seconds"] > max(one["server_s"] / 3, one["slowest_s"])
    assert len((tmp_path / "journal.jsonl").read_bytes().splitlines()) == 35


def test_a_plan_stops_after_the_calls_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    limits = Limits(concurrency=4, budget_calls=30)
    with engine.endpoint(0.001) as url:
        found = asyncio.run(engine_ours.hold(url, 10**6, limits, tmp_path))
    assert found["calls"] == 30


def test_what_a_side_prints_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(out=tmp_path, flight=7)
    seen: list[str] = []
    line = {"seconds": 2.0, "calls": 4, "server_s": 7.0, "slowest_s": 1.0}

    def measure(words: list[str], folder: Path) -> Cost:
        seen.extend(words)
        folder.mkdir(parents=True)
        (folder / harness.LOG).write_text("noise\n" + json.dumps(line) + "\n")
        return Cost(3.0, 50.0)

    monkeypatch.setattr(harness, "measure", measure)
    held = engine.hold("ours", engine.ours(9), 0.001, settings)
    assert held == Held(Cost(3.0, 50.0), loop_s=3.0, **line)  # type: ignore[arg-type]
    assert seen[seen.index("--flight") + 1] == "7"
    assert seen[seen.index("--dialogues") + 1] == "9"
    assert "--folder" in seen
