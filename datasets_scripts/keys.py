"""Keys, tokens and passwords in a text, by the form that their issuers give them.

The patterns of detect-secrets are not used: several take quadratic time on hostile text, importing
them costs a process 0.16 s and 19 MB, and many issuers' present forms are not among them.
"""

import re
from collections.abc import Iterator
from functools import cache

_KEYS = {
    "eyJ": r"[\w-]{8,}+\.eyJ[\w-]{8,}+\.[\w-]{16,}+",  # JSON Web Token, RFC 7519
    "sk-": r"[\w-]{20,}+",  # OpenAI, Anthropic, and services whose interfaces are like theirs
    "AKIA": r"[A-Z0-9]{16}(?!\w)",  # Amazon Web Services, for long
    "ASIA": r"[A-Z0-9]{16}(?!\w)",  # and for a session
    "AIza": r"[\w-]{35}(?![\w-])",  # Google
    "GOCSPX-": r"[\w-]{28}(?![\w-])",
    "ya29.": r"[\w-]{20,}+",
    "ghp_": r"[A-Za-z0-9]{36}(?!\w)",  # GitHub: a person's, an application's, a refresh token
    "gho_": r"[A-Za-z0-9]{36}(?!\w)",
    "ghu_": r"[A-Za-z0-9]{36}(?!\w)",
    "ghs_": r"[A-Za-z0-9]{36}(?!\w)",
    "ghr_": r"[A-Za-z0-9]{36,}+(?!\w)",
    "github_pat_": r"\w{40,}+",
    "glpat-": r"[\w-]{20,}+",  # GitLab
    "hf_": r"[A-Za-z0-9]{30,}+(?!\w)",  # Hugging Face
    "npm_": r"[A-Za-z0-9]{36}(?!\w)",
    "pypi-": r"AgE[\w-]{50,}+",
    "xox": r"[abeoprs]-[A-Za-z0-9-]{10,}+",  # Slack
    "sk_live_": r"[A-Za-z0-9]{16,}+",  # Stripe
    "rk_live_": r"[A-Za-z0-9]{16,}+",
    "sk_test_": r"[A-Za-z0-9]{16,}+",
    "whsec_": r"[A-Za-z0-9+/=]{24,}+",
    "SG.": r"[\w-]{22}\.[\w-]{43}(?![\w-])",  # SendGrid
    "SK": r"[0-9a-f]{32}(?!\w)",  # Twilio
}
"""How a key of each issuer starts, and what follows, by the issuers' own descriptions."""
_SECRETS = {
    "PRIVATE KEY": r"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----"
    r"((?:[^-]|-(?!----))*+)-----END [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----",  # RFC 7468
    "hooks.slack.com/services/": r"hooks\.slack\.com/services/(T\w{6,}+/B\w{6,}+/\w{16,}+)",
    ":AA": r":(?<=[0-9]{8}:)(AA[\w-]{33})(?![\w-])",  # Telegram
    "Bearer ": r"Bearer ([\w.~+/-]{20,}+)",  # RFC 6750
}
"""Others, by a part that is always there; a group is what is secret of it."""
_PLACEHOLDER = re.compile(r"example|your|xxxx|insert|replace|123456|abcdef", re.IGNORECASE)
_USERINFO = re.compile(r"://([^\s/:@\"'<>]{0,64}):([^\s/:@\"'<>{}\[\]$*]{1,128})@(?=[\w\[])")
_ASSIGNED = re.compile(r"[=:]\s{0,2}[\"'`]?([\w+/=~-]{20,}+)", re.ASCII)
"""What follows is looked at apart: here it would make each sign of a run of ``=`` a start."""
_SECRET_NAME = re.compile(
    r"(?:(?:api|access|account|app|auth|client|private)[ _-]?key|token|secret|passw(?:or)?d|pwd)"
    r"[\"'`\])]{0,2}\s{0,2}\Z",
    re.IGNORECASE,
)


@cache
def _patterns() -> list[tuple[str, re.Pattern[str]]]:
    # What may not stand before a key is looked at behind its start, as a pattern that begins with
    # fixed characters is searched for many times faster. It keeps Base64 and words out.
    patterns = dict(_SECRETS)
    for sign, rest in _KEYS.items():
        start = re.escape(sign)
        patterns[sign] = rf"{start}(?<![\w+-]{start})(?<!\w/{start}){rest}"
    return [(sign, re.compile(pattern, re.ASCII)) for sign, pattern in patterns.items()]


def find(text: str) -> Iterator[tuple[int, int]]:
    """Where keys, tokens, and passwords in addresses stand; spans may come in any order."""
    for sign, pattern in _patterns():
        if sign in text:
            for match in pattern.finditer(text):
                if _is_random(match[match.re.groups]):
                    yield match.span(match.re.groups)
    if "://" in text and "@" in text:
        for match in _USERINFO.finditer(text):
            if not _is_stand_in(match[1], match[2]):
                yield match.span(2)
    for match in _ASSIGNED.finditer(text):
        if text.startswith((".", "(", "["), match.end()):  # a name, not a value
            continue
        named = _SECRET_NAME.search(text, max(0, match.start() - 40), match.start())
        if named and _is_random(match[1]):
            yield match.span(1)


def _is_random(key: str) -> bool:
    """Whether it was drawn, not written: ``sk-your-key-goes-here`` is nobody's."""
    drawn = key.isupper() or any(map(str.isdigit, key))
    return drawn and len(set(key)) >= 8 and not _PLACEHOLDER.search(key)


def _is_stand_in(user: str, password: str) -> bool:
    word = password.lower()
    return word == user.lower() or (
        word.isalpha() and any(part in word for part in ("pass", "pwd", "secret", "token", "key"))
    )
