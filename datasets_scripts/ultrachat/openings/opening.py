"""Opening lines: what a dialogue is about is decided by its first user message.

``python -m datasets_scripts.ultrachat.openings.make`` writes a file of them; this reads one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

from ultra import jsonl
from ultra.errors import InputError, SettingError

Sector = Literal["world", "creation", "material"]


@dataclass(frozen=True)
class Opening:
    """The first user message of a dialogue, and what the simulated user knows about it."""

    sector: Sector
    topic: str
    text: str
    source: str
    """Where its seed is from: the file it was read in, or that of a list of topics, entities or
    kinds; for a text its address or file, and its licence where that is known."""
    kind: str = ""
    """Branch of the world's tree (``concept``, ``entity``), or type of material."""
    material: str = ""
    """The user's text, which is a part of ``text`` too."""
    model: str = ""
    """What wrote it, as the server named it."""

    def row(self) -> dict[str, str]:
        """As :func:`read` takes it; what is empty is left out."""
        row = {"sector": self.sector, "topic": self.topic, "opening": self.text}
        more = ("source", "kind", "material", "model")
        return row | {key: getattr(self, key) for key in more if getattr(self, key)}


def read(path: Path, sector: Sector | Literal["all"]) -> Iterator[Opening]:
    """Yield the openings of one sector or of all, in the order of the file, one at a time.

    Lines are ``{"sector", "topic", "opening"}``, and ``source``, ``kind``, ``material`` and
    ``model`` if known.

    Raises:
        InputError: names the row that is not such a line.
        SettingError: at its end, if no opening of the sector is in the file.
    """
    found = False
    name = jsonl.scrub(path.name)
    for number, row in enumerate(jsonl.read(path), 1):
        opening = _opening(row, f"{path}: opening {number}", name)
        if sector in ("all", opening.sector):
            found = True
            yield opening
    if not found:
        raise SettingError(f"{path}: holds no opening of sector {sector}")


def _opening(row: dict[str, Any], place: str, name: str) -> Opening:
    sector, text = row.get("sector"), row.get("opening")
    if sector not in get_args(Sector):
        raise InputError(f"{place}: sector {sector!r} is none of {', '.join(get_args(Sector))}")
    more = [row.get(key, "") for key in ("topic", "source", "kind", "material", "model")]
    if not isinstance(text, str) or not text.strip() or not all(isinstance(s, str) for s in more):
        raise InputError(
            f"{place}: 'opening' must be a text, and so must 'topic', 'source', 'kind', 'material' "
            "and 'model' if given"
        )
    topic, source, kind, material, model = more
    return Opening(cast(Sector, sector), topic, text.strip(), source or name, kind, material, model)
