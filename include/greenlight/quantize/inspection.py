"""What can be wrong with a text, counted without showing it: damage, language, personal data.

Patterns for personal data find candidates for a person to look at. They miss names, and they flag
examples; so they warn and never refuse.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from hashlib import blake2b

CARD_DIGITS = range(13, 20)
PHONE_DIGITS = range(9, 16)

# U+FFFD stands where a decoder gave up; control characters but tab and line ends;
# no characters, and halves of one.
_DAMAGE = re.compile(r"[\ufffd\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffe\uffff\ud800-\udfff]")
_E_MAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,8}[A-Za-z]{2,24}\b")
# A leading + or 0, or an area code in brackets: other runs of digits are dates and versions.
_PHONE = re.compile(r"(?<![\w.+-])(?:\+|\(0?\d{2,5}\)|0)[\d ()/.-]{7,22}\d(?![\w])")
_CARD = re.compile(r"(?<![\w.-])\d(?:[ -]?\d){12,18}(?![\w-]|\.\d)")
_KEY = re.compile(
    r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----"
    r"|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"
    r"|\bgh[pousr]_[A-Za-z0-9]{36,}"
    r"|\bgithub_pat_\w{22,}"
    r"|\bhf_[A-Za-z0-9]{30,}"
    r"|\bsk-[A-Za-z0-9_-]{20,}"
    r"|\bxox[abprs]-[A-Za-z0-9-]{10,}"
    r"|\bAIza[\w-]{35}"
    r"|\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """Counts over one text. `ascii_share`: of its letters; 1 when it holds none."""

    damaged: int
    ascii_share: float
    e_mails: int
    phones: int
    cards: int
    keys: int
    fingerprint: str
    """Equal for texts that differ in case and white space alone."""


def inspect(text: str, *, identity: str | None = None) -> Inspection:
    """Count what may be wrong with `text`; `identity`: the part that must not occur twice."""
    return Inspection(
        damaged=len(_DAMAGE.findall(text)),
        ascii_share=ascii_share(text),
        e_mails=len(_E_MAIL.findall(text)),
        phones=sum(is_phone(found[0]) for found in _PHONE.finditer(text)),
        cards=sum(is_card(found[0]) for found in _CARD.finditer(text)),
        keys=len(_KEY.findall(text)),
        fingerprint=fingerprint(text if identity is None else identity),
    )


def ascii_share(text: str) -> float:
    """Return the share of ASCII letters among all letters: near 1 in English, 0 in Chinese."""
    letters = [character for character in text if unicodedata.category(character).startswith("L")]
    return sum(map(str.isascii, letters)) / len(letters) if letters else 1.0


def is_card(digits: str) -> bool:
    """Tell whether a number has the length and the check digit of a payment card (Luhn).

    Zeros alone have the check digit, too, and are no card.
    """
    numbers = [int(d) for d in digits if d.isdigit()]
    doubled = [n if i % 2 == 0 else sum(divmod(2 * n, 10)) for i, n in enumerate(numbers[::-1])]
    return len(numbers) in CARD_DIGITS and len(set(numbers)) > 1 and sum(doubled) % 10 == 0


def is_phone(text: str) -> bool:
    """Tell whether what looks like a telephone number has as many digits as one."""
    return sum(map(str.isdigit, text)) in PHONE_DIGITS


def fingerprint(text: str) -> str:
    """Return a digest of the text, folded in case and white space."""
    folded = " ".join(text.casefold().split())
    return blake2b(folded.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
