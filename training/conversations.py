"""A row of any data set that people train on, as messages with the weight of each."""

from typing import Any, NamedTuple, cast

from ultra.schema import ROLES, Message

_ROLES = {"human": "user", "gpt": "assistant", "chatgpt": "assistant", "bot": "assistant"}
"""Names that ShareGPT dumps give the two sides; others pass as they are."""

COLUMNS = ("messages", "conversations", "items", "data", "prompt and completion")
"""Where a conversation may stand in a row, in the order in which it is looked for."""


class Dialogue(NamedTuple):
    """What one example is made of.

    ``weights`` has the weight of each message's tokens in the loss, None where the row says
    nothing: then it is 1 for what the assistant says, and 0 for all else. ``condition`` is what
    OpenChat's C-RLFT puts before a role ("Advancing Open-source Language Models with Mixed-Quality
    Data", 2023, section 3).
    """

    messages: list[Message]
    weights: list[float | None]
    condition: str = ""


def is_known(columns: list[str]) -> bool:
    """Whether rows with these columns can be read."""
    return bool({*COLUMNS} & {*columns}) or {"prompt", "completion"} <= {*columns}


def dialogue(row: dict[str, Any]) -> Dialogue | None:
    """The conversation of a row, or None if there is none in it.

    Read are ``messages`` (``role`` and ``content``), ShareGPT's ``conversations`` (``from`` and
    ``value``), OpenChat's ``items`` (with ``system``), UltraChat's ``data`` (texts of user and
    assistant in turn), and ``prompt`` with ``completion`` (texts or messages). A message may have a
    ``weight``; a row's ``weight`` is that of each of its answers that has none of its own.
    """
    turns = _turns(row)
    if not turns:
        return None
    messages: list[Message] = []
    weights: list[float | None] = []
    for turn in turns:
        if not isinstance(turn, dict):
            return None
        role = turn.get("role") or turn.get("from")
        role = _ROLES.get(str(role), role)
        content = turn.get("value") if turn.get("content") is None else turn["content"]
        if role not in ROLES or not isinstance(content, str):
            return None
        weight = turn.get("weight")
        if weight is None and role == "assistant":
            weight = row.get("weight")
        if not (weight is None or _is_weight(weight)):
            return None
        messages.append(cast(Message, {"role": role, "content": content}))
        weights.append(weight if weight is None else float(weight))
    condition = row.get("condition")
    return Dialogue(messages, weights, condition if isinstance(condition, str) else "")


def _is_weight(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and 0 <= value < 2**127  # weights are kept in float32


def _turns(row: dict[str, Any]) -> list[Any]:
    """The turns in a row, whatever they look like."""
    for column in ("messages", "conversations"):
        if row.get(column):
            return _listed(row[column])
    if row.get("items"):
        system = row.get("system")
        before = [{"role": "system", "content": system}] if system else []
        return before + _listed(row["items"])
    if row.get("data"):
        sides = ("user", "assistant")
        texts = _listed(row["data"])
        return [{"role": sides[at % 2], "content": text} for at, text in enumerate(texts)]
    prompt, completion = row.get("prompt"), row.get("completion")
    if prompt is None or completion is None:
        return []
    return [*_side(prompt, "user"), *_side(completion, "assistant")]


def _side(turns: Any, role: str) -> list[Any]:
    return [{"role": role, "content": turns}] if isinstance(turns, str) else _listed(turns)


def _listed(turns: Any) -> list[Any]:
    """A list as it is; anything else is one turn that is none."""
    return list(turns) if isinstance(turns, list) else [None]
