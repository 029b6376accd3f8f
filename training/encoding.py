"""Token ids and the weight of each in the loss, made together, piece by piece.

A conversation is rendered by the chat template, and cut where no token may reach over: at control
tokens, and where what the assistant says begins and ends, since at inference the prompt ends there.
All pieces of many conversations are then encoded at once. So the ids are those that any server
makes of the rendered text, the weights are exact by construction, and what a message spells can
never become a control token: only what the template writes is looked up as one.
"""

import json
import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from training.conversations import Dialogue
from ultra.errors import SettingError
from ultra.schema import Message

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerBase

Ids = npt.NDArray[np.int32]
Weights = npt.NDArray[np.float32]

_GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")
_CONTROL_LIKE = re.compile(r"<\|\w+\|>")
"""How nearly all control tokens look that a template may spell out."""
_EDGE = "\x1f"
"""Around the place of a message's text: white space, so that a template that strips shows it."""
_MARK = re.compile(rf"({_EDGE}?)<text (?P<at>\d+)>({_EDGE}?)")
"""In the place of a message's text, while the template is rendered without any of them."""
_FRAMES = 1000
"""Kinds of conversations, that is their roles in order, whose frames are kept."""


class Example(NamedTuple):
    """Token ids of one conversation, and the weight of each in the loss; same length."""

    ids: Ids
    weights: Weights


class Piece(NamedTuple):
    """What is encoded as one: a text, or the id of a control token (then the text is its own)."""

    text: str
    weight: float
    control: int | None = None


@dataclass(frozen=True)
class _Frame:
    """A rendered conversation of certain roles with marks in the place of all texts.

    ``said`` is from where to where the assistant speaks; ``controls`` are the control tokens.
    """

    text: str
    said: list[tuple[int, int]]
    marks: list[re.Match[str]]
    controls: list[re.Match[str]]


@dataclass(frozen=True)
class _Lead:
    """What a tokenizer puts before a text: SentencePiece's dummy blank, or a prefix space.

    ``unless`` are beginnings that stop it, ``everywhere`` tells whether it comes after each control
    token, or at the very beginning alone.
    """

    mark: str = ""
    unless: tuple[str, ...] = ()
    everywhere: bool = False


class Encoder:
    """A tokenizer and its chat template, ready for many conversations.

    Raises:
        SettingError: the tokenizer is not one of the ``tokenizers`` library, has no chat template,
            or lacks a token that the template writes.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        if not getattr(tokenizer, "backend_tokenizer", None):
            raise SettingError(f"{type(tokenizer).__name__}: not a tokenizer with a tokenizer.json")
        if not tokenizer.chat_template:
            raise SettingError("template: the tokenizer has no chat template; set one")
        self.template = str(tokenizer.chat_template)
        if "eos_token" in self.template and not tokenizer.eos_token:
            raise SettingError(
                "template: it writes the tokenizer's end of text, and the tokenizer has none; "
                "set tokens.end_of_turn"
            )
        self._tokenizer = tokenizer
        self._controls = {
            token.content: (number, token.lstrip, token.rstrip)
            for number, token in tokenizer.added_tokens_decoder.items()
            if token.content.strip() and (token.special or token.content in self.template)
        }
        unknown = {*_CONTROL_LIKE.findall(self.template)} - self._controls.keys()
        if unknown:
            raise SettingError(
                f"template: it writes {', '.join(sorted(unknown))}, no token of the tokenizer's; "
                "set tokens.end_of_turn, or tokens.extra for others"
            )
        longest_first = sorted(map(re.escape, self._controls), key=len, reverse=True)
        self._control = re.compile("|".join(longest_first) or "(?!)")
        self._plain, self._lead = _without_lead(tokenizer, self._controls)
        self._frame = lru_cache(_FRAMES)(self._make_frame)
        self._plain.encode_special_tokens = True  # a control token in a text is text

    def require_marks(self) -> None:
        """Make sure that the template tells what the assistant says, and that this has an end.

        Raises:
            SettingError: it has no generation marks, or an answer does not end with the token that
                ends a text.
        """
        if not _GENERATION.search(self.template):
            raise SettingError(
                "template: the chat template has no {% generation %} marks, so the assistant's "
                "tokens cannot be told; name one from training/templates"
            )
        probe = [Message(role="user", content="a"), Message(role="assistant", content="b")]
        pieces = self.pieces(Dialogue(probe, [None, None]))
        said = [] if isinstance(pieces, str) else [piece for piece in pieces if piece.weight]
        end = self._tokenizer.eos_token
        if said and said[-1].text != end:
            raise SettingError(
                f"template: an answer ends with {said[-1].text!r}, and a text with {end!r}, so the "
                "model would not stop there; set tokens.end_of_turn to what ends an answer"
            )

    def encode(
        self, dialogues: Sequence[Dialogue], known: dict[str, list[int]] | None = None
    ) -> list[Example | str]:
        """Encode conversations; in the place of one that cannot be is the reason.

        ``known`` keeps ids by text from one call to the next.
        """
        cut = [self.pieces(one) for one in dialogues]
        known = {} if known is None else known
        texts = {
            piece.text: None
            for pieces in cut
            if not isinstance(pieces, str)
            for piece in pieces
            if piece.control is None and piece.text not in known
        }
        encodings = self._plain.encode_batch_fast(list(texts), add_special_tokens=False)
        known |= {text: one.ids for text, one in zip(texts, encodings, strict=True)}
        return [pieces if isinstance(pieces, str) else _join(pieces, known) for pieces in cut]

    def prompt(self, dialogue: Dialogue) -> list[int] | None:
        """The ids after which the model is to answer; None if the template rewords messages.

        Raises:
            jinja2.TemplateError: the template refuses the conversation.
        """
        pieces = self._cut(dialogue, prompt=True)
        if isinstance(pieces, str):
            return None
        known = {
            piece.text: self._plain.encode(piece.text, add_special_tokens=False).ids
            for piece in pieces
            if piece.control is None
        }
        return [int(one) for one in _join(pieces, known).ids]

    def pieces(self, dialogue: Dialogue) -> list[Piece] | str:
        """A conversation cut into pieces, or why it cannot be: a reason to drop it."""
        from jinja2 import TemplateError

        try:
            return self._cut(dialogue)
        except TemplateError:  # a template may, for instance, demand that a user speaks first
            return "template_refuses"

    def _render(
        self, turns: list[dict[str, Any]], condition: str, prompt: bool, spans: bool
    ) -> tuple[str, list[tuple[int, int]]]:
        from transformers.utils.chat_template_utils import render_jinja_template

        given: dict[str, Any] = {**self._tokenizer.special_tokens_map}
        if condition:
            given["condition"] = condition
        (text,), found = render_jinja_template(
            conversations=[turns],
            chat_template=self.template,
            return_assistant_tokens_mask=spans,
            add_generation_prompt=prompt,
            **given,
        )
        return text, found[0] if spans else []

    def _make_frame(self, roles: tuple[str, ...], condition: str, prompt: bool) -> _Frame:
        marked = [
            {"role": role, "content": f"{_EDGE}<text {at}>{_EDGE}"} for at, role in enumerate(roles)
        ]
        spans = bool(_GENERATION.search(self.template))
        text, said = self._render(marked, condition, prompt, spans)
        marks, controls = (list(one.finditer(text)) for one in (_MARK, self._control))
        return _Frame(text, said, marks, controls)

    def _cut(self, dialogue: Dialogue, prompt: bool = False) -> list[Piece] | str:
        messages, _, condition = dialogue
        frame = self._frame(tuple(turn["role"] for turn in messages), condition, prompt)
        spans = _spans(frame, dialogue.weights) + self._weighed_otherwise(frame, dialogue)
        pieces = list(self._assemble(frame, spans, dialogue))
        plain, _ = self._render([{**turn} for turn in messages], condition, prompt, spans=False)
        if "".join(piece.text for piece in pieces) != plain:
            return "template_changes_text"
        return list(self._led(pieces))

    def _weighed_otherwise(self, frame: _Frame, dialogue: Dialogue) -> list[tuple[int, int, float]]:
        """Spans of messages that are not the assistant's and have a weight all the same.

        Each holds the text, a blank before it, and the control token that ends it.
        """
        spans = []
        for mark in frame.marks:
            at = int(mark["at"])
            weight = dialogue.weights[at]
            if weight and dialogue.messages[at]["role"] != "assistant":
                start, end = mark.span()
                end_token = self._control.match(frame.text, end)
                blank = frame.text.startswith(" ", start - 1)
                spans.append((start - blank, end_token.end() if end_token else end, weight))
        return spans

    def _assemble(
        self, frame: _Frame, spans: list[tuple[int, int, float]], dialogue: Dialogue
    ) -> Iterable[Piece]:
        """The pieces in order: control tokens alone, texts as long as no border divides them."""
        rendered, marks, controls = frame.text, frame.marks, frame.controls
        weights = {end: 0.0 for start, end, _ in spans if start < end}
        weights |= {start: weight for start, end, weight in spans if start < end}
        inner = {edge for one in (*marks, *controls) for edge in one.span()}
        contents = {one.start(): _content(one, dialogue) for one in marks}
        tokens = {one.start(): one[0] for one in controls}
        text, weight = "", 0.0
        for start, end in pairwise(sorted({0, len(rendered)} | weights.keys() | inner)):
            if start in tokens or start in weights:
                if text:
                    yield Piece(text, weight)
                text = ""
            weight = weights.get(start, weight)
            if start in tokens:
                yield Piece(tokens[start], weight, self._controls[tokens[start]][0])
            else:
                text += contents[start] if start in contents else rendered[start:end]
        if text:
            yield Piece(text, weight)

    def _led(self, pieces: list[Piece]) -> Iterable[Piece]:
        """As the whole text would be encoded: what control tokens swallow and what leads a text."""
        for at, piece in enumerate(pieces):
            if piece.control is not None:
                yield piece
                continue
            text = piece.text
            before = pieces[at - 1] if at else None
            after = pieces[at + 1] if at + 1 < len(pieces) else None
            if before and before.control is not None and self._controls[before.text][2]:
                text = text.lstrip()
            if after and after.control is not None and self._controls[after.text][1]:
                text = text.rstrip()
            begins = before is None or (self._lead.everywhere and before.control is not None)
            if text and begins and not text.startswith(self._lead.unless or ("\0",)):
                text = self._lead.mark + text
            if text:
                yield Piece(text, piece.weight)


def _content(mark: re.Match[str], dialogue: Dialogue) -> str:
    """The text that stands at a mark, stripped where the template strips it."""
    text = dialogue.messages[int(mark["at"])]["content"]
    text = text if mark[1] else text.lstrip()
    return text if mark[3] else text.rstrip()


def _spans(frame: _Frame, weights: list[float | None]) -> list[tuple[int, int, float]]:
    """What the assistant says, and with which weight: that of the message inside."""
    starts = [mark.start() for mark in frame.marks]
    spans = []
    for start, end in frame.said:
        at = bisect_left(starts, start)
        inside = at < len(starts) and starts[at] < end
        weight = weights[int(frame.marks[at]["at"])] if inside else None
        spans.append((start, end, 1.0 if weight is None else weight))
    return spans


def _join(pieces: list[Piece], known: dict[str, list[int]]) -> Example:
    ids = [known[one.text] if one.control is None else [one.control] for one in pieces]
    lengths = [len(one) for one in ids]
    flat = np.fromiter(chain.from_iterable(ids), np.int32, sum(lengths))
    weights = np.repeat(np.array([one.weight for one in pieces], np.float32), lengths)
    return Example(flat, weights)


def _without_lead(
    tokenizer: "PreTrainedTokenizerBase", controls: Iterable[str]
) -> tuple["Tokenizer", _Lead]:
    """A copy of the tokenizer that encodes a piece as inside a text, and what leads a text.

    In the copy every control token counts as special, so that ``encode_special_tokens`` can make
    it plain text, also one that its makers did not mark so.
    """
    from tokenizers import Tokenizer

    made = json.loads(tokenizer.backend_tokenizer.to_str())
    made |= {"truncation": None, "padding": None, "post_processor": None}
    for token in made["added_tokens"]:
        token["special"] = token["special"] or token["content"] in {*controls}
    lead = _Lead()
    for part in (*_parts(made["normalizer"]), *_parts(made["pre_tokenizer"])):
        if part["type"] == "Prepend":
            lead = _Lead(part["prepend"], (), everywhere=True)
            part["prepend"] = ""
        elif part["type"] == "Metaspace" and part["prepend_scheme"] != "never":
            mark = part["replacement"]
            lead = _Lead(mark, (mark, " "), everywhere=part["prepend_scheme"] == "always")
            part["prepend_scheme"] = "never"
        elif part["type"] == "ByteLevel" and part["add_prefix_space"]:
            lead = _Lead(" ", (" ",), everywhere=True)
            part["add_prefix_space"] = False
    return Tokenizer.from_str(json.dumps(made)), lead


def _parts(step: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The steps of a normalizer or pre-tokenizer, one by one."""
    if step is None:
        return []
    if step["type"] != "Sequence":
        return [step]
    inner = step.get("normalizers") or step.get("pretokenizers") or []
    return [part for one in inner for part in _parts(one)]
