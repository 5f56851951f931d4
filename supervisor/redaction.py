"""Takes what is nobody's business out of a text: names, home folders, secrets, the texts of requests. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

HIDDEN = "[hidden]"
USER = "[user]"
HOST = "[host]"

#: Names so short are parts of other words, and no secret.
_LEAST_NAME = 3
_LEAST_SECRET = 6

#: A JSON string or number, and a JSON list, each to its end or the line's: a line may have been cut.
_STRING = r'"(?:[^"\\]|\\.)*(?:"|$)'
_LIST = r"\[(?:[^\[\]\"]|" + _STRING + r"|\[(?:[^\[\]\"]|" + _STRING + r")*(?:\]|$))*(?:\]|$)"

_SECRET_NAME = (
    r"[\w.-]*(?:token(?!s|iz)|secret|passw(?:or)?d|passphrase|api[_-]?key|authorization|credential|nonce|cookie)[\w-]*"
)

_RULES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE | re.MULTILINE), replacement)
    for pattern, replacement in (
        # What was to be embedded: as JSON, escaped JSON inside a line, or a Python value.
        (rf'("(?:texts?|input|query|document|prompt)"\s*:\s*)(?:{_LIST}|{_STRING})', rf'\1"{HIDDEN}"'),
        (r'(\\"(?:texts?|input|query|document|prompt)\\"\s*:\s*).*?(?=\}|$)', rf"\1{HIDDEN}"),
        (r"('(?:texts?|input|query|document|prompt)'\s*:\s*).*?(?=\}|$)", rf"\1'{HIDDEN}'"),
        (r"(\b(?:texts?|input)=)(?:\[.*?\]|\"[^\"]*\"|'[^']*')", rf"\1{HIDDEN}"),
        # Secrets by what stands before them.
        (rf'("{_SECRET_NAME}"\s*:\s*){_STRING}', rf'\1"{HIDDEN}"'),
        (r"(\b(?:bearer|basic|digest)\s+)[\w.~+/=-]{6,}", rf"\1{HIDDEN}"),
        (rf"((?<![\w.-]){_SECRET_NAME}['\"]?\s*[=:]\s*['\"]?)(?!\[hidden)[^\s'\",;&}}]+", rf"\1{HIDDEN}"),
        (rf"(--{_SECRET_NAME}\s+)\S+", rf"\1{HIDDEN}"),
        (r"(\b[a-z][a-z0-9+.-]*://)[^\s/@'\"]+@", rf"\1{HIDDEN}@"),
        # Secrets by their own look: those of hubs and clouds, and keys in armour.
        (r"\b(?:hf|sk|pk|ghp|gho|ghs|glpat|xox[abp]|pypi|npm)[_-][\w-]{10,}", HIDDEN),
        (r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*", HIDDEN),
        (r"\bA(?:KIA|SIA)[A-Z0-9]{16}\b", HIDDEN),
        (r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", HIDDEN),
        # People: addresses, and the folders of whoever has an account.
        (r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+", "[address]"),
        (r"((?:/home|/Users|/var/home)/)(?!\[user\])[^/\s'\":,;]+", rf"\1{USER}"),
        (r"([A-Z]:(?:\\\\?|/)Users(?:\\\\?|/))(?!\[user\])[^\\/\s'\":,;]+", rf"\1{USER}"),
    )
)


class Redactor:
    """Knows what of this machine and run must not be told."""

    def __init__(self, *, home: str = "", user: str = "", host: str = "", secrets: Iterable[str] = ()) -> None:
        self._exact: list[tuple[re.Pattern[str], str]] = []
        for secret in sorted({s for s in secrets if len(s) >= _LEAST_SECRET}, key=len, reverse=True):
            self._exact.append((re.compile(re.escape(secret)), HIDDEN))
        for spelled in _spellings(home):
            self._exact.append((re.compile(re.escape(spelled) + r"(?![\w-])", re.IGNORECASE), "~"))
        for name, instead in ((user, USER), (host, HOST)):
            if len(name) >= _LEAST_NAME:
                self._exact.append((re.compile(rf"(?<![^\W_]){re.escape(name)}(?![^\W_])", re.IGNORECASE), instead))

    def clean(self, text: str) -> str:
        """``text`` without them; as long as nothing was found, unchanged."""
        for pattern, instead in (*self._exact, *_RULES):
            text = pattern.sub(instead, text)
        return text


def _spellings(path: str) -> list[str]:
    """A path as it is, as JSON writes it, and with the other slashes; the longest first."""
    trimmed = path.rstrip("/\\")
    if len(trimmed) < _LEAST_NAME:
        return []
    forms = {trimmed, trimmed.replace("\\", "\\\\"), trimmed.replace("\\", "/")}
    return sorted(forms, key=len, reverse=True)
