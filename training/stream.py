"""An answer as it comes: written piece by piece, with nothing in it that a terminal acts on."""

import sys
import unicodedata
from typing import TYPE_CHECKING

from ultra import command

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase


class Stream:
    """Writes an answer as its tokens come; ``generate`` calls this a streamer.

    ``text`` is what was written, which is the answer without white space around it; ``ended`` tells
    whether one of ``ends``, the ids at which the model stops, came after ``ids``.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", ends: set[int]) -> None:
        self.ids: list[int] = []
        self.text, self.ended = "", False
        self._tokenizer, self._ends = tokenizer, ends
        self._from, self._upto, self._blanks = 0, 0, ""

    def put(self, tokens: "Tensor") -> None:
        """Take the prompt, of shape (1, length), or the next token, of shape (1,)."""
        if tokens.dim() == 1:
            self.ended = int(tokens[0]) in self._ends
            self.ids += [] if self.ended else tokens.tolist()
            self._decode()

    def end(self) -> None:
        """Write what was held back, though it may be a part of a character."""
        self._decode(torn=True)

    def _decode(self, torn: bool = False) -> None:
        """Write what new tokens add, if no character is ``torn`` between them and the next one.

        They are decoded with those before them: many tokenizers drop a blank where a text begins.
        """
        before, now = (
            str(self._tokenizer.decode(ids, skip_special_tokens=True))
            for ids in (self.ids[self._from : self._upto], self.ids[self._from :])
        )
        if len(now) > len(before) and (torn or not now.endswith("\ufffd")):
            self._from, self._upto = self._upto, len(self.ids)
            self._write(now[len(before) :])

    def _write(self, piece: str) -> None:
        piece = self._blanks + piece if self.text else piece.lstrip()
        ready = piece.rstrip()
        self._blanks = piece[len(ready) :]
        self.text += ready
        print(shown(ready) if sys.stdout.isatty() else ready, end="", flush=True)


def shown(text: str) -> str:
    """Escape what a terminal would act on; all blanks, and joiners, which emoji need, may pass."""
    return "".join(
        char
        if char in "\n\t\u200c\u200d" or unicodedata.category(char) == "Zs"
        else command.printable(char)
        for char in text
    )
