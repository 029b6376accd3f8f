"""Protocols: all that decides what a number means but the answers, read from protocols/*.yaml.

::

    kind: pair_choice         pair_scores, pair_choice, pair_weighted (log probabilities) or grade
    judge: gpt-4              asked where no other is named
    prompts:                  the first that fits a question's category and the turn is used
      - {system: a.md, user: b.md}                             files of ours, see prompts/
      - {file: published.jsonl, entry: name, turn: 1, categories: [math]}
    orders: both              model_first, baseline_first, both, seeded or alternating; no grade's
    samples: 1                judgments of each order
    identical: tie            equal answers are a tie without a call; left out, they are judged
    parser: last_line_choice  one of benchmarks.verdict
    metric: win_rate          what the published figure is; scores are made by kind
    sampling: {temperature: 0.0, max_tokens: 1024}

Its hash, in every row and table, is that of all this, of the prompts' texts, the judge, the suite
and the answers compared with.
"""

import re
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from benchmarks import templates, verdict
from benchmarks.judgments import Kind, Order
from benchmarks.published import is_switched
from benchmarks.questions import Question
from benchmarks.templates import Template
from ultra import command, jsonl
from ultra.chat import Sampling
from ultra.errors import SettingError

HERE = Path(__file__).parent / "protocols"
Orders = Literal["", "model_first", "baseline_first", "both", "seeded", "alternating"]
HASH = 12
"""Hex digits of a protocol's hash."""

_SLOTS = re.compile(
    r"question|instruction|answer_[ab]|output_[12]|answer|code|(question|answer|ref_answer)_[12]"
    r"|answer_[ab]_[12]"
)
_PARSERS: dict[str, set[str]] = {
    "pair_scores": verdict.PAIR_PARSERS,
    "pair_choice": verdict.CHOICE_PARSERS,
    "pair_weighted": {"token_choice"},
    "grade": verdict.GRADE_PARSERS,
}


@dataclass(frozen=True)
class JudgePrompt:
    """What is asked about one turn, or with turn 0 about the whole conversation.

    Without ``categories`` it is for all that no other prompt of this turn is for.
    """

    template: Template
    turn: int
    categories: tuple[str, ...]
    file: str
    entry: str

    @property
    def needs_reference(self) -> bool:
        """Whether it shows answers that are known to be right."""
        return any(slot.startswith("ref_answer") for slot in self.template.slots)


@dataclass(frozen=True)
class Protocol:
    """A protocol as its file has it; see the module's text for the meaning of the fields."""

    name: str
    kind: Kind
    judge: str
    prompts: tuple[JudgePrompt, ...]
    orders: Orders
    samples: int
    identical: Literal["", "tie"]
    parser: str
    metric: str
    sampling: Sampling

    @property
    def turns(self) -> list[int]:
        """The turns that are judged, 1-based, or 0 alone for whole conversations."""
        return sorted({prompt.turn for prompt in self.prompts})

    def prompt(self, category: str, turn: int) -> JudgePrompt:
        """What the judge is asked about a turn of a question of this category."""
        of_turn = [prompt for prompt in self.prompts if prompt.turn == turn]
        named = (prompt for prompt in of_turn if category in prompt.categories)
        return next(named, None) or next(one for one in of_turn if not one.categories)

    def orders_of(self, question: Question, number: int) -> list[Order]:
        """The orders in which a question's two answers are shown; ``number`` counts from 1."""
        if self.kind == "grade":
            return [""]
        if self.orders == "both":
            return ["model_first", "baseline_first"]
        if self.orders == "seeded":
            switched = is_switched(question.turns[0])
            return ["model_first" if switched else "baseline_first"]
        if self.orders == "alternating":
            digits = re.search(r"[0-9]+$", question.id, re.ASCII)
            odd = int(digits[0][-1]) % 2 if digits else number % 2
            return ["model_first" if odd else "baseline_first"]
        return ["model_first" if self.orders == "model_first" else "baseline_first"]

    def record(self, judge: str, suite: dict[str, str], baseline_digest: str) -> dict[str, Any]:
        """All of the protocol as JSON, led by its hash; ``suite`` is what tells suites apart."""
        prompts = [
            {
                "file": one.file,
                "entry": one.entry,
                "turn": one.turn,
                "categories": list(one.categories),
                "digest": one.template.digest,
            }
            for one in self.prompts
        ]
        data = {
            **{field.name: getattr(self, field.name) for field in fields(self)},
            "judge": judge,
            **suite,
            "baseline_digest": baseline_digest,
            "prompts": prompts,
            "sampling": asdict(self.sampling),
        }
        return {"hash": _hash(data), **data}


def verify(record: dict[str, Any]) -> bool:
    """Whether a record's hash is that of what else it holds."""
    return record.get("hash") == _hash({k: v for k, v in record.items() if k != "hash"})


def _hash(data: dict[str, Any]) -> str:
    return jsonl.digest(data)[:HASH]


def names() -> list[str]:
    """The protocols that ship."""
    return sorted(path.stem for path in HERE.glob("*.yaml"))


def written(name: str) -> tuple[dict[str, Any], Path]:
    """What a protocol's file says, and where it stands; a ``.yaml`` path names one's own.

    Raises:
        SettingError: there is no such protocol, or its file is none.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else HERE / f"{Path(name).name}.yaml"
    if not path.is_file():
        hint = command.did_you_mean(name, names())
        raise SettingError(
            f"protocol {name}: unknown, it is one of: {', '.join(names())}, or the path of a "
            f".yaml file{hint}"
        )
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        why = " ".join(str(error).split())
        raise SettingError(f"protocol {name}: cannot be read ({why})") from error
    if not isinstance(data, dict) or data.get("parser") not in verdict.PARSERS:
        known = ", ".join(verdict.PARSERS)
        raise SettingError(f"protocol {name}: its 'parser' must be one of: {known}")
    return data, path


def load(name: str, samples: int = 0, orders: Orders = "", folder: Path | None = None) -> Protocol:
    """Read a protocol and its prompts; ``samples`` and ``orders`` take the place of its own.

    ``folder`` takes the place of ULTRA_BENCHMARKS_DIR.

    Raises:
        SettingError: there is no such protocol, or something in it cannot be.
        InputError: a published prompt is not to be had, or another one than was published.
    """
    data, path = written(name)
    try:
        protocol = _read(data, path, folder)
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise SettingError(f"protocol {name}: {error}") from error
    if orders and protocol.kind == "grade":
        raise SettingError(f"orders: protocol {name} shows one answer, which has no order")
    protocol = replace(
        protocol, samples=samples or protocol.samples, orders=orders or protocol.orders
    )
    _check(protocol)
    return protocol


def _read(data: dict[str, Any], path: Path, folder: Path | None) -> Protocol:
    prompts = tuple(_prompt(path, folder, **one) for one in data["prompts"])
    values = {"judge": "", "orders": "", "samples": 1, "identical": "", "metric": "", **data}
    sampling = Sampling(**data["sampling"])
    return Protocol(**{**values, "name": path.stem, "prompts": prompts, "sampling": sampling})


def _prompt(
    path: Path,
    folder: Path | None,
    file: str = "",
    entry: str = "",
    system: str = "",
    user: str = "",
    turn: int = 0,
    categories: tuple[str, ...] = (),
) -> JudgePrompt:
    """One line of ``prompts``; a prompt of ours stands beside the protocol or in prompts/."""
    if file:
        template = templates.published(file, entry, folder)
    else:
        template = templates.ours(system, user, path.parent)
    return JudgePrompt(template, turn, tuple(categories), file or user, entry or system)


def _check(protocol: Protocol) -> None:
    place = f"protocol {protocol.name}"
    if protocol.kind not in _PARSERS:
        raise SettingError(f"{place}: its 'kind' must be one of: {', '.join(_PARSERS)}")
    if protocol.parser not in _PARSERS[protocol.kind]:
        good = ", ".join(sorted(_PARSERS[protocol.kind]))
        raise SettingError(f"{place}: its 'parser' must be one of: {good}")
    if protocol.samples < 1:
        raise SettingError(f"samples: {protocol.samples} is not 1 or more")
    orders = get_args(Orders)[1:]
    if protocol.kind != "grade" and protocol.orders not in orders:
        raise SettingError(f"{place}: its 'orders' must be one of: {', '.join(orders)}")
    if protocol.kind == "pair_weighted" and not protocol.sampling.top_logprobs:
        raise SettingError(f"{place}: its 'sampling' must ask for top_logprobs")
    for turn in protocol.turns:
        if all(one.categories for one in protocol.prompts if one.turn == turn):
            raise SettingError(f"{place}: no prompt for turn {turn} is for all other categories")
    for one in protocol.prompts:
        strange = [slot for slot in sorted(one.template.slots) if not _SLOTS.fullmatch(slot)]
        if strange:
            raise SettingError(f"prompt {one.file}: nothing fills its slots {', '.join(strange)}")
