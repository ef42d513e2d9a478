"""What restic says. Its words are those of 0.14, which has no exit codes for most of it.

Words that nobody knows are never taken for success, nor for damage.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

MOST_RETRIES = 6
"""So often restic may ask for one object again. Its pauses grow: about ten seconds in all."""
MOST_LOCK_RETRIES = 1
"""Each is ten tries of a client beneath. A store that takes no hundred bytes takes nothing."""

RETRIED = re.compile(
    r"\w+\(<(?P<object>[^>]+)>.*\) returned error, retrying after \S+: (?P<why>.*)"
)
NETWORK = re.compile(
    r"connection (refused|reset)|broken pipe|dial tcp|i/o timeout|no such host|TLS handshake|"
    r"network is unreachable|Client\.Timeout|use of closed network connection",
    re.IGNORECASE,
)
DAMAGE = re.compile(
    r"ciphertext verification failed|invalid data returned|does not exist|unexpected EOF|"
    r"not found in repository|no matching ID|does not match|unexpected file size|is damaged|"
    r"Unmarshal|not complete|missing from the repository|"
    r"failed to download|error for tree|could not load snapshot",
)
SUMMARY = re.compile(
    r"$|Fatal: repository contains errors|Fatal: LoadIndex returned errors|"
    r"Fatal: There were \d+ errors|unable to create temporary directory for cache|"
    r"Is there a repository at the following location|s3:https:"
)
CONDEMNED = re.compile(r"repository contains errors|LoadIndex returned errors")
STACK = re.compile(r"\t|github\.com/|golang\.org/|runtime\.")
LOCKED = re.compile(r"(repository is already locked.*)(?:\n(lock was created.*))?")
CANNOT_LOCK = re.compile(r"unable to create lock in backend|Save\(<lock/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A call that ended by itself, or was stopped (`code` is `None`) because it asked in vain."""

    code: int | None
    stdout: str
    stderr: str

    @property
    def locked(self) -> str | None:
        """Who holds the repository, when that is why the call failed."""
        found = None if self.code == 0 else LOCKED.search(self.stderr)
        return ", ".join(part for part in found.groups() if part) if found else None

    @property
    def could_not_lock(self) -> bool:
        """Whether the call failed because the store took no lock."""
        return self.code != 0 and CANNOT_LOCK.search(self.stderr) is not None

    @property
    def complaints(self) -> tuple[str, ...]:
        """What is wrong, one a line; of an object that was asked for in vain, the last answer."""
        said: dict[str, str] = {}
        for line in self.stderr.splitlines():
            if retried := RETRIED.match(line):
                if self.code is None:
                    said[retried["object"]] = f"{retried['object']}: {retried['why']}"
            elif not SUMMARY.match(line) and not STACK.match(line):
                said[line] = line.strip().removeprefix("Fatal: ")
        return tuple(said.values())

    @property
    def damage(self) -> tuple[str, ...]:
        """The complaints that say that the repository is damaged."""
        is_condemned = CONDEMNED.search(self.stderr) is not None
        return tuple(
            complaint
            for complaint in self.complaints
            if not NETWORK.search(complaint) and (is_condemned or DAMAGE.search(complaint))
        )


def asks_in_vain(stderr: str) -> bool:
    """Return whether restic asked for one object so often that more won't help."""
    asked = Counter(found["object"] for found in map(RETRIED.match, stderr.splitlines()) if found)
    return any(
        times >= (MOST_LOCK_RETRIES if name.startswith("lock/") else MOST_RETRIES)
        for name, times in asked.items()
    )
