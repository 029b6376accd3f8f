import asyncio
import json
import multiprocessing
import os
import secrets
import signal
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.servers.batch_api import EXPIRED, NO_COMPLETION, REFUSED, BatchServer
from ultra import batch, batch_parts
from ultra.batch_parts import Request
from ultra.budget import Budget, Price, Prices
from ultra.chat import OpenAIChat, Sampling, Usage
from ultra.engine import Limits, session
from ultra.errors import BudgetError, InputError, ModelError, SettingError
from ultra.journal import Journal, keyed
from ultra.schema import Message

PRICE = Price(prompt=Decimal(10), completion=Decimal(30), cached=Decimal(10), batch=Decimal("0.5"))
PRICES = Prices(Path("prices"), {"m": PRICE})


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[BatchServer]:
    monkeypatch.setattr(batch, "PAUSES", (0.01, 0.02))
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)
    with BatchServer() as server:
        yield server


def requests(chat: OpenAIChat, *texts: str) -> list[Request]:
    found = []
    for text in texts:
        messages: list[Message] = [{"role": "user", "content": text}]
        sampling = Sampling(max_tokens=100)
        found.append(Request(*keyed(chat.identity, messages, sampling), sampling))
    return found


def fill(server: BatchServer, run: Path, *texts: str, **limits: Any) -> dict[str, Any]:
    """Fill a journal as a process of its own would; returns its lines by what was asked."""
    batch_parts._PROCESS = secrets.token_hex(8)

    async def filled() -> None:
        chat = OpenAIChat("m", server.url)
        try:
            with Journal(run / "journal.jsonl") as journal:
                budget = Budget(PRICES, **limits)
                budget.add(journal.before.usd, Usage())
                await batch.fill(chat, requests(chat, *texts), journal, budget)
        finally:
            await chat.close()

    asyncio.run(asyncio.wait_for(filled(), 20))
    return lines(run)


def lines(run: Path) -> dict[str, Any]:
    rows = [json.loads(line) for line in (run / "journal.jsonl").read_bytes().splitlines()]
    found = {row["completion"]["text"].partition("to: ")[2]: row for row in rows}
    assert len(found) == len(rows)
    return found


def left(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "batches").glob("*"))


def test_answers_come_to_the_journal_at_half_the_price(
    server: BatchServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.looks = 3
    found = fill(server, tmp_path, "one", "two words", "one")
    assert sorted(found) == ["one", "two words"]
    usage = found["two words"]["completion"]["usage"]
    tokens = usage["prompt_tokens"] * 10 + usage["completion_tokens"] * 30
    assert found["two words"]["usd"] == tokens / 2 / 1_000_000
    assert server.requests == []
    assert left(tmp_path) == []
    said = capsys.readouterr().err
    assert "batch_0: in_progress, 0 of 2 calls done" in said
    assert said.endswith("batch_0: 2 of 2 answered\n")


def test_what_the_journal_has_is_not_asked_again(server: BatchServer, tmp_path: Path) -> None:
    fill(server, tmp_path, "one", "two")
    found = fill(server, tmp_path, "one", "two", "three")
    assert sorted(found) == ["one", "three", "two"]
    assert [len(file.splitlines()) for name, file in server.files.items() if "file" in name] == [
        2,
        1,
    ]
    fill(server, tmp_path, "one")
    assert len(server.batches) == 2


def test_requests_are_split_at_the_limits_of_the_api(
    server: BatchServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_parts, "MOST_CALLS", 3)
    assert len(fill(server, tmp_path / "a", *"abcdefg")) == 7
    sizes = [
        len(server.files[one["input_file_id"]].splitlines()) for one in server.batches.values()
    ]
    assert sorted(sizes) == [1, 3, 3]
    monkeypatch.setattr(batch_parts, "MOST_BYTES", 1500)
    assert len(fill(server, tmp_path / "b", "x" * 1000, "y" * 2000, "z")) == 3
    assert len(server.batches) == 6


def test_items_that_fail_are_left_for_the_normal_way(
    server: BatchServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = {"late": EXPIRED, "long": REFUSED, "empty": NO_COMPLETION}
    server.ends = lambda line: bad.get(line["body"]["messages"][0]["content"])
    assert list(fill(server, tmp_path, "late", "good", "long", "empty")) == ["good"]
    assert left(tmp_path) == []
    said = capsys.readouterr().err
    assert "1 of 4 answered, 3 left for the normal way (" in said
    for reason in ("batch_expired 1", "context_length_exceeded 1", "not_a_completion 1"):
        assert reason in said


@pytest.mark.parametrize("status", ["expired", "cancelled"])
def test_of_a_batch_that_ends_early_what_is_there_is_kept(
    server: BatchServer, tmp_path: Path, status: str
) -> None:
    server.status = status
    server.ends = lambda line: EXPIRED if "two" in str(line) else None
    assert list(fill(server, tmp_path, "one", "two")) == ["one"]


def test_hostile_results_are_left_out(server: BatchServer, tmp_path: Path) -> None:
    server.ends = lambda line: {"custom_id": "no key of ours", **REFUSED}

    def spoil(step: str) -> None:
        if step == "download_errors":
            for name in list(server.files):
                if name.startswith("errors"):
                    server.files[name] = b'{"custom_id": 7}\n[1]\nnot json\n{"custom_id": "' + b"\n"

    server.on = spoil
    assert fill(server, tmp_path, "one") == {}


def test_half_a_surrogate_pair_in_a_result_is_replaced(server: BatchServer, tmp_path: Path) -> None:
    server.reply = lambda messages: f"\ud83d half to: {messages[-1]['content']}"
    assert fill(server, tmp_path, "one")["one"]["completion"]["text"] == "\ufffd half to: one"
    assert server.requests == []


def test_what_an_endpoint_counts_beyond_its_answers_counts_in_later_runs(
    server: BatchServer, tmp_path: Path
) -> None:
    server.ends = lambda line: EXPIRED if "late" in str(line) else None
    details = {"input_tokens_details": {"cached_tokens": 0}, "total_tokens": 1500}
    told = {"input_tokens": 1000, "output_tokens": 500, "output_tokens_details": {}, **details}

    def count(step: str) -> None:
        for one in server.batches.values():
            one["usage"] = told

    server.on = count

    async def fill_both() -> Budget:
        chat = OpenAIChat("m", server.url)
        with Journal(tmp_path / "journal.jsonl") as journal:
            budget = Budget(PRICES)
            await batch.fill(chat, requests(chat, "one", "late"), journal, budget)
        await chat.close()
        return budget

    budget = asyncio.run(asyncio.wait_for(fill_both(), 20))
    assert budget.usd == PRICE.of(Usage(1000, 500), batch=True)
    with Journal(tmp_path / "journal.jsonl") as journal:
        before = journal.before
    assert (before.calls, before.prompt_tokens + before.completion_tokens) == (1, 1500)
    assert before.usd == pytest.approx(float(budget.usd))


def test_a_batch_refused_as_a_whole_says_why_and_is_forgotten(
    server: BatchServer, tmp_path: Path
) -> None:
    server.status = "failed"
    with pytest.raises(ModelError, match=r"batch_0: refused \(token_limit_exceeded: Enq.*--batch"):
        fill(server, tmp_path, "one")
    server.status = "completed"
    assert list(fill(server, tmp_path, "one")) == ["one"]


def test_a_batch_beyond_the_budget_is_not_asked_for(server: BatchServer, tmp_path: Path) -> None:
    with pytest.raises(BudgetError, match=r"the next batch of 2 calls could take up to \$0"):
        fill(server, tmp_path, "one", "two", usd=0.001)
    assert server.files == {}
    assert sorted(fill(server, tmp_path, "one", "two", usd=1)) == ["one", "two"]
    assert left(tmp_path) == []


def test_money_spent_through_batches_counts(server: BatchServer, tmp_path: Path) -> None:
    found = fill(server, tmp_path, "one", usd=0.01)
    spent = found["one"]["usd"]
    most = PRICE.of(Usage(64 + 16 + 3, 100), batch=True)
    with pytest.raises(BudgetError):
        fill(server, tmp_path, "two", usd=float(most) + spent - 0.000001)
    assert len(fill(server, tmp_path, "two", usd=float(most) + spent)) == 2


def test_a_creation_whose_answer_is_lost_is_not_made_twice(
    server: BatchServer, tmp_path: Path
) -> None:
    server.lost = 1
    assert list(fill(server, tmp_path, "one")) == ["one"]
    assert len(server.batches) == 1


def test_an_endpoint_that_is_down_for_a_while_is_waited_for(
    server: BatchServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.down = 12
    assert list(fill(server, tmp_path, "one")) == ["one"]
    monkeypatch.setattr(batch, "PATIENCE", 2)
    server.down = 100
    with pytest.raises(ModelError, match=r"batch: .* run again and it goes on from there"):
        fill(server, tmp_path, "two")
    server.down = 0
    assert sorted(fill(server, tmp_path, "two")) == ["one", "two"]
    assert len(server.batches) == 2


def test_an_endpoint_without_batches_says_so(server: BatchServer, tmp_path: Path) -> None:
    server.takes_batches = False
    with pytest.raises(SettingError, match="batch: the endpoint of m has no Batch API"):
        fill(server, tmp_path, "one")


def test_a_batch_that_the_endpoint_forgot_is_for_a_person_to_decide(
    server: BatchServer, tmp_path: Path
) -> None:
    server.on = lambda step: server.batches.clear() if step == "look" else None
    with pytest.raises(ModelError, match=r"batch_0: .*does not know.* remove .*\.json to ask and"):
        fill(server, tmp_path, "one")
    assert len(left(tmp_path)) == 2


def test_a_broken_state_file_is_named(server: BatchServer, tmp_path: Path) -> None:
    (tmp_path / "batches").mkdir()
    (tmp_path / "batches" / "x.json").write_text("{}")
    with pytest.raises(InputError, match=r"x\.json: tells of no batch .* remove it"):
        fill(server, tmp_path, "one")


def test_a_batch_of_other_requests_is_neither_waited_for_nor_lost(
    server: BatchServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "PATIENCE", 1)
    server.down = 100
    with pytest.raises(ModelError):
        fill(server, tmp_path, "one")
    server.down = 0
    assert list(fill(server, tmp_path, "other")) == ["other"]
    assert sorted(fill(server, tmp_path, "one")) == ["one", "other"]
    assert len(server.batches) == 2


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # of Python 3.12, for threads
@pytest.mark.parametrize(
    "step", ["upload", "uploaded", "create", "created", "look", "download", "download_errors"]
)
def test_killed_at_any_moment_nothing_is_paid_for_twice(
    server: BatchServer, tmp_path: Path, step: str
) -> None:
    server.ends = lambda line: EXPIRED if "late" in str(line) else None
    texts = ("good", "also good", "late")
    process = multiprocessing.get_context("fork").Process(
        target=fill, args=(server, tmp_path, *texts), kwargs={"usd": 1}
    )

    def kill(reached: str) -> None:
        if reached == step:
            server.on = lambda step: None
            assert process.pid
            os.kill(process.pid, signal.SIGKILL)

    server.on = kill
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert sorted(fill(server, tmp_path, *texts, usd=1)) == ["also good", "good"]
    assert len(server.batches) == 1
    assert left(tmp_path) == []


def test_two_models_are_filled_at_the_same_time(server: BatchServer, tmp_path: Path) -> None:
    server.looks = 3

    async def both() -> None:
        chats = [OpenAIChat(name, server.url) for name in ("m", "n")]
        with Journal(tmp_path / "journal.jsonl") as journal:
            budget = Budget(PRICES)
            fills = (batch.fill(chat, requests(chat, "one"), journal, budget) for chat in chats)
            await asyncio.gather(*fills)
        for chat in chats:
            await chat.close()

    asyncio.run(asyncio.wait_for(both(), 20))
    rows = [json.loads(line) for line in (tmp_path / "journal.jsonl").read_bytes().splitlines()]
    assert sorted((row["completion"]["model"], row["usd"] is None) for row in rows) == [
        ("m", False),
        ("n", True),
    ]
    assert left(tmp_path) == []


def test_what_a_batch_leaves_out_is_asked_in_the_normal_way(
    server: BatchServer, tmp_path: Path
) -> None:
    server.ends = lambda line: EXPIRED if "late" in str(line) else None
    texts = ("one", "late", "\ud800 half a pair")

    async def asked() -> list[str]:
        async with session(Limits(batch=True), tmp_path) as run:
            model = run.model(OpenAIChat("m", server.url))
            wanted: list[tuple[list[Message], Sampling]] = [
                ([{"role": "user", "content": text}], Sampling()) for text in texts
            ]
            await run.fill(model, wanted)
            return [(await model.complete(*one)).text for one in wanted]

    said = asyncio.run(asyncio.wait_for(asked(), 20))
    assert [text.partition("to: ")[2] for text in said] == ["one", "late", "\ufffd half a pair"]
    assert [request.body["messages"][0]["content"] for request in server.requests] == ["late"]
