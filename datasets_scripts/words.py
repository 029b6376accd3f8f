"""The words of a text, as the searches for repeated text compare them.

Case, composed or decomposed letters, punctuation, symbols, blanks and invisible characters make no
difference: a word is a run of letters, marks and digits, casefolded. Scripts that are written
without blanks between words (Han, kana, bopomofo, Thai, Lao, Khmer, Myanmar) have no words to find
without a dictionary; of those each character and each mark counts as a word, so that "8 words" are
about five words of Chinese, but less than two of Thai.
"""

import re
import unicodedata

UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x2E80, 0x2FDF),  # radicals
    (0x3005, 0x3007),  # iteration mark, ideographic zero
    (0x3021, 0x312F),  # kana, bopomofo
    (0x31A0, 0x31FF),
    (0x3400, 0x4DBF),  # Han
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0xFF66, 0xFF9F),
    (0x20000, 0x3FFFF),
)
"""First and last code points, of the Unicode blocks of these scripts."""

_ASCII = bytes(
    code if code >= 0x80 else ord(chr(code).lower()) if chr(code).isalnum() else 0x20
    for code in range(256)
)
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]{1,64}")
"""In pieces: to bring marks into order, normalisation takes the square of their number."""


class _Characters(dict[int, str]):
    """What becomes of a character beyond ASCII; filled as characters are met."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        category = unicodedata.category(char)
        if any(first <= code <= last for first, last in UNSPACED) and category[0] in "LMN":
            self[code] = f" {char} "
        elif category[0] in "LMN":
            self[code] = char.casefold()
        else:  # a soft hyphen or a joiner is in no one's way; anything else parts words
            self[code] = "" if category == "Cf" else " "
        return self[code]


_characters = _Characters()


def words(text: str) -> list[bytes]:
    """Split a text into its words, each as UTF-8; time is linear in the text."""
    if not text.isascii():
        text = _BEYOND_ASCII.sub(_translate, text)
    return text.encode().translate(_ASCII).split()


def _translate(run: re.Match[str]) -> str:
    """Decomposed, so that what stands before the run does not matter; a base may be ASCII."""
    return unicodedata.normalize("NFD", run[0]).translate(_characters)
