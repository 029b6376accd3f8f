import asyncio
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.conftest import ROOT
from ultra.chat import Completion, Sampling, Usage
from ultra.errors import CallError, InputError, OutputError
from ultra.journal import Journal, Journaled, Paid, _Syncing
from ultra.schema import Message

SAID = Completion("é\u2028\n😀", "stop", "m", Usage(3, 4))
HI: list[Message] = [{"role": "user", "content": "Hi"}]


class CountingModel:
    """Answers with the number of the call; waits for ``gate`` first, if it has one."""

    name = "counting"

    def __init__(self, identity: str = "counting 1", error: Exception | None = None) -> None:
        self.identity, self.error = identity, error
        self.calls = 0
        self.gate: asyncio.Event | None = None
        self.closed = False

    async def complete(self, messages: list[Message], sampling: Sampling) -> Completion:
        self.calls += 1
        number = self.calls
        if self.gate:
            await self.gate.wait()
        if self.error:
            raise self.error
        return Completion(f"answer {number}", "stop", self.name, Usage(2, 1))

    async def close(self) -> None:
        self.closed = True


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "journal.jsonl"


def write(path: Path, *keys: str) -> None:
    with Journal(path) as journal:
        for key in keys:
            journal.add(key, replace(SAID, text=key))


# The file.


def test_a_completion_comes_back_whole_in_a_later_run(path: Path) -> None:
    with Journal(path) as journal:
        assert journal.get("k") is None
        journal.add("k", SAID)
        assert journal.get("k") == SAID
    with Journal(path) as journal:
        assert journal.get("k") == SAID
        assert journal.get("other") is None


def test_a_line_is_in_the_file_before_its_completion_is_used(path: Path) -> None:
    with Journal(path) as journal:
        journal.add("k", SAID)
        assert orjson.loads(path.read_bytes())["key"] == "k"


@pytest.mark.parametrize("torn", [b"{", b'{"key":"c","completion":{"text":"x', b"\0\0\0"])
def test_a_torn_last_line_is_repaired(torn: bytes, path: Path) -> None:
    write(path, "a", "b")
    whole = path.read_bytes()
    path.write_bytes(whole + torn)
    write(path, "c")
    assert path.read_bytes().startswith(whole)
    with Journal(path) as journal:
        assert [journal.get(key) is not None for key in "abc"] == [True, True, True]


def test_a_file_cut_at_any_byte_opens_with_its_whole_lines(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.fsync", lambda file: None)  # takes most of the time
    write(path, "a", "b")
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with Journal(path) as journal:
            assert (journal.get("a") is not None) == (length >= first)
            assert journal.get("b") is None


@pytest.mark.parametrize("bad", [b"{}", b"[]", b"3", b"", b'{"key":"b","completion":{"odd":1}}'])
def test_a_broken_line_in_the_middle_is_named_and_nothing_is_cut(bad: bytes, path: Path) -> None:
    write(path, "a", "b", "c")
    lines = path.read_bytes().splitlines()
    lines[1] = bad
    broken = b"\n".join(lines) + b"\n"
    path.write_bytes(broken)
    with pytest.raises(InputError, match=r"journal\.jsonl:2: "):
        Journal(path)
    assert path.read_bytes() == broken


def test_a_second_writer_is_refused_until_the_first_is_done(path: Path) -> None:
    with Journal(path) as journal:
        journal.add("a", SAID)
        with pytest.raises(OutputError, match=r"journal\.jsonl: another run is writing"):
            Journal(path)
        journal.add("b", SAID)
    write(path, "c")
    assert len(path.read_bytes().splitlines()) == 3


def test_of_two_completions_under_one_key_the_first_counts(path: Path) -> None:
    with Journal(path) as journal:
        journal.add("k", SAID)
        assert journal.add("k", replace(SAID, text="later")) == SAID
    assert len(path.read_bytes().splitlines()) == 1
    line = orjson.loads(path.read_bytes())
    line["completion"]["text"] = "later"
    with path.open("ab") as file:
        file.write(orjson.dumps(line) + b"\n")
    with Journal(path) as journal:
        assert journal.get("k") == SAID


WRITER = """
import sys
from pathlib import Path
from ultra.chat import Completion
from ultra.journal import Journal
journal = Journal(Path(sys.argv[1]))
for number in range(10**9):
    journal.add(str(number), Completion("x" * 1000, "stop", "m"))
    print(number, flush=True)
"""


def test_a_killed_writer_loses_no_line(path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], cwd=ROOT, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        for _ in range(200):
            assert writer.stdout.readline()
        os.kill(writer.pid, signal.SIGKILL)
        used = 199 + len(writer.stdout.read().splitlines())
    assert writer.returncode == -signal.SIGKILL
    with Journal(path) as journal:
        assert all(journal.get(str(number)) is not None for number in range(used))


def test_what_runs_before_paid_for_is_known(path: Path) -> None:
    with Journal(path) as journal:
        journal.add("a", replace(SAID, usd=0.25))
        journal.add("b", replace(SAID, usd=0.5))
        journal.add("c", SAID)
        assert journal.paid == Paid(3, 1, 9, 12, 0.75)
    with Journal(path) as journal:
        assert (journal.before, journal.paid) == (Paid(3, 1, 9, 12, 0.75), Paid())


def test_what_no_completion_shows_is_known_too(path: Path) -> None:
    with Journal(path) as journal:
        journal.add("a", replace(SAID, usd=0.25))
        journal.charge(Decimal("0.5"), 100, 2)
        journal.charge(None, 10, 1)
        journal.charge(Decimal(0), 0, 0)
        assert journal.paid == Paid(4, 1, 113, 4, 0.75)
    assert len(path.read_bytes().splitlines()) == 3
    with Journal(path) as journal:
        assert journal.before == Paid(4, 1, 113, 4, 0.75)
        assert journal.get("a") == replace(SAID, usd=0.25)


def test_everything_a_completion_holds_comes_back(path: Path) -> None:
    whole = replace(
        SAID, logprobs=[{"A": -0.5, "B": -1.5}], reasoning="Hm.", text="x" * 20_000, usd=0.1
    )
    with Journal(path) as journal:
        journal.add("k", whole)
    with Journal(path) as journal:
        assert journal.get("k") == whole


def test_places_are_found_in_the_dict_and_in_the_arrays(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ultra.journal._RECENT", 16)
    keys = [str(number) for number in range(100)]
    write(path, *keys, *keys[:20])
    with Journal(path) as journal:
        found = [journal.get(key) for key in keys]
        assert [completion and completion.text for completion in found] == keys
        assert journal.get("other") is None
        assert len(path.read_bytes().splitlines()) == 100


def test_two_keys_with_one_hash_are_told_apart(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ultra.journal.xxhash.xxh3_64_intdigest", lambda key: 7)
    write(path, "a", "b")
    with Journal(path) as journal:
        found = journal.get("a")
        assert found is not None
        assert found.text == "a"
        assert journal.get("b") is None  # which costs one call made again


def test_a_disk_that_fills_up_leaves_no_half_line(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write
    with Journal(path) as journal:
        journal.add("a", SAID)
        whole = path.read_bytes()
        monkeypatch.setattr("os.write", lambda file, line: real(file, line[:9]))
        with pytest.raises(OSError, match="No space left"):
            journal.add("b", SAID)
        monkeypatch.undo()
        assert path.read_bytes() == whole
        journal.add("b", SAID)
        assert journal.get("b") == SAID


def test_what_ends_after_it_is_closed_writes_to_no_other_file(path: Path, tmp_path: Path) -> None:
    with Journal(path) as journal:
        pass
    other = (tmp_path / "other").open("wb")  # gets the number of the journal's file
    with other, pytest.raises(OSError, match="Bad file descriptor"):
        journal.charge(None, 10, 1)
    assert (tmp_path / "other").read_bytes() == path.read_bytes() == b""


def test_a_journal_is_on_the_disk_soon_after(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = threading.Event()
    monkeypatch.setattr("ultra.journal.SYNC_SECONDS", 0.01)
    monkeypatch.setattr("os.fsync", lambda file: synced.set())
    with Journal(path) as journal:
        journal.add("a", SAID)
        assert synced.wait(30)


def test_a_run_leaves_a_line_about_itself(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(path, "a")
    path.with_name("runs.jsonl").unlink()
    with suppress(KeyboardInterrupt), Journal(path) as journal:
        journal.get("a")
        journal.add("b", SAID)
        journal.add("c", SAID)
        raise KeyboardInterrupt
    run = orjson.loads(path.with_name("runs.jsonl").read_bytes())
    assert (run["calls"], run["prompt_tokens"], run["completion_tokens"]) == (2, 6, 8)
    assert "2 calls made, 1 more were in" in capsys.readouterr().out


# The model in front of it.


def ask(path: Path, *requests: tuple[CountingModel, list[Message], Sampling]) -> list[str]:
    async def run() -> list[str]:
        with Journal(path) as journal:
            return [
                (await Journaled(model, journal).complete(messages, sampling)).text
                for model, messages, sampling in requests
            ]

    return asyncio.run(run())


def test_a_request_is_made_once_over_all_runs(path: Path) -> None:
    model = CountingModel()
    for _ in range(2):
        assert ask(path, (model, HI, Sampling()), (model, HI, Sampling())) == ["answer 1"] * 2
    assert model.calls == 1


@pytest.mark.parametrize(
    "change",
    [{"temperature": 0.1}, {"top_p": 0.5}, {"max_tokens": 7}, {"seed": 1}, {"sample": 1}],
)
def test_other_sampling_is_another_request(change: dict[str, Any], path: Path) -> None:
    model = CountingModel()
    ask(path, (model, HI, Sampling()), (model, HI, replace(Sampling(), **change)))
    assert model.calls == 2


@pytest.mark.parametrize(
    "other",
    [
        [{"role": "system", "content": "Hi"}],
        [{"role": "user", "content": "Hi "}],
        [*HI, {"role": "assistant", "content": "Hi"}],
    ],
)
def test_other_messages_are_another_request(other: list[Message], path: Path) -> None:
    model = CountingModel()
    ask(path, (model, HI, Sampling()), (model, other, Sampling()))
    assert model.calls == 2


def test_another_model_is_another_request(path: Path) -> None:
    one, two = CountingModel("m 1"), CountingModel("m 2")
    ask(path, (one, HI, Sampling()), (two, HI, Sampling()))
    assert (one.calls, two.calls) == (1, 1)


def together(model: CountingModel, path: Path, cancel_first: bool = False) -> list[Any]:
    """What two equal requests give that are in flight at the same time."""

    async def run() -> list[Any]:
        model.gate = asyncio.Event()
        with Journal(path) as journal:
            asked = Journaled(model, journal)
            tasks = [asyncio.create_task(asked.complete(HI, Sampling())) for _ in range(2)]
            for _ in range(5):
                await asyncio.sleep(0)
            if cancel_first:
                tasks[0].cancel()
                await asyncio.sleep(0)
            model.gate.set()
            return await asyncio.gather(*tasks, return_exceptions=True)

    return asyncio.run(run())


def test_two_equal_requests_in_flight_share_a_call(path: Path) -> None:
    model = CountingModel()
    first, second = together(model, path)
    assert first == second
    assert model.calls == 1


def test_two_equal_requests_in_flight_share_an_error_that_is_not_kept(path: Path) -> None:
    model = CountingModel(error=CallError("filtered"))
    assert [type(error) for error in together(model, path)] == [CallError, CallError]
    assert path.read_bytes() == b""
    model.error = None
    assert ask(path, (model, HI, Sampling())) == ["answer 2"]


def test_who_gives_up_on_a_shared_call_leaves_it_to_the_other(path: Path) -> None:
    first, second = together(CountingModel(), path, cancel_first=True)
    assert isinstance(first, asyncio.CancelledError)
    assert isinstance(second, Completion)


def test_it_passes_for_its_model(path: Path) -> None:
    model = CountingModel()
    with Journal(path) as journal:
        asked = Journaled(model, journal)
        assert (asked.name, asked.identity) == (model.name, model.identity)
        asyncio.run(asked.close())
    assert model.closed


def test_closing_at_just_the_wrong_moment_ends_the_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ultra.journal.SYNC_SECONDS", 0.0)
    with (tmp_path / "journal").open("wb") as file:
        syncing = _Syncing(file.fileno())

        class Asked(threading.Event):
            def clear(self) -> None:  # close() comes just before
                syncing._closing.set()
                self.set()
                super().clear()

        syncing._asked = Asked()
        syncing.soon()
        syncing._thread.join(10)
        assert not syncing._thread.is_alive()


def test_a_call_of_this_run_is_not_counted_again_when_it_is_found(tmp_path: Path) -> None:
    for recalled in (0, 1):
        with Journal(tmp_path / "journal.jsonl") as journal:
            journal.add("key", Completion("hi", "stop", "m"))
            assert journal.get("key") is not None
            assert journal.recalled == recalled
