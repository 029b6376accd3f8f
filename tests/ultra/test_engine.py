import asyncio
import gc
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.conftest import ROOT
from tests.servers import chat_api
from tests.servers.chat_api import ChatServer, Fault, Request
from tests.ultra import clock
from ultra import engine
from ultra.budget import bound
from ultra.chat import Completion, OpenAIChat, Sampling, Usage
from ultra.demo import DemoChat
from ultra.engine import Limits, Session, session
from ultra.errors import BudgetError, CallError, ModelError, PassingError, SettingError
from ultra.schema import Message

KILLS = int(os.environ.get("ULTRA_ENGINE_KILLS", "2"))
"""How often, at random moments, the run is killed; what is asserted holds whatever the moment."""

Rule = Callable[[int, str], Awaitable[None]]
LIMITED = PassingError("slow down", "no_answer", "limited")
BROKEN = PassingError("no answer", "no_answer", "broken")


def turn(text: str) -> list[Message]:
    return [{"role": "user", "content": text}]


async def at_once(call: int, text: str) -> None:
    pass


class FakeChat:
    """Answers each text with itself; ``rule(call, text)`` waits or raises before."""

    name = "fake"
    identity = "fake 1"

    def __init__(self, rule: Rule = at_once) -> None:
        self.rule = rule
        self.asked: list[str] = []
        self.closed = False

    async def complete(self, messages: list[Message], sampling: Sampling) -> Completion:
        text = messages[-1]["content"]
        self.asked.append(text)
        await self.rule(len(self.asked), text)
        return Completion(f"to {text}", "stop", "fake-1", Usage(10, 5))

    async def close(self) -> None:
        self.closed = True


def in_session(
    run: Path, work: Callable[[Session], Awaitable[Any]], limits: Limits | None = None
) -> Any:
    """What ``work`` gives with a session, on a clock that does not wait."""

    async def main() -> Any:
        async with session(limits or Limits(), run, "test") as opened:
            return await work(opened)

    return clock.run(main())


def ask_all(
    run: Path, chat: FakeChat, texts: list[str], limits: Limits | None = None
) -> tuple[list[str], Counter[str]]:
    """Texts that were answered, in their order, and the reasons of those that were not."""
    answered, reasons = set(), Counter[str]()

    async def work(opened: Session) -> None:
        model = opened.model(chat)

        async def one(text: str) -> None:
            try:
                assert (await model.complete(turn(text), Sampling())).text == f"to {text}"
                answered.add(text)
            except CallError as error:
                reasons[error.reason] += 1

        await opened.for_each(texts, one, len(texts), "texts")

    in_session(run, work, limits)
    return [text for text in texts if text in answered], reasons


def numbers(count: int) -> list[str]:
    return [str(number) for number in range(count)]


# A session.


def test_what_was_answered_is_not_asked_again(tmp_path: Path) -> None:
    first, second = FakeChat(), FakeChat()
    assert ask_all(tmp_path, first, numbers(5))[0] == numbers(5)
    assert ask_all(tmp_path, second, numbers(8))[0] == numbers(8)
    assert sorted(second.asked) == ["5", "6", "7"]
    assert first.closed
    assert second.closed


def test_it_tells_what_it_spent(tmp_path: Path) -> None:
    ask_all(tmp_path, FakeChat(), numbers(2))

    async def work(opened: Session) -> engine.Spent:
        model = opened.model(FakeChat())
        for text in numbers(5):
            await model.complete(turn(text), Sampling())
        return opened.spent

    assert in_session(tmp_path, work) == engine.Spent(3, 2, 30, 15, 0.0)
    runs = (tmp_path / "runs.jsonl").read_bytes().splitlines()
    assert [orjson.loads(line)["calls"] for line in runs] == [2, 3]


def test_two_equal_requests_in_flight_share_a_call(tmp_path: Path) -> None:
    async def slow(call: int, text: str) -> None:
        await asyncio.sleep(1)

    chat = FakeChat(slow)

    async def work(opened: Session) -> list[Completion]:
        one, other = opened.model(chat), opened.model(chat)
        both = [model.complete(turn("a"), Sampling()) for model in (one, one)]
        return [*await asyncio.gather(*both), await other.complete(turn("a"), Sampling())]

    assert len(set(map(repr, in_session(tmp_path, work)))) == 1
    assert chat.asked == ["a"]


def test_half_a_surrogate_pair_is_asked_as_what_can_be_sent(tmp_path: Path) -> None:
    chat = FakeChat()

    async def work(opened: Session) -> str:
        return (await opened.model(chat).complete(turn("a\ud800b"), Sampling())).text

    assert in_session(tmp_path, work) == "to a\ufffdb"


def test_the_offline_model_needs_no_price(tmp_path: Path) -> None:
    async def work(opened: Session) -> float:
        await opened.model(DemoChat()).complete(turn("Why is the sky blue?"), Sampling())
        return opened.spent.usd

    assert in_session(tmp_path, work, Limits(budget_usd=0.01)) == 0.0


@pytest.mark.parametrize(
    "odd",
    [
        {"concurrency": 0},
        {"requests_per_minute": -1},
        {"budget_usd": float("nan")},
        {"budget_usd": float("inf")},
        {"budget_calls": -1},
    ],
)
def test_limits_that_make_no_sense_are_refused(odd: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match=next(iter(odd))):
        Limits(**odd)


# Work on many items.


def test_the_longest_of_those_within_reach_go_first(tmp_path: Path) -> None:
    begun: list[int] = []

    async def work(opened: Session) -> None:
        async def one(item: int) -> None:
            begun.append(item)
            await asyncio.sleep(1)

        await opened.for_each(range(100), one, 100, "items", size=lambda item: item)

    in_session(tmp_path, work, Limits(concurrency=2))
    assert begun[:4] == [8, 9, 10, 11]  # four times the concurrency is within reach
    assert sorted(begun) == list(range(100))


def test_items_are_taken_only_as_far_as_is_looked_ahead(tmp_path: Path) -> None:
    taken: list[int] = []

    def plan() -> Any:
        for number in range(10**9):
            taken.append(number)
            yield number

    async def work(opened: Session) -> None:
        async def one(item: int) -> None:
            if item == 50:
                raise ModelError("enough")

        await opened.for_each(plan(), one, 10**9, "items", size=lambda item: 1)

    with pytest.raises(ModelError):
        in_session(tmp_path, work, Limits(concurrency=4))
    assert len(taken) < 50 + 30


def test_the_first_error_that_is_no_calls_own_cancels_all_others(tmp_path: Path) -> None:
    async def rule(call: int, text: str) -> None:
        if text == "5":
            raise ModelError("refused")
        await asyncio.sleep(1000)

    with pytest.raises(ModelError, match=r"^refused$"):
        ask_all(tmp_path, FakeChat(rule), numbers(50))


def test_errors_that_nobody_waits_for_any_more_are_quiet(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def rule(call: int, text: str) -> None:
        await asyncio.sleep(1)
        raise ModelError("refused")

    with pytest.raises(ModelError):
        ask_all(tmp_path, FakeChat(rule), numbers(50))
    gc.collect()
    assert caplog.text == ""


# Trying again.


@pytest.mark.parametrize("kind", ["limited", "refused", "broken", "unreachable"])
def test_what_passes_is_not_seen(kind: str, tmp_path: Path) -> None:
    async def rule(call: int, text: str) -> None:
        if call <= 2:
            raise PassingError("for now", "no_answer", kind)

    chat = FakeChat(rule)
    assert ask_all(tmp_path, chat, ["a"]) == (["a"], {})
    assert len(chat.asked) == 3


def test_what_does_not_pass_fails_that_call_only(tmp_path: Path) -> None:
    async def rule(call: int, text: str) -> None:
        if text == "7":
            raise BROKEN

    chat = FakeChat(rule)
    answered, reasons = ask_all(tmp_path, chat, numbers(30))
    assert (len(answered), reasons) == (29, {"no_answer": 1})
    assert chat.asked.count("7") == engine.TRIES


def test_a_refusal_of_one_call_is_not_tried_again(tmp_path: Path) -> None:
    async def rule(call: int, text: str) -> None:
        raise CallError("too long", "context_length")

    chat = FakeChat(rule)
    assert ask_all(tmp_path, chat, ["a"]) == ([], {"context_length": 1})
    assert chat.asked == ["a"]


def test_a_place_is_free_while_a_retry_sleeps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ultra.engine.random.uniform", lambda low, high: 100.0)
    done: dict[str, float] = {}

    async def rule(call: int, text: str) -> None:
        await asyncio.sleep(1)
        if call == 1:
            raise BROKEN

    async def work(opened: Session) -> None:
        model = opened.model(FakeChat(rule))

        async def one(text: str) -> None:
            await model.complete(turn(text), Sampling())
            done[text] = clock.now()

        await asyncio.gather(*(one(text) for text in numbers(5)))

    in_session(tmp_path, work, Limits(concurrency=1))
    assert done.pop("0") == pytest.approx(102)
    assert sorted(done.values()) == pytest.approx([2, 3, 4, 5])


def test_waits_grow_and_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    most: list[float] = []

    def draw(low: float, high: float) -> float:
        most.append(high)
        return low

    monkeypatch.setattr("ultra.engine.random.uniform", draw)

    async def rule(call: int, text: str) -> None:
        raise BROKEN

    ask_all(tmp_path, FakeChat(rule), ["a"])
    assert most == [0.5, 1, 2, 4, 8]


def test_a_rate_limit_is_waited_for_however_long_it_takes(tmp_path: Path) -> None:
    """It lets through one call every 20 seconds, and refuses all others."""
    free = [0.0]

    async def rule(call: int, text: str) -> None:
        if clock.now() < free[0]:
            raise LIMITED
        free[0] = clock.now() + 20

    answered, reasons = ask_all(tmp_path, FakeChat(rule), numbers(10))
    assert (len(answered), reasons) == (10, {})


def test_retry_after_holds_for_all_calls(tmp_path: Path) -> None:
    times: list[float] = []

    async def rule(call: int, text: str) -> None:
        times.append(clock.now())
        if call == 1:
            await asyncio.sleep(0.1)
            raise PassingError("slow down", "no_answer", "limited", after=40.0)
        await asyncio.sleep(3)

    ask_all(tmp_path, FakeChat(rule), numbers(50))
    assert times.count(0.0) == 16
    assert not [moment for moment in times if 0 < moment < 40]


def test_continuing_dialogues_go_before_new_ones(tmp_path: Path) -> None:
    async def rule(call: int, text: str) -> None:
        await asyncio.sleep(1)

    chat = FakeChat(rule)

    async def work(opened: Session) -> None:
        model = opened.model(chat)
        await asyncio.gather(
            *(
                model.complete(turn(text) * long, Sampling())
                for text, long in [("now", 1), ("new", 1), ("third", 3), ("fifth", 5), ("newer", 1)]
            )
        )

    in_session(tmp_path, work, Limits(concurrency=1))
    assert chat.asked == ["now", "fifth", "third", "new", "newer"]


# When no later call can succeed.


def test_an_endpoint_that_is_not_there_is_said_soon(tmp_path: Path) -> None:
    async def rule(call: int, text: str) -> None:
        raise PassingError("cannot be reached", "no_answer", "unreachable")

    async def work(opened: Session) -> None:
        with pytest.raises(ModelError, match="cannot be reached"):
            await opened.model(FakeChat(rule)).complete(turn("a"), Sampling())
        assert clock.now() < 5

    in_session(tmp_path, work)


def test_an_endpoint_that_limits_for_ever_is_given_up(tmp_path: Path) -> None:
    async def rule(call: int, text: str) -> None:
        raise LIMITED

    with pytest.raises(ModelError, match=r"slow down \(for 600 s now; run again later\)"):
        ask_all(tmp_path, FakeChat(rule), ["a"])


def test_a_rising_error_rate_stops_the_run_which_goes_on_later(tmp_path: Path) -> None:
    broken_from = 200

    async def rule(call: int, text: str) -> None:
        await asyncio.sleep(0.1)
        if call > broken_from:
            raise BROKEN

    chat = FakeChat(rule)
    with pytest.raises(ModelError, match=r"no answer, in 6 tries \(51 of the last 100 calls"):
        ask_all(tmp_path, chat, numbers(1000))
    again = FakeChat()
    assert ask_all(tmp_path, again, numbers(1000))[0] == numbers(1000)
    assert len(again.asked) == 800


# The budget.


def test_a_budget_is_never_passed_and_all_that_was_paid_for_is_kept(tmp_path: Path) -> None:
    async def rule(call: int, text: str) -> None:
        await asyncio.sleep(random.random())

    chat = FakeChat(rule)
    with pytest.raises(BudgetError, match="--budget-calls"):
        ask_all(tmp_path, chat, numbers(100), Limits(budget_calls=40))
    assert len(chat.asked) == len((tmp_path / "journal.jsonl").read_bytes().splitlines()) == 40
    with pytest.raises(BudgetError):
        ask_all(tmp_path, chat, numbers(100), Limits(budget_calls=40))
    assert len(chat.asked) == 40
    assert ask_all(tmp_path, chat, numbers(100), Limits(budget_calls=100))[0] == numbers(100)
    assert len(chat.asked) == 100


PRICES = "fake: {prompt: 10, completion: 20}"


@pytest.fixture
def prices(tmp_path: Path) -> Path:
    path = tmp_path / "prices.yaml"
    path.write_text(PRICES)
    return path


def test_a_completion_knows_what_it_cost_when_it_was_paid_for(tmp_path: Path, prices: Path) -> None:
    async def ask(opened: Session) -> list[float | None]:
        models = [opened.model(chat) for chat in (FakeChat(), DemoChat())]
        return [(await model.complete(turn("Why?"), Sampling())).usd for model in models]

    assert in_session(tmp_path / "known", ask, Limits(prices=prices)) == [0.0002, 0.0]
    prices.write_text(PRICES.replace("1", "9"))
    assert in_session(tmp_path / "known", ask, Limits(prices=prices)) == [0.0002, 0.0]
    assert in_session(tmp_path / "unknown", ask) == [None, 0.0]
    assert in_session(tmp_path / "unknown", ask, Limits(prices=prices)) == [None, 0.0]


@pytest.mark.parametrize("end", ["broken", "cancelled"])
def test_what_calls_without_an_answer_may_cost_counts_in_later_runs(
    tmp_path: Path, prices: Path, end: str
) -> None:
    most = bound(turn("a"), Sampling())

    async def rule(call: int, text: str) -> None:
        if end == "broken":
            raise BROKEN
        await asyncio.sleep(1000)

    async def cut(opened: Session) -> None:
        model = opened.model(FakeChat(rule))
        calls = engine.TRIES
        if end == "broken":
            with pytest.raises(CallError):
                await model.complete(turn("a"), Sampling())
        else:
            waits = [
                asyncio.create_task(model.complete([*turn(t), *turn("a")], Sampling()))
                for t in numbers(calls)
            ]
            await asyncio.sleep(1)
            for wait in waits:
                wait.cancel()

    async def look(opened: Session) -> tuple[Decimal, int, int]:
        budget = opened.budget
        return budget.usd, budget.tokens, budget.calls

    in_session(tmp_path, cut, Limits(prices=prices))
    usd, tokens, calls = in_session(tmp_path, look, Limits(prices=prices))
    assert calls == engine.TRIES
    assert tokens >= calls * (most.prompt_tokens + most.completion_tokens)
    assert (
        usd
        == Decimal("0.00001") * (tokens - calls * most.completion_tokens)
        + Decimal("0.00002") * calls * most.completion_tokens
    )


def test_a_refused_call_costs_nothing_in_later_runs(tmp_path: Path) -> None:
    async def rule(call: int, text: str) -> None:
        raise CallError("too long", "context_length")

    ask_all(tmp_path, FakeChat(rule), ["a"])
    assert (tmp_path / "journal.jsonl").read_bytes() == b""


def test_tokens_that_a_server_does_not_count_are_bounded_in_later_runs_too(tmp_path: Path) -> None:
    class Silent(FakeChat):
        async def complete(self, messages: list[Message], sampling: Sampling) -> Completion:
            return replace(await super().complete(messages, sampling), usage=Usage())

    seen = []
    for _ in range(2):

        async def work(opened: Session) -> None:
            await opened.model(Silent()).complete(turn("a"), Sampling())
            seen.append((opened.budget.tokens, opened.budget.calls))

        in_session(tmp_path, work)
    assert seen[0] == seen[1]
    assert seen[0][0] > Sampling().max_tokens


@pytest.mark.parametrize(("known", "said"), [(True, "$0.0002, "), (False, "price unknown, ")])
def test_the_line_shows_what_calls_cost(
    tmp_path: Path, prices: Path, known: bool, said: str
) -> None:
    async def work(opened: Session) -> str:
        await opened.model(FakeChat()).complete(turn("a"), Sampling())
        return opened._line(opened._counted())

    line = in_session(tmp_path, work, Limits(prices=prices) if known else None)
    assert f" tokens/s, {said}0/16 in flight" in line


# Against a server.


FAULTS = {
    "limited": chat_api.RATE_LIMITED,
    "limited a while": chat_api.rate_limited(0.05),
    "500": chat_api.SERVER_ERROR,
    "reset": chat_api.RESET,
    "reset in the body": chat_api.RESET_IN_BODY,
    "not JSON": chat_api.NOT_JSON,
    "no choice": chat_api.NO_CHOICE,
    "hang": chat_api.HANG,
    "length": chat_api.CUT_SHORT,
    "filtered answer": chat_api.FILTERED_ANSWER,
}
BAD = {
    "filtered": (chat_api.FILTERED_PROMPT, "content_filter"),
    "too long": (chat_api.CONTEXT_LENGTH, "context_length"),
    "odd": (chat_api.refusal(400, "odd", "Bad value"), "refused"),
    "always 500": (chat_api.SERVER_ERROR, "no_answer"),
    "never JSON": (chat_api.NOT_JSON, "not_a_completion"),
}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "WAIT", 0.01)


def test_every_fault_in_one_run(tmp_path: Path, quick: None) -> None:
    met: set[str] = set()
    lock = threading.Lock()

    def fault_of(request: Request) -> Fault:
        kind, _, number = request.body["messages"][-1]["content"].partition(" #")
        if kind in BAD:
            return BAD[kind][0]
        with lock:
            passes = f"{kind} {number}" in met
            met.add(f"{kind} {number}")
        return FAULTS.get(kind, Fault()) if not passes else Fault()

    kinds = [*FAULTS, *["good"] * 20]
    good = [f"{kind} #{number}" for number in range(4) for kind in kinds]
    bad = [f"{kind} #{number}" for number in range(3) for kind in BAD]
    endings, reasons = Counter[str](), Counter[str]()
    texts = list(good)
    for place, text in enumerate(bad):
        texts.insert(7 * place, text)

    async def main(url: str) -> None:
        async with session(Limits(concurrency=16), tmp_path) as opened:
            model = opened.model(OpenAIChat("m", url, timeout=0.3))

            async def one(text: str) -> None:
                try:
                    said = await model.complete(turn(text), Sampling())
                    endings[said.finish_reason] += 1
                except CallError as error:
                    reasons[error.reason] += 1

            await opened.for_each(texts, one, len(texts), "texts")

    with ChatServer() as server:
        server.fault_of = fault_of
        asyncio.run(main(server.url))
    assert reasons == {reason: 3 for _, reason in BAD.values()}
    assert endings == {"stop": len(good) - 8, "length": 4, "content_filter": 4}


@pytest.mark.parametrize(
    "fault",
    [chat_api.BAD_KEY, chat_api.QUOTA, chat_api.UNKNOWN_MODEL],
    ids=["key", "quota", "name"],
)
def test_what_no_later_call_can_pass_stops_the_run_at_once(fault: Fault, tmp_path: Path) -> None:
    async def main(url: str) -> None:
        async with session(Limits(concurrency=4), tmp_path) as opened:
            await opened.model(OpenAIChat("m", url)).complete(turn("a"), Sampling())

    with ChatServer() as server:
        server.fail(fault)
        with pytest.raises(ModelError):
            asyncio.run(main(server.url))
        assert len(server.requests) == 1


KILLED = """
import asyncio, sys
from pathlib import Path
from ultra.chat import OpenAIChat, Sampling
from ultra.engine import Limits, session

async def main(url, folder, count):
    async with session(Limits(concurrency=16), Path(folder)) as opened:
        model = opened.model(OpenAIChat("m", url))
        texts = {}
        async def one(number):
            messages = []
            for round in range(3):
                messages.append({"role": "user", "content": f"{number} round {round}"})
                said = await model.complete(list(messages), Sampling())
                messages.append({"role": "assistant", "content": said.text})
            texts[number] = messages[-1]["content"]
        await opened.for_each(range(count), one, count, "dialogues")
    Path(folder, "result").write_text("\\n".join(texts[number] for number in range(count)))

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


def held(number: int) -> str:
    """How a dialogue of the script ends."""
    messages: list[dict[str, str]] = []
    for round in range(3):
        messages.append({"role": "user", "content": f"{number} round {round}"})
        messages.append({"role": "assistant", "content": chat_api.echo(messages)})
    return messages[-1]["content"]


def test_a_run_killed_again_and_again_repeats_only_what_was_in_flight(tmp_path: Path) -> None:
    count = 20 * (KILLS + 1)

    def start(url: str) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-c", KILLED, url, str(tmp_path), str(count)]
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)

    draw = random.Random()
    with ChatServer(latency=0.01) as server:
        for _ in range(KILLS):
            enough = len(server.requests) + draw.randrange(1, 50)
            with start(server.url) as process:
                while len(server.requests) < enough:
                    assert process.poll() is None
                    time.sleep(0.001)
                time.sleep(draw.random() / 50)
                os.kill(process.pid, signal.SIGKILL)
        with start(server.url) as process:
            assert process.wait() == 0
    asked = Counter(repr(request.body["messages"]) for request in server.requests)
    assert len(asked) == 3 * count
    assert sum(asked.values()) <= 3 * count + KILLS * 16
    assert (tmp_path / "result").read_text().splitlines() == [held(n) for n in range(count)]
