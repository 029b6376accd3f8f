"""A build against an endpoint with every fault: what is good is kept, what is bad is counted."""

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import pytest

from datasets_scripts.ultrachat import build as module
from datasets_scripts.ultrachat.settings import VERSION, Settings
from tests.conftest import ROOT
from tests.datasets_scripts.helpers import drops_of, reasons_of, rows_of
from tests.datasets_scripts.ultrachat import talkers
from tests.datasets_scripts.ultrachat.conftest import write_openings
from tests.servers import chat_api
from tests.servers.chat_api import ChatServer, Fault, Request
from ultra import command, release
from ultra.chat import OpenAIChat

NAME = f"ultrachat-{VERSION}"
COUNT = 60
FOR_GOOD = {
    "assistant_no_answer": [
        chat_api.SERVER_ERROR,
        chat_api.RESET,
        chat_api.RESET_IN_BODY,
        chat_api.HANG,
    ],
    "assistant_not_a_completion": [chat_api.NOT_JSON, chat_api.NO_CHOICE],
    "assistant_content_filter": [chat_api.FILTERED_PROMPT, chat_api.FILTERED_ANSWER],
    "assistant_context_length": [chat_api.CONTEXT_LENGTH],
    "assistant_length": [chat_api.CUT_SHORT],
    "assistant_empty": [chat_api.NULL_CONTENT],
}
"""Faults that an endpoint has with each call about an opening, and what drops its dialogue."""
PASSING = [
    chat_api.RATE_LIMITED,
    chat_api.rate_limited(0.01),
    chat_api.rate_limited(formatdate(0, usegmt=True)),
    chat_api.SERVER_ERROR,
    chat_api.RESET,
    chat_api.RESET_IN_BODY,
    chat_api.HANG,
    chat_api.NOT_JSON,
    chat_api.NO_CHOICE,
]
"""Faults that it has with the first two calls about an opening."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    monkeypatch.setattr("ultra.engine.WAIT", 0.001)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(
        "ultra.models.open_model", lambda name, url="": OpenAIChat(name, url, timeout=0.5)
    )
    with ChatServer(talkers.reply) as server:
        yield server


def flags(server: ChatServer, openings: Path, out: Path) -> list[str]:
    models = ["--user-model", "asker", "--assistant-model", "helper", "--base-url", server.url]
    rounds = ["--min-rounds", "3", "--max-rounds", "3", "--concurrency", "8"]
    return ["--openings", str(openings), "--out", str(out), *models, *rounds]


def run(words: list[str], monkeypatch: pytest.MonkeyPatch) -> object:
    """Run the command as a person does; returns its exit code."""
    monkeypatch.setattr(sys, "argv", ["build", *words])
    with pytest.raises(SystemExit) as ended:
        command.main(Settings, module.build)
    return ended.value.code


class Faults:
    """Every fourth opening has a fault for good, the next ones have a passing one."""

    def __init__(self) -> None:
        pairs = [(reason, fault) for reason, faults in FOR_GOOD.items() for fault in faults]
        self.reasons = {4 * n: reason for n, (reason, _) in enumerate(pairs)}
        self.for_good = {4 * n: fault for n, (_, fault) in enumerate(pairs)}
        self.passing = {4 * n + 1: fault for n, fault in enumerate(PASSING)}
        self.thinks = {2, 6}
        self._met = Counter[int]()

    def of(self, request: Request) -> Fault:
        messages = request.body["messages"]
        number = talkers.opening_number(messages)
        if number in self.for_good and request.body["model"] == "helper":
            return self.for_good[number]
        self._met[number] += 1
        if number in self.passing and self._met[number] <= 2:
            return self.passing[number]
        if number in self.thinks:
            return chat_api.thinking("I play a part here.", talkers.reply(messages))
        return Fault()


def test_every_fault_in_one_run_costs_only_the_dialogues_that_have_it_for_good(
    server: ChatServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    openings = write_openings(tmp_path / "mine.jsonl", COUNT)
    assert run(flags(server, openings, tmp_path / "whole"), monkeypatch) == 0
    faults = Faults()
    server.fault_of = faults.of
    capsys.readouterr()
    assert run(flags(server, openings, tmp_path / "faulty"), monkeypatch) == 0
    whole, faulty = (tmp_path / out / NAME for out in ("whole", "faulty"))
    assert capsys.readouterr().out.splitlines()[-1] == str(faulty)

    bad = {f"world-{number:08d}": reason for number, reason in faults.reasons.items()}
    assert len(rows_of(whole)) == COUNT
    assert rows_of(faulty) == [row for row in rows_of(whole) if row["id"] not in bad]
    assert {row["id"]: row["reason"] for row in drops_of(faulty)} == bad
    manifest = release.verify(faulty)
    assert reasons_of(manifest) == {
        reason: len(of_it) for reason, of_it in sorted(FOR_GOOD.items())
    }
    health = manifest["role_health"]
    assert health["dropped"]["count"] == len(bad)
    assert health["assistant"]["faults"]["length"]["count"] == 3, "asked again twice"
    text = "\n".join(turn["content"] for row in rows_of(faulty) for turn in row["messages"])
    assert "I play a part" not in text


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (chat_api.BAD_KEY, "Incorrect API key provided: ***"),
        (chat_api.UNKNOWN_MODEL, "The model does not exist"),
        (chat_api.QUOTA, "You exceeded your current quota"),
    ],
)
def test_a_refusal_of_us_altogether_stops_the_run_which_goes_on_later(
    server: ChatServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fault: Fault,
    said: str,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    words = flags(server, write_openings(tmp_path / "mine.jsonl", 12), tmp_path / "out")
    server.fault_of = lambda request: fault if len(server.requests) > 25 else Fault()
    assert run(words, monkeypatch) == 2
    shown = capsys.readouterr()
    (line,) = [line for line in shown.err.splitlines() if line.startswith("error: ")]
    assert said in line
    assert "secret" not in shown.out + shown.err
    assert [path.name for path in (tmp_path / "out").iterdir()] == [f"{NAME}.run"]

    server.fault_of = lambda request: Fault()
    before = len(server.requests)
    assert run(words, monkeypatch) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path / "out" / NAME)
    assert len(server.requests) - before == 12 * 5 - 25
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in files if b"secret" in path.read_bytes()]


def test_an_endpoint_that_fails_most_calls_stops_the_run(
    server: ChatServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    openings = write_openings(tmp_path / "mine.jsonl", 200)
    server.fault_of = lambda request: chat_api.FILTERED_PROMPT
    assert run(flags(server, openings, tmp_path / "out"), monkeypatch) == 2
    assert "run again to go on" in capsys.readouterr().err
    assert len(server.requests) < 60


def test_a_run_that_stops_says_one_line(server: ChatServer, tmp_path: Path) -> None:
    openings = write_openings(tmp_path / "mine.jsonl", 60)
    server.fault_of = lambda request: (
        chat_api.UNKNOWN_MODEL if len(server.requests) > 40 else Fault()
    )
    words = [*flags(server, openings, tmp_path / "out"), "--concurrency", "32"]
    command_line = [sys.executable, "-m", "datasets_scripts.ultrachat.build", *words]
    stopped = subprocess.run(command_line, cwd=ROOT, capture_output=True, text=True)
    assert stopped.returncode == 2
    errors = [line for line in stopped.stderr.splitlines() if "rror" in line]
    assert len(errors) == 1, stopped.stderr
    assert errors[0].startswith("error: model ")
    assert "The model does not exist" in errors[0]


# Budgets.


def test_a_budget_of_a_dollar_is_never_passed_and_a_higher_one_goes_on(
    server: ChatServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    openings = write_openings(tmp_path / "mine.jsonl", 30)
    prices = tmp_path / "prices.yaml"
    prices.write_text(
        "asker: {prompt: 20, completion: 100}\nhelper: {prompt: 20, completion: 900}\n"
    )
    lengths = ["--user-sampling.max-tokens", "40", "--assistant-sampling.max-tokens", "60"]

    def spend(usd: str) -> object:
        words = [*flags(server, openings, tmp_path / "out"), *lengths, "--prices", str(prices)]
        return run([*words, "--budget-usd", usd], monkeypatch)

    def spent() -> float:
        """By what the server has counted, in dollars."""
        total = 0.0
        for request in server.requests:
            said = chat_api.answer(request.body, talkers.reply(request.body["messages"]))["usage"]
            each = 900 if request.body["model"] == "helper" else 100
            total += 20 * said["prompt_tokens"] + each * said["completion_tokens"]
        return total / 1e6

    assert spend("1") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "budget: " in error
    assert "--budget-usd" in error
    assert 0.5 < spent() <= 1.0
    assert not (tmp_path / "out" / NAME).exists()
    assert spend("1") == 2
    assert spent() <= 1.0
    before = len(server.requests)
    assert spend("50") == 0
    made = tmp_path / "out" / NAME
    assert len(rows_of(made)) == 30
    assert len(server.requests) == 30 * 5 > before, "nothing was paid for twice"
    assert release.read_manifest(made)["usage"]["usd"] <= spent() + 1e-6
