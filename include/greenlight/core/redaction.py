"""Take secrets, prompts and answers out of what is logged, whoever wrote it.

Nothing that Greenlight logs should hold any; this is for what slips through: an exception that
quotes a URL with its password, a library that logs a request. Every pattern is bounded, since a
stranger may choose the text.
"""

from __future__ import annotations

import re
from itertools import pairwise

HIDDEN = "[redacted]"
LONGEST = 16 * 1024
"""Characters of one text; what is longer is cut."""
_SECRET_WORDS = frozenset(
    {"authorization", "cookie", "credential", "credentials", "passwd", "password", "pepper",
     "secret", "token"}
)  # fmt: skip
_TEXT_WORDS = frozenset({"answer", "content", "input", "messages", "prompt", "prompts", "text"})
_KEY_WORDS = frozenset({"api", "access", "private"})
"""`api_key` is a secret, `key` is not."""
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|[0-9]+")

_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    # a prompt or an answer in JSON, or in what Python shows of it
    (
        re.compile(
            r"""(?i)(["'](?:answer|content|input|messages|prompts?|suffix|system|text)["']\s{0,3}:\s{0,3})"""
            r"""(?:"(?:[^"\\]|\\.)*+"?|'(?:[^'\\]|\\.)*+'?|\[(?:[^\]{}])*+\]?)""",
            re.DOTALL,
        ),
        rf'\1"{HIDDEN}"',
    ),
    (
        re.compile(
            r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?"
            r"(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)",
            re.DOTALL,
        ),
        HIDDEN,
    ),
    # a password in an address
    (re.compile(r"(://[^\s:/@\"']{0,256}:)[^\s/\"']{1,256}@"), rf"\1{HIDDEN}@"),
    (
        re.compile(
            r"(?i)((?:proxy-)?authorization[\"']?\s{0,3}[:=]\s{0,3}[\"']?)"
            r"(?:(?:basic|bearer|digest|negotiate|aws4-hmac-sha256)\s{1,3})?[^\s\"',}]{1,4096}"
        ),
        rf"\1{HIDDEN}",
    ),
    (re.compile(r"(?i)\b(bearer\s{1,3})[A-Za-z0-9._~+/=-]{8,4096}"), rf"\1{HIDDEN}"),
    (
        re.compile(
            r"(?i)((?:password|passwd|pwd|secret|token|pepper|cookie"
            r"|(?:api|access|private|secret)[_-]?key)[\"']?\s{0,3}[:=]\s{0,3})"
            r"(?:\"[^\"]{0,512}\"?|'[^']{0,512}'?|[^\s,;&)}\]\"']{1,512})"
        ),
        rf"\1{HIDDEN}",
    ),
    # keys and tokens by their form: Greenlight's, JWT, OpenAI's, Hugging Face's
    (re.compile(r"(glk_[0-9a-z]{16}_)[0-9A-Za-z]{8,64}"), rf"\1{HIDDEN}"),
    (re.compile(r"\beyJ[\w-]{8,4096}\.[\w-]{2,8192}(?:\.[\w-]{0,4096})?"), HIDDEN),
    (re.compile(r"\b(?:sk-|hf_)[A-Za-z0-9_-]{20,256}"), HIDDEN),
)


def redact(text: str) -> str:
    """Return a text without secrets, prompts and answers, and no longer than may be kept."""
    if len(text) > LONGEST:
        text = f"{text[:LONGEST]} … {len(text) - LONGEST} more characters"
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    return text


def is_secret(name: str) -> bool:
    """Return whether what has such a name is never shown."""
    words = [word.lower() for word in _WORD.findall(name)]
    return (
        not _SECRET_WORDS.isdisjoint(words)
        or bool(words and words[-1] in _TEXT_WORDS)
        or any(a in _KEY_WORDS and b == "key" for a, b in pairwise(words))
        or "apikey" in words
    )
