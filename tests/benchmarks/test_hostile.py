"""Whatever an answer or a judge says: no wrong verdict, no crash, and every answer in its slot."""

import re
from dataclasses import asdict
from pathlib import Path

import orjson
import pytest

from benchmarks import cases, protocol, reading, verdict
from benchmarks.cases import Case
from benchmarks.protocol import Protocol
from benchmarks.questions import Question
from benchmarks.verdict import Unscored
from tests.benchmarks.hostile import ANSWERS, REPLIES, Reply
from ultra import jsonl
from ultra.chat import Completion

NAMES = [name for name in protocol.names() if name != "pairwise"]


WRITABLE = {name: jsonl.scrub(answer) for name, answer in ANSWERS.items()}
ENDINGS: dict[str, tuple[str, object]] = {
    "pairwise": ("[[B]]", "B"),
    "mt_bench_pair": ("[[B]]", "B"),
    "mt_bench_single": ("Rating: [[4]]", 4.0),
    "vicuna": ("Final scores:\nAssistant 1: 9\nAssistant 2: 2", (9.0, 2.0)),
}
"""What honest words end with, and what they mean."""


def strict(name: str) -> verdict.Parser:
    return verdict.PARSERS[protocol.written(name)[0]["parser"]]


def test_there_are_enough_of_them() -> None:
    assert len(ANSWERS) >= 60
    assert len(REPLIES) >= 60
    assert len({(reply.protocol, reply.text) for reply in REPLIES}) == len(REPLIES)


@pytest.mark.parametrize(
    "reply", REPLIES, ids=lambda reply: f"{reply.protocol}: {reply.text[:50]!r}"
)
def test_a_reply_is_read_as_what_it_means_or_not_at_all(reply: Reply) -> None:
    found = strict(reply.protocol)(reply.text)
    if reply.means is None or (reply.or_unread and isinstance(found, Unscored)):
        assert isinstance(found, Unscored)
        assert re.fullmatch("[a-z_]+", found.reason)
    else:
        assert found == reply.means


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_a_judge_that_only_quotes_an_answer_gives_no_verdict(answer: str) -> None:
    quoted = "\n".join(f"> {line}" for line in answer.splitlines())
    for name in protocol.names():
        for text in (f"It says:\n{quoted}", f"{quoted}\nThat is no answer, so I am at a loss."):
            assert isinstance(strict(name)(text), Unscored), name


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_an_answer_quoted_above_the_verdict_does_not_move_it(answer: str) -> None:
    quoted = "\n".join(f"> {line}" for line in answer.splitlines())
    for name, (ending, means) in ENDINGS.items():
        found = strict(name)(f"It says:\n{quoted}\n\nI see through that.\n\n{ending}")
        assert found == means, name


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_an_answer_repeated_bare_above_the_verdict_never_turns_it(answer: str) -> None:
    for name, (ending, means) in ENDINGS.items():
        found = strict(name)(f"It says:\n{answer}\n\nI see through that.\n\n{ending}")
        assert isinstance(found, Unscored) or found == means, name


@pytest.fixture
def benchmark_files(golden: Path) -> Path:
    return golden.parent / "benchmarks"


def case_of(chosen: Protocol, answer: str) -> Case:
    """The last case of a question with two turns, mathematical so that it has references."""
    question = Question("q1", "math", ["How {answer_1}?", "And {output_2}?"], 0, ["ref 1", "ref 2"])
    mine = {"id": "q1", "turns": [answer, answer]}
    other = {"id": "q1", "turns": ["an honest answer", "another one"]}
    return cases.cases([question], {"q1": mine}, {"q1": other}, chosen)[-1]


@pytest.mark.parametrize("answer", WRITABLE.values(), ids=WRITABLE)
def test_an_answer_stands_whole_in_its_slot_and_moves_nothing_else(
    benchmark_files: Path, answer: str
) -> None:
    around = "unlikely words"
    for name in NAMES:
        chosen = protocol.load(name, folder=benchmark_files)
        expected = [
            {**message, "content": message["content"].replace(around, answer)}
            for message in cases.messages(case_of(chosen, around))
        ]
        assert cases.messages(case_of(chosen, answer)) == expected, name
        assert answer in str(expected[-1]["content"])


@pytest.mark.parametrize("text", WRITABLE.values(), ids=WRITABLE)
def test_whatever_a_judge_says_its_row_can_be_written(benchmark_files: Path, text: str) -> None:
    logprobs = [{"m": -0.1, text[:9]: float("nan"), "M": float("-inf")}]
    said = Completion(text, "stop", "judge", logprobs=logprobs)
    for name in NAMES:
        chosen = protocol.load(name, folder=benchmark_files)
        found = reading.read(said, case_of(chosen, "mine"), chosen)
        assert (found.verdict == "unscored") == bool(found.reason), name
        assert all(0 <= score <= 10 for score in found.scores), name
        written = orjson.loads(jsonl.dump(asdict(found)))
        assert written["preference"] == found.preference
        assert all(isinstance(logprob, float) for _, logprob in written["logprobs"])
