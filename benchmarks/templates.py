"""What judges are asked, with slots: files of ours, and published ones in the forms they have.

A published prompt is sent as its file has it. Slots are filled in one pass, so braces in a question
or an answer stay what they are, and a turn's marks are told apart before anything is filled in.
"""

import functools
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from benchmarks import upstream
from ultra import prompts
from ultra.errors import InputError, SettingError
from ultra.schema import Message

PROMPTS = Path(__file__).parent / "prompts"

_SLOT = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_ESCAPED_SLOT = re.compile(r"\{\{|\}\}|" + _SLOT.pattern)
_TURN = re.compile(
    r"<\|im_start\|>[ \t]*(system|user|assistant)[ \t]*\n(.*?)<\|im_end\|>", re.DOTALL
)


@dataclass(frozen=True)
class Template:
    """The turns that a judge is sent, with slots.

    ``doubled``: as for Python's ``str.format``, ``{{`` stands for one brace. ``fixed`` are values
    that come with the prompt. ``digest`` is the hex sha256 of all of it.
    """

    turns: tuple[tuple[Literal["system", "user", "assistant"], str], ...]
    doubled: bool = False
    fixed: Mapping[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        whole = json.dumps([self.turns, self.doubled, dict(self.fixed)], sort_keys=True)
        return hashlib.sha256(whole.encode("ascii")).hexdigest()

    @property
    def slots(self) -> set[str]:
        """Names of the slots that a question and its answers have to fill."""
        found = (self._pattern.finditer(text) for _, text in self.turns)
        names = {match[1] for matches in found for match in matches} - {None}
        return names - set(self.fixed)

    @property
    def _pattern(self) -> re.Pattern[str]:
        return _ESCAPED_SLOT if self.doubled else _SLOT

    def fill(self, values: Mapping[str, str]) -> list[Message]:
        """Put the values of :attr:`slots`, and perhaps of others, into their places."""
        values = {**values, **self.fixed}
        return [
            {
                "role": role,
                "content": self._pattern.sub(
                    lambda match: values[match[1]] if match[1] else match[0][0], text
                ),
            }
            for role, text in self.turns
        ]


def ours(system: str, user: str, folder: Path = PROMPTS) -> Template:
    """A prompt in two files of a folder, or of ours where the folder has none of that name."""
    texts = []
    for name in (system, user):
        own = folder / name
        texts.append(prompts.load(own if own.is_file() else PROMPTS / name).text)
    return Template((("system", texts[0]), ("user", texts[1])))


@functools.cache
def published(name: str, entry: str = "", folder: Path | None = None) -> Template:
    """A published prompt: a whole file of chat marks, or one entry of FastChat's.

    ``entry`` is the entry's name, or the category that it is for. ``folder`` takes the place of
    ULTRA_BENCHMARKS_DIR.

    Raises:
        SettingError: no such file or entry is known.
        InputError: the file is not to be had, another one than was published, or no prompt.
    """
    path = upstream.path(name, folder)
    return _entry(path, entry) if path.suffix == ".jsonl" else _marked(path)


def _entry(path: Path, entry: str) -> Template:
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]
    row = next((row for row in rows if row.get("name", row["category"]) == entry), None)
    if row is None:
        known = ", ".join(row.get("name", row["category"]) for row in rows)
        raise SettingError(f"prompt {path.name}: has no entry {entry!r}, only {known}")
    turns: Any = (("system", row["system_prompt"]), ("user", row["prompt_template"]))
    return Template(turns, doubled=True, fixed=row.get("defaults", {}))


def _marked(path: Path) -> Template:
    """Turns between ``<|im_start|>role`` and ``<|im_end|>``, stripped, as AlpacaEval sends them."""
    found = _TURN.findall(path.read_text("utf-8"))
    if not found:
        raise InputError(f"{path}: holds no turns between <|im_start|> and <|im_end|>")
    return Template(tuple((role, text.strip()) for role, text in found))
