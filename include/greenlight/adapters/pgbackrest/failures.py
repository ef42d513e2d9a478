"""pgBackRest's exit codes and messages as our errors."""

from __future__ import annotations

import re
from pathlib import Path

from greenlight.core.errors import (
    ConfigError,
    GreenlightError,
    InputError,
    ProcessDiedError,
    RefusedError,
    ResourceError,
    UnavailableError,
)

LOCKED = 50
SETTINGS = frozenset({27, 31, 32, 37, 68, 87})
DAMAGE = frozenset({26, 29, 95, 99})
"""Checksum, format, decryption, JSON: what was read isn't what was written, or the key is wrong."""
MISSING = frozenset({28, 42, 55, 75})
NO_ANSWER = frozenset({39, 49, 56, 57, 82, 101, 102, 103})
NAMES = {
    "ChecksumError": 26,
    "CryptoError": 95,
    "FileMissingError": 55,
    "FormatError": 29,
    "HostConnectError": 49,
    "JsonFormatError": 99,
    "ProtocolError": 39,
    "ServiceError": 101,
}
LONGEST = 300

_ERROR = re.compile(r"^(?:P\d+ +)?ERROR: \[(\d{3})\]: (.*)$", re.MULTILINE)
_NAMED = re.compile(r"^\[(\w+)\] ")
_NO_SERVER = re.compile(r"\[DbConnectError\] (.*)")
_HTTP = re.compile(r"HTTP request failed with (\d{3})")
_S3 = re.compile(r"<Code>(\w+)</Code>")
_QUOTED = re.compile(r"(?<=outside of section at line \d): .*")
"""What it read instead of its own file: noise, when the passphrase is wrong."""


def failure(code: int, said: str, *, doing: str, passphrase: Path) -> GreenlightError:
    """Return the error for a command that ended with `code` and wrote `said`.

    `doing` is the message's first words, such as `region a: pgbackrest backup`; `passphrase` is
    the file with the repository's.
    """
    if no_server := _NO_SERVER.search(said):
        return UnavailableError(f"{doing}: the server can't be asked: {no_server[1]}")
    if first := _ERROR.search(said):
        code = int(first[1]) if code == int(first[1]) or code == 104 else code
        said = said[first.start(2) :]
    return _classified(code, said, f"{doing}: {_headline(said)}", passphrase)


def failure_in_words(code: int, why: str) -> type[GreenlightError]:
    """Return the class of the error for what one object could not be read for."""
    return type(_classified(code, why, why, Path()))


def failure_of(message: str, *, doing: str, passphrase: Path) -> GreenlightError:
    """Return the error for a message that begins with its kind, such as `[CryptoError] …`."""
    named = _NAMED.match(message)
    code = NAMES.get(named[1], 0) if named else 0
    return _classified(code, message, f"{doing}: {_headline(message)}", passphrase)


def _classified(code: int, said: str, message: str, passphrase: Path) -> GreenlightError:
    if "No space left on device" in said:
        return ResourceError(f"{message}; make room")
    if http := _HTTP.search(said):
        return _http_failure(int(http[1]), f"{message} ({', '.join(_S3.findall(said)[:1])})")
    if code == LOCKED and "temporarily unavailable" in said:
        return RefusedError(f"{message}; another pgBackRest works on this cluster, wait for it")
    if "unable to load info file" in said and code in DAMAGE:
        return ConfigError(
            f"{message}; {passphrase} isn't the passphrase it was written with, or both the file "
            f"and its copy are damaged"
        )
    if code == 95 and "certificate" in said:
        return ConfigError(f"{message}; check endpoint and ca_file")
    if "do not match the database" in said:
        return RefusedError(f"{message}; it holds copies of another cluster: use another bucket")
    if "has a stanza-create been performed" in said and code == 55:
        return RefusedError(f"{message}; the repository is not made yet")
    return _by_code(code)(message)


def _by_code(code: int) -> type[GreenlightError]:
    if code in SETTINGS:
        return ConfigError
    if code in DAMAGE or code in MISSING:
        return InputError
    if code == 40:
        return RefusedError
    return UnavailableError if code in NO_ANSWER else ProcessDiedError


def _http_failure(status: int, message: str) -> GreenlightError:
    if status >= 500 or status == 429:
        return UnavailableError(message)
    return ConfigError(f"{message}; check bucket, keys and what they may do")


def _headline(said: str) -> str:
    """Return the first lines without hints: what failed, and why."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    kept: list[str] = []
    for line in lines:
        if line.startswith(("HINT", "***", "ERROR", "WARN", "[")) and kept:
            break
        kept.append("".join(letter if letter.isprintable() else "?" for letter in line))
    return _QUOTED.sub("", " ".join(kept[:2]))[:LONGEST] or "it said nothing"
