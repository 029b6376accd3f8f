"""The one format of a conversation, and the fixed columns of each corpus.

A row has ``id``, ``root`` (what decides its split), ``messages`` (a list of ``{role, content}``)
and the provenance columns of its corpus. Columns are never null: what is not known is ``""`` or
``0``.
The types here are written into every card's YAML, so that ``load_dataset`` never has to guess.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypedDict

import xxhash

from ultra.errors import InputError

if TYPE_CHECKING:  # importing datasets costs a second that a build does not need
    from datasets import Features

SCHEMA_VERSION = 1

Role = Literal["system", "user", "assistant"]
ROLES: tuple[Role, ...] = ("system", "user", "assistant")


class Message(TypedDict):
    """One turn. ``content`` is Markdown for an assistant, plain text for a user."""

    role: Role
    content: str


PROVENANCE: dict[str, dict[str, str]] = {
    "sharegpt": {
        "source": "string",
        "model": "string",
        "title": "string",
        "views": "int64",
        "language": "string",
        "language_confidence": "float64",
    },
    "ultrachat": {
        "source": "string",
        "model": "string",
        "user_model": "string",
        "opening_model": "string",
        "sector": "string",
        "topic": "string",
        "kind": "string",
        "rounds": "int64",
        "rounds_planned": "int64",
        "finish": "string",
        "persona": "string",
        "register": "string",
        "intents": "string",
        "temperature": "float64",
        "top_p": "float64",
        "max_tokens": "int64",
        "user_temperature": "float64",
        "user_top_p": "float64",
        "user_max_tokens": "int64",
        "recipe": "string",
        "recipe_seed": "int64",
        "seed": "int64",
    },
    "judgments": {
        "suite": "string",
        "suite_digest": "string",
        "question": "string",
        "category": "string",
        "difficulty": "int64",
        "turn": "int64",
        "model": "string",
        "revision": "string",
        "baseline": "string",
        "judge": "string",
        "judge_model": "string",
        "kind": "string",
        "protocol": "string",
        "protocol_name": "string",
        "order": "string",
        "sample": "int64",
        "tries": "int64",
        "verdict": "string",
        "reason": "string",
        "score": "float64",
        "baseline_score": "float64",
        "preference": "float64",
        "characters": "int64",
        "baseline_characters": "int64",
        "logprobs": "string",
        "prompt_tokens": "int64",
        "completion_tokens": "int64",
        "usd": "float64",
    },
}
"""Columns after ``id``, ``root`` and ``messages``, by corpus. ``model`` wrote the answers."""

_PYTHON_TYPES = {"string": str, "int64": int, "float64": float}


@dataclass(slots=True)
class Conversation:
    """A conversation on its way into a release; steps change it or drop it."""

    id: str
    messages: list[Message]
    provenance: dict[str, str | int | float]
    changes: list[str] = field(default_factory=list)
    """What the step at work repaired or took out, one short fixed name each; counted, not kept."""

    def row(self) -> dict[str, Any]:
        """The row as released, columns in their fixed order."""
        root = root_id(self.messages)
        return {"id": self.id, "root": root, "messages": self.messages, **self.provenance}


def root_id(messages: list[Message]) -> str:
    """xxh3-128 of the first user message, blanks and case evened out, as 32 hex digits.

    Versions, continuations and branches of one chat share it, and so land in the same split.
    """
    first = next((turn["content"] for turn in messages if turn["role"] == "user"), "")
    return xxhash.xxh3_128_hexdigest(" ".join(first.split()).casefold().encode("utf-8", "replace"))


def split_of(root: str, test_share: float) -> Literal["train", "test"]:
    """The split of a root id; the expected share of roots in ``test`` is ``test_share``."""
    return "test" if int(root[:8], 16) < test_share * 2**32 else "train"


def columns(corpus: str) -> list[dict[str, Any]]:
    """The columns as the ``features:`` list of a card's YAML."""
    message = [{"name": "role", "dtype": "string"}, {"name": "content", "dtype": "string"}]
    return [
        {"name": "id", "dtype": "string"},
        {"name": "root", "dtype": "string"},
        {"name": "messages", "list": message},
        *({"name": name, "dtype": dtype} for name, dtype in PROVENANCE[corpus].items()),
    ]


def features(corpus: str) -> "Features":
    """The columns as ``datasets.Features``."""
    from datasets import Features, List, Value

    message = {"role": Value("string"), "content": Value("string")}
    provenance = {name: Value(dtype) for name, dtype in PROVENANCE[corpus].items()}
    fixed = {"id": Value("string"), "root": Value("string"), "messages": List(message)}
    return Features({**fixed, **provenance})


def check(row: dict[str, Any], corpus: str) -> None:
    """Hold a row to the schema before it is written.

    Raises:
        InputError: names the column that is missing, extra, null or of another type.
    """
    types = {"id": str, "root": str, "messages": list} | {
        name: _PYTHON_TYPES[dtype] for name, dtype in PROVENANCE[corpus].items()
    }
    if list(row) != list(types):
        raise InputError(f"row {row.get('id')!r}: columns are {list(row)}, not {list(types)}")
    for name, kind in types.items():
        if type(row[name]) is not kind:
            raise InputError(f"row {row['id']!r}: column {name} is not {kind.__name__}")
        if kind is int and not -(2**63) <= row[name] < 2**63:
            raise InputError(f"row {row['id']!r}: column {name} does not fit 64 bits")
    for turn in row["messages"]:
        if list(turn) != ["role", "content"] or turn["role"] not in ROLES:
            raise InputError(f"row {row['id']!r}: a message is not a role and its content")
        if type(turn["content"]) is not str:
            raise InputError(f"row {row['id']!r}: a message's content is not text")
