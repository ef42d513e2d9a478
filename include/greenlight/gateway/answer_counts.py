"""What became of the cache's work in one process. Only ever counted up."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True, kw_only=True)
class AnswerCounts:
    """Read by whoever exports metrics; every number begins at zero with the process."""

    memory_hits: int = 0
    store_hits: int = 0
    shared_hits: int = 0
    """Somebody else was answering the same request, and this one got that answer."""
    misses: int = 0
    """This one had to be answered, and its answer may be kept."""
    alone: int = 0
    """It waited in vain, or knows that the answer isn't kept: answered for itself."""
    waits: int = 0
    """Requests that began to wait for somebody else's answer."""
    kept: int = 0
    not_kept: int = 0
    """Answers that were too long, failed, or could not be kept for another reason."""
    memory_misses: int = 0
    """Requests whose answer was not in memory: the store, or another request, is next."""
    memory_expired: int = 0
    store_expired: int = 0
    """Answers found after their time."""
    evicted: int = 0
    """Answers that had to make room in memory."""
    unreadable: int = 0
    """Values in the store that our key does not open: none of ours, or garbled."""
    full: int = 0
    """Answers that the store had no room for."""
    store_errors: int = 0
    """Calls that the store did not answer; it is left alone for a moment then."""
