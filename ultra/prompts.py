"""Prompts, cards and other texts with ``{slots}``, kept in files beside the code that uses them."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ultra.errors import InputError, SettingError

_SLOT = re.compile(r"\{([a-z][a-z0-9_]*)\}")


@dataclass(frozen=True)
class Prompt:
    """A text with slots. ``digest`` is the hex sha256 of the text, for manifests and protocols."""

    name: str
    text: str

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.text.encode("utf-8")).hexdigest()

    @property
    def slots(self) -> set[str]:
        return set(_SLOT.findall(self.text))

    def fill(self, slots: Mapping[str, str]) -> str:
        """Put values into all slots in one pass, so that braces inside a value stay text.

        Raises:
            SettingError: a slot of the text has no value, or a value has no slot.
        """
        if self.slots != set(slots):
            odd = ", ".join(sorted(self.slots ^ set(slots)))
            raise SettingError(f"prompt {self.name}: these slots do not match its text: {odd}")
        return _SLOT.sub(lambda match: slots[match[1]], self.text)


def load(path: Path) -> Prompt:
    """Read a prompt file.

    Raises:
        InputError: the file is not there or is not UTF-8.
    """
    try:
        return Prompt(path.name, path.read_text(encoding="utf-8").strip())
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a readable UTF-8 prompt file ({error})") from error
