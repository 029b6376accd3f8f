"""Cases: what a protocol has judged of each question, and the messages that put it to a judge."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.judgments import Order
from benchmarks.protocol import JudgePrompt, Protocol
from benchmarks.questions import Question
from ultra import jsonl
from ultra.chat import Sampling
from ultra.errors import InputError
from ultra.schema import Message

Row = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One judgment to be made: a question, or a turn of it, with the answers to it.

    ``turn`` is 1-based, 0 the whole conversation. An answer's row is empty where there is none.
    """

    question: Question
    model: Row
    baseline: Row
    prompt: JudgePrompt
    turn: int
    order: Order
    sample: int

    def shown(self, answer: Row) -> list[str]:
        """The turns of an answer that are judged; none if it does not reach that far."""
        turns: list[str] = answer.get("turns", [])
        if not self.turn:
            return turns
        return [turns[self.turn - 1]] if len(turns) >= self.turn else []


def cases(
    questions: Sequence[Question],
    answers: Mapping[str, Row],
    others: Mapping[str, Row],
    protocol: Protocol,
) -> list[Case]:
    """Every case of a suite: by question, turn, order and sample."""
    return [
        Case(
            question,
            answers.get(question.id, {}),
            others.get(question.id, {}),
            protocol.prompt(question.category, turn),
            turn,
            order,
            sample,
        )
        for number, question in enumerate(questions, 1)
        for turn in protocol.turns
        if turn <= len(question.turns)
        for order in protocol.orders_of(question, number)
        for sample in range(protocol.samples)
    ]


def lacks(case: Case) -> str:
    """Why a case cannot be put to a judge: ``no_answer``, ``no_reference``, or nothing."""
    pair = [case.model, case.baseline] if case.order else [case.model]
    if not all(case.shown(answer) for answer in pair):
        return "no_answer"
    known = {f"ref_answer_{n}" for n in range(1, len(case.question.reference) + 1)}
    wanted = {slot for slot in case.prompt.template.slots if slot.startswith("ref_answer")}
    return "" if wanted <= known else "no_reference"


def equal(case: Case) -> bool:
    """Whether both answers are the same text."""
    return bool(case.order) and case.shown(case.model) == case.shown(case.baseline)


def asked(case: Case, protocol: Protocol) -> bool:
    """Whether a judge has to be asked about a case."""
    return not lacks(case) and not (protocol.identical and equal(case))


def check_references(found: Sequence[Case], suite: str, protocol: str) -> None:
    """Say which questions lack a reference answer, before anything is paid.

    Raises:
        InputError: all that need one lack it.
    """
    needing = dict.fromkeys(case.question.id for case in found if case.prompt.needs_reference)
    lacking = dict.fromkeys(case.question.id for case in found if lacks(case) == "no_reference")
    if not lacking:
        return
    some = ", ".join(list(lacking)[:5]) + (", …" if len(lacking) > 5 else "")
    what = f"suite {suite}: {len(lacking)} of {len(needing)} questions that protocol {protocol} "
    what += f"judges beside a reference answer have none ({some})"
    if len(lacking) == len(needing):
        raise InputError(f"{what}; give them a 'reference', or choose another --protocol")
    print(f"{what}: unscored", file=sys.stderr)


def messages(case: Case) -> list[Message]:
    """What the judge is sent."""
    return case.prompt.template.fill(_values(case))


def sampling(case: Case, protocol: Protocol, attempt: int) -> Sampling:
    """How a case is judged; a further attempt, from 1, is a draw that no other sample takes."""
    return replace(protocol.sampling, sample=case.sample + attempt * protocol.samples)


def _values(case: Case) -> dict[str, str]:
    """What stands in the slots, under every name that a prompt has for it."""
    asked = case.question.turns
    question = asked[case.turn - 1] if case.turn else "\n\n".join(asked)
    first, second = case.model, case.baseline
    if case.order == "baseline_first":
        first, second = second, first
    one, two = ("\n\n".join(case.shown(answer)) for answer in (first, second))
    values = {"question": question, "answer_a": one, "answer_b": two}
    return {
        # The code is a hash of all that is shown, so no answer can know it and close a mark.
        "code": jsonl.digest(values)[:16],
        **values,
        "instruction": question,
        "output_1": one,
        "output_2": two,
        "answer": one,
        **({"answer_1": one, "answer_2": two} if case.order else {}),
        **dict(_numbered("question", asked)),
        **dict(_numbered("ref_answer", case.question.reference)),
        **dict(_numbered("answer_a" if case.order else "answer", first.get("turns", []))),
        **dict(_numbered("answer_b", second.get("turns", []))),
    }


def _numbered(name: str, texts: Sequence[str]) -> Iterator[tuple[str, str]]:
    return ((f"{name}_{number}", text) for number, text in enumerate(texts, 1))
