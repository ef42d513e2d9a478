"""Blue and green: the two slots of every host. One colour is live on the whole fleet."""

from __future__ import annotations

from enum import StrEnum


class Colour(StrEnum):
    """A slot of a host."""

    BLUE = "blue"
    GREEN = "green"

    @property
    def other(self) -> Colour:
        """The colour that is idle while this one is live."""
        return Colour.GREEN if self is Colour.BLUE else Colour.BLUE
