"""Whether a turn is in another language than the words that opened the dialogue."""

import re
from collections.abc import Callable
from functools import cache, lru_cache

from datasets_scripts import language
from ultra.schema import Conversation

_SURE, _SURE_OPENING = 0.6, 0.4
"""Confidence of the model in a turn's language, and in the opening's."""
_LETTERS, _LETTERS_OF_A_SCRIPT = 24, 6
"""Fewest bytes of letters to tell a turn by, and one in another script than the opening's."""
_SEEN = 400
"""Characters of a turn: the model is sure after less."""
_RELATIVES = (
    {"no", "nn", "da", "sv"},
    {"hr", "sr", "bs", "sh", "sl"},
    {"id", "ms", "jv", "su", "min"},
    {"es", "gl", "ca", "pt", "ast", "an", "oc"},
    {"cs", "sk"},
    {"ru", "uk", "be", "bg", "mk"},
    {"zh", "yue", "wuu"},
    {"fa", "ar", "ur", "arz", "pnb"},
    {"hi", "mr", "ne"},
    {"de", "nds", "lb", "als"},
    {"nl", "af", "li"},
    {"it", "scn", "lmo", "pms", "vec"},
    {"tr", "az"},
)
"""Languages that are easily taken for each other in a sentence."""
_BEYOND_LATIN = re.compile(r"[\u0370-\u1fff\u2e80-\ud7ff\uf900-\ufdff\U00020000-\U0003ffff]")
_KANA_OR_HANGUL = re.compile(r"[\u3041-\u30ff\uac00-\ud7a3]")


def is_foreign(said: str, opening: str) -> bool:
    """Whether a turn is surely in another language; what is too short for that is not."""
    size = len("".join(filter(str.isalpha, said[:_SEEN])).encode("utf-8", "replace"))
    other_script = bool(_BEYOND_LATIN.search(said)) != bool(_BEYOND_LATIN.search(opening))
    if size < (_LETTERS_OF_A_SCRIPT if other_script else _LETTERS):
        return False
    told, confidence = _language(said)
    first, first_confidence = _first_language(opening)
    if confidence < _SURE or first_confidence < _SURE_OPENING:
        return False
    return told != first and not any({told, first} <= group for group in _RELATIVES)


@cache
def _identify() -> Callable[[Conversation], object]:
    return language.identify([], [])


@lru_cache(maxsize=4096)
def _first_language(text: str) -> tuple[str, float]:
    """The language of an opening, which is asked for at each turn after it."""
    return _language(text)


def _language(text: str) -> tuple[str, float]:
    """A language's code and the model's confidence, 0.0 where there is too little to tell.

    The model takes short Chinese for Japanese or Korean at times, which are hardly ever without
    their own letters.
    """
    found = _identify()(Conversation("", [{"role": "user", "content": text}], {}))
    if not isinstance(found, Conversation):
        return "", 0.0
    code, confidence = found.provenance["language"], found.provenance["language_confidence"]
    is_han = code in ("ja", "ko") and not _KANA_OR_HANGUL.search(text)
    return "zh" if is_han else str(code), float(confidence)
