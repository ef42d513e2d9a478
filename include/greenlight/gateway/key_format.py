"""What an API key looks like: `glk_<id>_<secret><checksum>`.

`id` names the key everywhere: in lists, logs, limits and the audit log. `secret` is 256 random
bits. The checksum (CRC-32 of all before it) lets a typo be refused without asking the database, and
a scanner that looks for leaked keys tell one from random text. It protects nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

PREFIX = "glk_"
ID_BYTES, SECRET_BYTES = 10, 32
ID_LENGTH, SECRET_LENGTH, CHECKSUM_LENGTH = 16, 43, 6
BASE32 = "0123456789abcdefghjkmnpqrstvwxyz"
"""Without i, l, o and u: an id is read aloud and typed."""
BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
PATTERN = re.compile(
    rf"{PREFIX}([{BASE32}]{{{ID_LENGTH}}})_"
    rf"([0-9A-Za-z]{{{SECRET_LENGTH}}})([0-9A-Za-z]{{{CHECKSUM_LENGTH}}})"
)

RandomBytes = Callable[[int], bytes]
"""`secrets.token_bytes`, or what a test hands in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyText:
    """A key as its holder has it; the whole text is the secret, and it is never shown."""

    id: str
    text: str = field(repr=False)

    def hashed(self, pepper: str) -> str:
        """Return what is kept of it.

        A fast hash is enough, since nobody can try 2^256 secrets. The pepper, which isn't in the
        database, keeps whoever can write there from adding a key of their own.
        """
        return hmac.digest(pepper.encode(), self.text.encode(), hashlib.sha256).hex()

    def matches(self, kept: str, pepper: str) -> bool:
        """Return whether a kept hash is this key's, in a time that tells nothing."""
        return hmac.compare_digest(self.hashed(pepper), kept)


def new_key_text(random: RandomBytes, *, key_id: str | None = None) -> KeyText:
    """Return a new key; with `key_id` another secret of the same key."""
    name = key_id or _encode(random(ID_BYTES), BASE32, ID_LENGTH)
    body = f"{PREFIX}{name}_{_encode(random(SECRET_BYTES), BASE62, SECRET_LENGTH)}"
    return KeyText(id=name, text=body + _checksum(body))


def read_key_text(text: str) -> KeyText | None:
    """Return a key whose form and checksum are right, or nothing."""
    found = PATTERN.fullmatch(text)
    if found is None or _checksum(text[:-CHECKSUM_LENGTH]) != found[3]:
        return None
    return KeyText(id=found[1], text=text)


def pepper_mark(pepper: str) -> str:
    """Return what tells two peppers apart and says nothing about either."""
    return hmac.digest(pepper.encode(), b"mark", hashlib.sha256).hex()[:16]


def _checksum(body: str) -> str:
    return _encode(zlib.crc32(body.encode()).to_bytes(4, "big"), BASE62, CHECKSUM_LENGTH)


def _encode(data: bytes, alphabet: str, length: int) -> str:
    number, digits = int.from_bytes(data, "big"), []
    for _ in range(length):
        number, digit = divmod(number, len(alphabet))
        digits.append(alphabet[digit])
    return "".join(reversed(digits))
