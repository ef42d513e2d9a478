"""Which version a fleet serves, as far as the gateway needs to know."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedVersion:
    """What decides an answer beside the request: the model's digest and the serving flags'."""

    digest: str
    flags_digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """`current`: what a request is answered by, for sure; None: while two versions share traffic.

    `by_colour`: whose answer it was, once the router has said which colour gave it.
    `tokenizer_digest`: the version whose tokenizer counts prompts.
    """

    current: ServedVersion | None
    by_colour: dict[str, ServedVersion]
    tokenizer_digest: str | None


NOTHING = Served(current=None, by_colour={}, tokenizer_digest=None)
"""A fleet without a live version, or one that Greenlight doesn't deploy."""
