import asyncio
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.servers.chat_api import ChatServer
from ultra.budget import FREE, Budget, Charge, Hold, Price, Prices, bound, dollars, estimate
from ultra.chat import OpenAIChat, Sampling, Usage
from ultra.engine import Limits, session
from ultra.errors import BudgetError, InputError, SettingError
from ultra.schema import Message

PRICE = Price(prompt=Decimal(2), completion=Decimal(8), cached=Decimal("0.5"), batch=Decimal("0.5"))
MOST = Usage(1000, 500)  # at PRICE: 0.006 dollars


def written(folder: Path, text: str) -> Path:
    path = folder / "prices.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def prices(folder: Path) -> Prices:
    return Prices.load(written(folder, "m: {prompt: 2, cached: 0.5, completion: 8, batch: 0.5}"))


@pytest.mark.parametrize(
    ("model", "prompt", "completion"),
    [
        ("gpt-4-1106-preview", 10, 30),
        ("gpt-4", 30, 60),
        ("gpt-4-0613", 30, 60),
        ("gpt-4-turbo-2024-04-09", 10, 30),
        ("gpt-3.5-turbo-0125", 0.5, 1.5),
        ("gpt-3.5-turbo-1106", 1, 2),
        ("gpt-4o", 2.5, 10),
        ("gpt-4o-2024-08-06", 2.5, 10),
        ("gpt-4o-2024-05-13", 5, 15),
        ("gpt-4o-mini-2024-07-18", 0.15, 0.6),
        ("gpt-4.1", 2, 8),
        ("gpt-4.1-mini-2025-04-14", 0.4, 1.6),
        ("demo", 0, 0),
    ],
)
def test_shipped_prices_are_those_of_the_list(model: str, prompt: float, completion: float) -> None:
    shipped = Prices.load()
    assert shipped.usd(model, Usage(1_000_000)) == prompt
    assert shipped.usd(model, Usage(0, 1_000_000)) == completion


@pytest.mark.parametrize("model", ["gpt-4-vision", "gpt-4ominous", "gpt-4o-audio-preview", "mine"])
def test_a_name_that_only_begins_alike_has_no_price(model: str) -> None:
    assert Prices.load().find(model) is None
    assert Prices.load().usd(model, Usage(1)) is None


def test_cached_tokens_and_batches_cost_less(tmp_path: Path) -> None:
    found = prices(tmp_path)
    assert found.usd("m", Usage(1_000_000, 0, cached_tokens=400_000)) == 0.6 * 2 + 0.4 * 0.5
    assert found.usd("m", Usage(1_000_000, 1_000_000), batch=True) == 5
    # a server that counts more of them than there are gains nothing by it
    assert found.usd("m", Usage(1_000_000, 0, cached_tokens=2_000_000)) == 0.5


def test_what_is_left_out_costs_no_less(tmp_path: Path) -> None:
    found = Prices.load(written(tmp_path, "m: {prompt: 3, completion: 4}"))
    assert found.usd("m", Usage(1_000_000, 0, cached_tokens=1_000_000), batch=True) == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("m: {prompt: 1, completion: two}", r":1: m: completion is not a number from 0 to a"),
        ("m:\n  prompt: 1\n  completion: -2", r":3: m: completion is not a number"),
        ("m: {prompt: .nan, completion: 1}", r":1: m: prompt is not a number"),
        ("m: {prompt: [1], completion: 1}", r":1: m: prompt is not a number"),
        ("m: {prompt: 1, completion: 1, batch: 2}", r":1: m: batch is not a number from 0 to 1"),
        ("m: {prompt: 1, completion: 1, cached: 2}", r":1: m: cached is more than prompt"),
        ("a: {prompt: 1, completion: 1}\nm: {prompt: 1}", r":2: m: completion is missing"),
        ("m: {prompt: 1, complete: 2}", r":1: m: complete is none .* mean 'completion'\?"),
        ("m: 3", r":1: expected lines of 'prompt: \.\.\.'"),
        ("m: {prompt: 1, completion: 1}\nm: {prompt: 2, completion: 1}", ":2: m: stands there twi"),
        ("[1, 2]", r":1: expected lines of 'a model's name"),
        ("", r":1: expected lines"),
        ("? [a]\n: 1", r":1: expected a model's name"),
        ("m: {", r"cannot be read as prices"),
        ("[" * 1500, r"cannot be read as prices"),
        ("\0", r"cannot be read as prices"),
    ],
)
def test_a_wrong_file_is_said_with_its_line_and_key(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        Prices.load(written(tmp_path, text))
    assert str(tmp_path / "prices.yaml") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.yaml: cannot be read as prices"):
        Prices.load(tmp_path / "none.yaml")


def test_an_unknown_model_matters_only_where_money_is_limited(tmp_path: Path) -> None:
    found = prices(tmp_path)
    assert Budget(found, tokens=10).price("other") is None
    with pytest.raises(SettingError, match=r"prices\.yaml has no price for mm; did you mean 'm'"):
        Budget(found, usd=1).price("mm")


def test_calls_without_a_price_count_as_calls_and_tokens(tmp_path: Path) -> None:
    budget = Budget(prices(tmp_path))
    for price, usd in ((PRICE, Decimal("0.00028")), (None, None)):
        hold = asyncio.run(budget.reserve(price, MOST))
        assert budget.settle(hold, Usage(100, 10)) == Charge(usd, 110, 1)
    assert (budget.calls, budget.tokens, budget.usd) == (2, 220, Decimal("0.00028"))


def test_sums_of_money_are_exact(tmp_path: Path) -> None:
    budget = Budget(prices(tmp_path))
    for _ in range(10_000):
        budget.add(0.0001, Usage(1))
    assert budget.usd == 1


@given(st.lists(st.text(max_size=300), min_size=1, max_size=4), st.integers(1, 4000))
def test_no_tokenizer_counts_more_than_the_bound(texts: list[str], most: int) -> None:
    messages: list[Message] = [{"role": "user", "content": text} for text in texts]
    found = bound(messages, Sampling(max_tokens=most))
    # Byte-level vocabularies have no token of less than a byte.
    assert found.prompt_tokens >= sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)
    assert found.completion_tokens == most


def test_half_a_surrogate_pair_has_a_bound() -> None:
    assert bound([{"role": "user", "content": "\ud800"}], Sampling()).prompt_tokens >= 3


async def work(budget: Budget, seed: int, calls: int) -> tuple[Decimal, int, int]:
    """Calls of random size in flight at once; returns what they really took."""
    draw = random.Random(seed)
    usd, tokens, made = Decimal(0), 0, 0

    async def call() -> None:
        nonlocal usd, tokens, made
        most = Usage(draw.randint(1, 2000), draw.randint(1, 1000))
        hold = await budget.reserve(PRICE, most)
        read = draw.randint(1, most.prompt_tokens)
        used = Usage(read, draw.randint(0, most.completion_tokens), draw.randint(0, read))
        for _ in range(draw.randint(0, 5)):
            await asyncio.sleep(0)
        how = draw.random()
        if how < 0.1:
            budget.release(hold)
            return
        # One that is never answered may have cost all the same, so it counts as spent here.
        usd, made = usd + PRICE.of(used), made + 1
        tokens += used.prompt_tokens + used.completion_tokens
        if how < 0.2:
            budget.forfeit(hold)
        else:
            budget.settle(hold, used)

    async def worker() -> None:
        for _ in range(calls):
            await call()

    await asyncio.gather(*(worker() for _ in range(8)), return_exceptions=True)
    return usd, tokens, made


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    usd=st.sampled_from([0.0, 0.004, 0.05]),
    tokens=st.sampled_from([0, 2000, 20_000]),
    calls=st.sampled_from([0, 1, 30]),
)
def test_a_budget_is_never_passed(seed: int, usd: float, tokens: int, calls: int) -> None:
    budget = Budget(Prices(Path("prices"), {"m": PRICE}), usd, tokens, calls)
    spent = asyncio.run(work(budget, seed, 10))
    assert not usd or spent[0] <= budget.usd <= Decimal(str(usd))
    assert not tokens or spent[1] <= budget.tokens <= tokens
    assert not calls or spent[2] <= budget.calls <= calls
    assert usd or tokens or calls or spent[2] > 60


def test_a_call_waits_for_those_under_way_to_leave_it_room(tmp_path: Path) -> None:
    async def scene() -> None:
        budget = Budget(prices(tmp_path), usd=0.0115)
        first = await budget.reserve(PRICE, MOST)
        second = asyncio.create_task(budget.reserve(PRICE, MOST))
        third = asyncio.create_task(budget.reserve(PRICE, Usage(1, 1)))
        await asyncio.sleep(0.01)
        assert not second.done()
        assert not third.done()  # who came first goes first
        budget.settle(first, Usage(1000, 400))  # 0.0052: what is left is 0.0063
        budget.settle(await second, Usage(1000, 500))
        budget.settle(await third, Usage(1, 1))
        assert budget.usd == Decimal("0.01121")
        with pytest.raises(
            BudgetError,
            match=r"budget: \$0\.0112 of \$0\.0115 spent, and the next call could take up to "
            r"\$0\.0060; .* --budget-usd",
        ):
            await budget.reserve(PRICE, MOST)

    asyncio.run(scene())


def test_a_call_that_can_never_fit_is_not_made(tmp_path: Path) -> None:
    async def scene() -> None:
        budget = Budget(prices(tmp_path), tokens=1499)
        with pytest.raises(BudgetError, match=r"0 of 1,499 tokens spent.*1,500;.*--budget-tokens"):
            await budget.reserve(None, MOST)
        with pytest.raises(BudgetError):  # nothing is begun only to be given up
            await budget.reserve(None, Usage(1, 1))

    asyncio.run(scene())


def test_all_who_wait_are_told_when_the_budget_is_used_up(tmp_path: Path) -> None:
    async def scene() -> None:
        budget = Budget(prices(tmp_path), calls=1)
        first = await budget.reserve(FREE, MOST)
        waiting = [asyncio.create_task(budget.reserve(FREE, MOST)) for _ in range(3)]
        await asyncio.sleep(0.01)
        budget.settle(first, MOST)
        told = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(one) for one in told] == [BudgetError] * 3
        assert "1 of 1 calls spent, and the next call could take 1 more" in str(told[0])

    asyncio.run(scene())


def test_who_stops_waiting_keeps_nothing_back(tmp_path: Path) -> None:
    async def scene() -> None:
        budget = Budget(prices(tmp_path), calls=2)
        first, second = await budget.reserve(FREE, MOST), await budget.reserve(FREE, MOST)
        gone = asyncio.create_task(budget.reserve(FREE, MOST))
        late = asyncio.create_task(budget.reserve(FREE, MOST))
        stays = asyncio.create_task(budget.reserve(FREE, MOST))
        await asyncio.sleep(0)
        gone.cancel()
        budget.release(first)  # late may go, but is cancelled before it hears of it
        late.cancel()
        budget.settle(await stays, MOST)
        budget.settle(second, MOST)
        assert await asyncio.gather(gone, late, return_exceptions=True)
        assert gone.cancelled()
        assert late.cancelled()
        assert budget.calls == 2

    asyncio.run(asyncio.wait_for(scene(), 10))


def test_what_earlier_runs_spent_counts(tmp_path: Path) -> None:
    budget = Budget(prices(tmp_path), usd=1)
    budget.add(0.996, Usage(100))
    with pytest.raises(BudgetError, match=r"\$0\.9960 of \$1\.00 spent"):
        asyncio.run(budget.reserve(PRICE, MOST))
    raised = Budget(prices(tmp_path), usd=2)
    raised.add(0.996, Usage(100))
    raised.settle(asyncio.run(raised.reserve(PRICE, MOST)), Usage(1000, 100))
    assert raised.usd == Decimal("0.9988")


@pytest.mark.parametrize("said", [Usage(), Usage(0, 50), Usage(-100, 50), Usage(10, -1)])
def test_a_server_that_does_not_count_is_taken_at_the_most(tmp_path: Path, said: Usage) -> None:
    budget = Budget(prices(tmp_path))
    charge = budget.settle(asyncio.run(budget.reserve(PRICE, MOST)), said)
    assert charge == Charge(Decimal("0.006"), 1500, 1)
    assert (budget.usd, budget.tokens) == (Decimal("0.006"), 1500)


def test_a_model_on_this_machine_that_does_not_count_took_nothing(tmp_path: Path) -> None:
    budget = Budget(prices(tmp_path))
    assert budget.settle(asyncio.run(budget.reserve(FREE, MOST)), Usage()) == Charge(
        Decimal(0), 0, 1
    )


def test_a_batch_is_kept_back_and_charged_at_its_price(tmp_path: Path) -> None:
    budget = Budget(prices(tmp_path), usd=0.004)
    hold = asyncio.run(budget.reserve(PRICE, MOST, calls=10, batch=True))
    assert hold.usd == Decimal("0.003")
    assert budget.settle(hold, Usage(500, 100), calls=8) == Charge(Decimal("0.0009"), 600, 8)
    assert budget.calls == 8
    again = budget.take(PRICE, Usage(9000, 0), 1, batch=True)  # is under way, whatever it costs
    with pytest.raises(BudgetError, match="the next batch of 2 calls"):
        asyncio.run(short_of_room(budget, again))


async def short_of_room(budget: Budget, again: Hold) -> None:
    turn = asyncio.create_task(budget.reserve(PRICE, MOST, calls=2, batch=True))
    await asyncio.sleep(0)
    budget.settle(again, Usage(9000, 0))
    await turn


def test_an_estimate_is_one_line(tmp_path: Path) -> None:
    found = prices(tmp_path)
    assert estimate(found, "m", 35_000, 20_000_000, 5_000_000) == (
        "m: 35,000 calls, about 20,000,000 tokens read and 5,000,000 written, about $80.00"
    )
    assert estimate(found, "n", 1, 1, 1).endswith(f"no price for it in {found.path}")
    assert [dollars(usd) for usd in (0, 0.0042, 1234.5)] == ["$0.00", "$0.0042", "$1,234.50"]


def ask(server: ChatServer, folder: Path, **limits: float) -> None:
    """Make a hundred calls through a session."""

    async def asked() -> None:
        given: dict[str, Any] = {"prices": folder / "prices.yaml", "concurrency": 8, **limits}
        async with session(Limits(**given), folder / "run") as run:
            model = run.model(OpenAIChat("m", server.url))

            async def one(number: int) -> None:
                messages: list[Message] = [{"role": "user", "content": f"Case {number}"}]
                await model.complete(messages, Sampling(max_tokens=40))

            await run.for_each(range(100), one, 100, "calls")

    asyncio.run(asked())


def paid(folder: Path) -> Decimal:
    lines = (folder / "run" / "journal.jsonl").read_bytes().splitlines()
    return sum((Decimal(str(orjson.loads(line)["usd"])) for line in lines), Decimal(0))


def test_a_run_stops_within_its_money_and_a_higher_budget_goes_on(tmp_path: Path) -> None:
    written(tmp_path, "m: {prompt: 100, completion: 300}")
    draw = random.Random(5)
    with ChatServer(reply=lambda messages: "word " * draw.randint(1, 40)) as server:
        for most in (0.05, 0.1):
            with pytest.raises(BudgetError, match=r"spent, and the next call .* --budget-usd"):
                ask(server, tmp_path, budget_usd=most)
            assert most / 2 < paid(tmp_path) <= Decimal(str(most))
            assert len(server.requests) < 100
        ask(server, tmp_path, budget_usd=10)
    asked = [str(request.body["messages"]) for request in server.requests]
    assert len(asked) == len(set(asked)) == 100


@pytest.mark.parametrize("limit", [{"budget_calls": 30}, {"budget_tokens": 600}])
def test_a_run_stops_within_its_tokens_and_calls(tmp_path: Path, limit: dict[str, int]) -> None:
    written(tmp_path, "m: {prompt: 100, completion: 300}")
    with ChatServer() as server, pytest.raises(BudgetError):
        ask(server, tmp_path, **limit)
    lines = (tmp_path / "run" / "journal.jsonl").read_bytes().splitlines()
    usages = [orjson.loads(line)["completion"]["usage"] for line in lines]
    tokens = sum(usage["prompt_tokens"] + usage["completion_tokens"] for usage in usages)
    assert len(lines) == len(server.requests)
    assert len(lines) == 30 or 300 < tokens <= 600


def test_a_model_without_a_price_is_refused_before_any_call(tmp_path: Path) -> None:
    written(tmp_path, "other: {prompt: 100, completion: 300}")
    with ChatServer() as server:
        with pytest.raises(SettingError, match="has no price for m"):
            ask(server, tmp_path, budget_usd=1)
        assert server.requests == []
        ask(server, tmp_path)
        assert len(server.requests) == 100


def test_a_batch_that_does_not_fit_leaves_single_calls_to_be_made() -> None:
    async def run() -> None:
        budget = Budget(Prices.load(), calls=5)
        with pytest.raises(BudgetError, match="batch of 9 calls"):
            await budget.reserve(FREE, Usage(1, 1), calls=9, batch=True)
        await budget.reserve(FREE, Usage(1, 1))
        budget.release(await budget.reserve(FREE, Usage(1, 1), calls=4))

    asyncio.run(run())
