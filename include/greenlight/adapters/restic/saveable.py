"""What can be saved by a tool that saves links as links."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from greenlight.core.errors import InputError

SHOWN = 5


def require_saveable(root: Path, paths: Sequence[str]) -> None:
    """Refuse what a snapshot would leave out without a word.

    Raises:
        InputError: a path is not there; or a link leads to something that isn't saved too, of
            which the snapshot would have the link and nothing else.
    """
    if not paths:
        raise InputError(f"there is nothing to save under {root}")
    places = [(root / path) for path in paths]
    for place in places:
        if not place.is_symlink() and not place.exists():
            raise InputError(f"{place} can't be saved: it isn't there")
    saved = [Path(os.path.realpath(place)) for place in places if not place.is_symlink()]
    astray = [
        f"{link} leads to {target}"
        for place in places
        for link in _links(place)
        if (target := Path(os.path.realpath(link))).exists()
        and not any(target.is_relative_to(folder) for folder in saved)
    ]
    if astray:
        raise InputError(
            f"links lead out of what is saved: {few(astray)}; put the files there, or mount their "
            f"folder there"
        )


def _links(place: Path) -> Iterator[Path]:
    if place.is_symlink():
        yield place
        return
    for folder, folders, files in os.walk(place):
        for name in (*folders, *files):
            path = Path(folder, name)
            if path.is_symlink():
                yield path


def few(items: Sequence[str]) -> str:
    """Return the first items of a list that may be long, for a message."""
    more = f" and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
    return "; ".join(items[:SHOWN]) + more
