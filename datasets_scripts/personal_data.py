"""E-mail addresses, phone numbers, IP addresses, keys and card numbers in what people pasted.

What is looked for is what has a form of its own; names and postal addresses have none. Each kind is
found by a cheap pattern and then asked whether it can be real: by its check digits, by numbering
plans (phonenumbers), by address registries (ipaddress), by how random it looks. What is reserved
for documentation, such as ``example.com``, is nobody's.

Texts are hostile: patterns start at something rare, take no character twice and are bounded, so
that the time is linear.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache, lru_cache
from typing import Literal

from datasets_scripts import keys
from datasets_scripts.pipeline import Drop, Step
from ultra.schema import Conversation, Message

Action = Literal["redact", "drop", "keep"]
Span = tuple[int, int]


def protect(action: Action) -> Step:
    """Redact personal data in all turns and in the title, or drop the conversation, or only count.

    ``redact`` puts ``[e-mail]``, ``[card]``, ``[ip]``, ``[phone]`` or ``[key]`` for each, and notes
    ``email``, ``card``, ``ip``, ``phone`` or ``key`` in ``changes`` as often; ``keep`` changes no
    text and notes ``email seen`` and so on. A drop names the kinds only.
    """

    def step(conversation: Conversation) -> Conversation | Drop:
        seen: list[str] = []
        messages: list[Message] = [
            {"role": turn["role"], "content": _redact(turn["content"], seen)}
            for turn in conversation.messages
        ]
        provenance = dict(conversation.provenance)
        if "title" in provenance:
            provenance["title"] = _redact(str(provenance["title"]), seen)
        if not seen:
            return conversation
        if action == "drop":
            return Drop("personal_data", ", ".join(kind for kind in _KINDS if kind in seen))
        if action == "keep":
            conversation.changes += [f"{kind} seen" for kind in seen]
            return conversation
        changes = conversation.changes + seen
        return Conversation(conversation.id, messages, provenance, changes)

    return step


def redacted(text: str) -> str:
    """A text with placeholders for personal data, such as the span that a drop report shows."""
    return _redact(text, [])


def _redact(text: str, seen: list[str]) -> str:
    """The text with placeholders; appends to ``seen`` the kind of each thing they stand for."""
    has_number = "::" in text or _NUMBER.search(text) is not None
    for kind, (placeholder, needs_number, find) in _KINDS.items():
        if needs_number and not has_number:
            continue
        parts, end = [], 0
        for start, stop in sorted(find(text)):
            if start >= end:
                parts += [text[end:start], placeholder]
                seen.append(kind)
                end = stop
        text = "".join(parts) + text[end:] if parts else text
    return text


_NUMBER = re.compile(r"[0-9](?:[ ().:/-]{0,2}[0-9]){4}")
"""Five digits, parted by signs or not, as in each card's number, phone number and address; but an
IPv6 address may have fewer, and a double colon."""

_GENERIC_DOMAINS = (
    "com|org|net|edu|gov|mil|int|info|biz|name|pro|mobi|app|dev|xyz|online|site|tech|store|shop"
    "|club|cloud|email|agency|blog|design|digital|live|media|news|solutions|space|studio|world"
)
_RESERVED = re.compile(r"(?:\A|\.)example(?:\.(?:com|net|org))?\Z|\.(?:test|invalid|localhost)\Z")
"""Domains for documentation and tests, RFC 2606."""
_NOBODY = frozenset({"git", "hg", "svn", "noreply", "no-reply", "donotreply", "do-not-reply"})
_UNSPACED = (
    "\u0e00-\u109f\u1100-\u11ff\u1780-\u17ff"
    "\u2e80-\ud7ff\uf900-\ufaff\uff66-\uffdc\U00020000-\U0003ffff"
)
"""Letters of scripts that put no blank between a word and an address, or hardly ever."""
_MARK = "\u0300-\u036f\u0900-\u0dff"
"""Accents and vowel signs that are characters of their own, and no letters."""
_LOCAL_PART = re.compile(
    rf"[^\W_{_UNSPACED}](?:[^\W{_UNSPACED}]++|[.%+{_MARK}-]++)*+\Z|[{_UNSPACED}]++\Z"
)


@cache
def _domain() -> re.Pattern[str]:
    from phonenumbers import SUPPORTED_REGIONS  # also the domains of countries, but for .uk

    countries = "|".join(sorted(SUPPORTED_REGIONS)).lower()
    letter = r"a-z0-9\u00df-\u024f\u0300-\u052f"  # of names as they are written, RFC 5890
    return re.compile(
        rf"@(?<=[\w+{_MARK}-]@)((?:[{letter}][{letter}-]{{0,62}}\.){{1,5}}"
        rf"(?:{_GENERIC_DOMAINS}|uk|eu|рф|укр|{countries}))(?![a-z0-9_@-])",
        re.IGNORECASE,
    )


def _emails(text: str) -> Iterator[Span]:
    if "@" not in text:
        return
    for match in _domain().finditer(text):
        begin = max(0, match.start() - 64)  # a local part has at most 64 characters, RFC 5321
        local = _LOCAL_PART.search(text[begin : match.start()])
        if local is None or local[0].lower() in _NOBODY or _RESERVED.search(match[1].lower()):
            continue
        start = begin + local.start()
        if text[max(0, start - 2) : start] != "//":  # ssh://user@host
            yield start, match.end()


_IPV4 = re.compile(
    r"[0-9](?<![\w.-][0-9])(?<!\w/[0-9])[0-9]{0,2}(?:\.[0-9]{1,3}){3}(?![\w-]|\.[0-9])", re.ASCII
)
_IPV6 = re.compile(
    r"[23](?<![\w:.][23])[0-9a-f]{3}:[0-9a-f:]{3,34}(?![\w:])", re.ASCII | re.IGNORECASE
)
"""Of the addresses that are given out, all in 2000::/3."""
_VERSION = re.compile(r"(?:version|release|build|firmware|section)\W{0,3}\Z", re.IGNORECASE)
_RESOLVERS = {
    *("9.9.9.9", "149.112.112.112", "208.67.222.222", "208.67.220.220", "94.140.14.14"),
    *("94.140.15.15", "114.114.114.114", "223.5.5.5", "223.6.6.6"),
    *("2001:4860:4860::8888", "2001:4860:4860::8844", "2606:4700:4700::1111"),
}
"""Public name servers, which people write where they mean any address."""


def _addresses(text: str) -> Iterator[Span]:
    if text.count(".") >= 3:
        for match in _IPV4.finditer(text):
            if _is_somebodys(match[0]) and not _VERSION.search(text, *_before(match, 12)):
                yield match.span()
    if text.count(":") >= 2:
        yield from (match.span() for match in _IPV6.finditer(text) if _is_somebodys(match[0]))


def _before(match: re.Match[str], length: int) -> Span:
    return max(0, match.start() - length), match.start()


def _is_somebodys(written: str) -> bool:
    try:
        address = ipaddress.ip_address(written)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv4Address):
        octets = address.packed
        if max(octets) < 32 or octets[3] == 0:  # a version or a section of a text; a network
            return False
    return address.is_global and not address.is_multicast and str(address) not in _RESOLVERS


_CARD = re.compile(
    r"[2-6](?<![\w.,+-][2-6])"
    r"(?:[0-9]{13,18}+|[0-9]{3}([ -])(?:[0-9]{4}\1[0-9]{4}\1[0-9]{4}|[0-9]{6}\1[0-9]{4,5}))"
    r"(?![\w-]|[.,][0-9])",
    re.ASCII,
)
_ISSUED = re.compile(
    r"""
    4[0-9]{15}                                            # Visa
    | (?:5[1-5]|2[2-7])[0-9]{14}                          # Mastercard
    | 3[47][0-9]{13}                                      # American Express
    | (?:6011|65[0-9]{2}|64[4-9][0-9])[0-9]{12}           # Discover
    | 35[2-8][0-9]{13}                                    # JCB
    | 3(?:0[0-5]|[689][0-9])[0-9]{11}                     # Diners Club
    | 62(?:[0-9]{14}|[0-9]{17})                           # UnionPay
    """,
    re.VERBOSE,
)
"""Number ranges and lengths of the card networks (ISO/IEC 7812)."""


def _cards(text: str) -> Iterator[Span]:
    for match in _CARD.finditer(text):
        digits = re.sub("[ -]", "", match[0])
        if _ISSUED.fullmatch(digits) and len(set(digits)) >= 5 and _luhn(digits):
            yield match.span()


def _luhn(digits: str) -> bool:
    from stdnum import luhn  # 30 ms that a text without card numbers need not pay

    return luhn.is_valid(digits)


_INTERNATIONAL = re.compile(
    r"\+(?<![\w.+)]\+)(?![0-9]+\.[0-9]+(?![.0-9]))[0-9][0-9 ().\-/]{6,26}", re.ASCII
)
_DIGITS = re.compile("[0-9]+")
_MOST_TRIED = 4
"""Asking whether a number is assigned takes 20 µs, longer than all else that is done to it."""
_NATIONAL = {
    r"\([2-9][0-9]{2}\) ?[2-9][0-9]{2}[ .-][0-9]{4}": "US",
    r"(?:1[.-])?[2-9][0-9]{2}([.-])[2-9][0-9]{2}\1[0-9]{4}": "US",
    r"\(?0[127][0-9]{1,4}\)?[ -][0-9]{3,4}[ -]?[0-9]{3,4}": "GB",
    r"0[1-9]([ .-])[0-9]{2}(?:\1[0-9]{2}){3}": "FR",
    r"01[5-7][0-9]{1,2}[ /-][0-9]{7,8}|0[2-9][0-9]{1,4}[/-][0-9]{5,8}": "DE",
    r"0[0-9]{1,3}-[0-9]{2,4}-[0-9]{4}": "JP KR",
    r"\([1-9][0-9]\) ?9?[0-9]{4}-[0-9]{4}": "BR",
    r"8[ -]?\(?9[0-9]{2}\)?[ -]?[0-9]{3}[ -][0-9]{2}[ -][0-9]{2}": "RU",
    r"1[3-9][0-9]([ -])[0-9]{4}\1[0-9]{4}": "CN",
    r"09[0-9]{2}-?[0-9]{3}-?[0-9]{3}": "TW",
    r"04[0-9]{2} [0-9]{3} [0-9]{3}|\(0[2378]\) [0-9]{4} [0-9]{4}": "AU",
    r"06[ -]?[0-9]{8}": "NL FR",
    r"07[4-9][0-9]{8}": "GB",
    r"05[0-9]{2} [0-9]{3} [0-9]{2} [0-9]{2}": "TR",
}
"""How people write numbers without a country code, where that looks like nothing else."""
_CHINESE_MOBILE = re.compile(r"1(?<![\w.,/=+-]1)[3-9][0-9]{9}(?![\w-]|[.,/][0-9])", re.ASCII)
_HAN = re.compile("[\u4e00-\u9fff]")
"""Elsewhere than in Chinese text, eleven digits are any number."""
_RUN = re.compile(
    r"[0-9(](?<![\w.,/=+-][0-9(])(?:(?<=[0-9])|(?=[0-9]))"
    r"[0-9 ().\-/]{5,40}[0-9](?![\w-]|[.,][0-9])",
    re.ASCII,
)
_LABEL = re.compile(
    r"""
    (?: \b(?:phone|tel\b|t[eé]l[eé](?:ph|f)|mobile|whats[ ]?app|fax|handy)
      | \b(?:celular|cellulare|m[oó]vil)
      | \b(?:тел\b|телеф) | 电话 | 電話 | 手机 | 手機 | 携帯 | 전화 | هاتف
      | \b(?:my|mi|mio|mon|meu|meine?)[ ](?:number|\#|num[eé]ro|número|nummer)
    )[^0-9\n]{0,20}\Z
    """,
    re.VERBOSE | re.IGNORECASE,
)


@cache
def _national() -> list[tuple[re.Pattern[str], list[str]]]:
    return [
        (re.compile(rf"(?<![\w.,/=+-])(?:{shape})(?![\w-]|[.,/][0-9])", re.ASCII), regions.split())
        for shape, regions in _NATIONAL.items()
    ]


def _phones(text: str) -> Iterator[Span]:
    for match in _INTERNATIONAL.finditer(text):
        length = _international_length(match[0])
        if length:
            yield match.start(), match.start() + length
    for run in _RUN.finditer(text):
        digits = re.sub("[^0-9]", "", run[0])
        if 9 <= len(digits) <= 15 and _LABEL.search(text, *_before(run, 40)):
            if not _is_made_up(digits) and not _FICTIONAL.match(digits):
                yield run.span()
            continue
        for pattern, regions in _national():
            for match in pattern.finditer(text, *run.span()):
                if any(_is_assigned(match[0], region) for region in regions):
                    yield match.span()
    for match in _CHINESE_MOBILE.finditer(text):
        around = text[max(0, match.start() - 20) : match.end() + 20]
        if _HAN.search(around) and _is_assigned(match[0], "CN"):
            yield match.span()


def _international_length(written: str) -> int:
    """How much of the text, from its plus sign on, is a phone number; 0 if none."""
    groups = list(_DIGITS.finditer(written))
    digits = "".join(group[0] for group in groups)
    tried = 0
    while groups and tried < _MOST_TRIED:  # with what follows the number, then without
        if 7 <= len(digits) <= 15 and (digits[0] != "1" or len(digits) == 11):  # E.164
            if _is_assigned(f"+{digits}", None):
                return groups[-1].end()
            tried += 1
        digits = digits[: -len(groups.pop()[0])]
    return 0


@lru_cache(maxsize=1024)  # hostile text repeats itself
def _is_assigned(written: str, region: str | None) -> bool:
    """Whether the numbering plan of the region, or of the country code, has such a number."""
    from phonenumbers import NumberParseException, is_valid_number, parse

    try:
        number = parse(written, region)
    except NumberParseException:
        return False
    national = str(number.national_number)
    american = number.country_code == 1
    if _is_made_up(national) or (american and _FICTIONAL.match(national)):
        return False
    return is_valid_number(number)


def _is_made_up(digits: str) -> bool:
    """Counting, or a round sum."""
    counted = digits in "0123456789" * 2 or digits in "01020304050607080910111213"
    return counted or "00000" in digits or len(set(digits)) < 3


_FICTIONAL = re.compile(r"555|[0-9]{3}55501")
"""In North America, no area is 555, and 555-0100 to 555-0199 are for films."""

_KINDS: dict[str, tuple[str, bool, Callable[[str], Iterable[Span]]]] = {
    "key": ("[key]", False, keys.find),
    "email": ("[e-mail]", False, _emails),
    "card": ("[card]", True, _cards),
    "ip": ("[ip]", True, _addresses),
    "phone": ("[phone]", True, _phones),
}
"""Placeholder, whether it takes a number, and finder. In this order, as a key may hold what looks
like an address, and a card's number what looks like a phone's."""
