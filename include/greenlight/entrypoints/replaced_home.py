"""What a set holds of a live home, exchanged for what was restored, while nothing of it runs.

All else stays in its place: secrets and stores, ports, and what engines and the router run from.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from greenlight.backup.contents import SOURCES
from greenlight.backup.restore_plan import DATABASES
from greenlight.core.errors import RefusedError
from greenlight.core.settings import Settings

log = logging.getLogger(__name__)

RUNS_ON = "router"
"""HAProxy is not stopped for a restore. Its folder says what it does now, not what it did then."""
PARTS = (DATABASES, *(source.path for source in SOURCES if source.path != RUNS_ON))


def beside(home: Path) -> Path:
    """Return where what replaces parts of a live home is made."""
    return home.with_name(f".{home.name}.restoring")


def require_replaceable(home: Path) -> None:
    """Return when something can be made beside a live home, and moved into it at once.

    Raises:
        RefusedError: an earlier restore left something there, or the home is a disk of its own.
    """
    making = beside(home)
    if making.exists():
        raise RefusedError(f"{making} was left by a restore that did not end well: remove it first")
    if home.exists() and home.stat().st_dev != home.parent.stat().st_dev:
        raise RefusedError(
            f"{home} is a disk of its own, and what is made beside it can't be moved into it; "
            "restore into a new folder on that disk, and let that be the home"
        )


def replace_home(settings: Settings, *, set_aside: Path) -> None:
    """Stop everything, and put what was made beside the home into its place.

    The databases change first: files of later versions beside an earlier registry do no harm.
    """
    from greenlight.entrypoints import stack

    home, making = settings.home, beside(settings.home)
    stack.down(settings, report=lambda name, what: log.info("%s: %s", name, what))
    for part in PARTS:
        _move(home / part, set_aside / part)
        _move(making / part, home / part)
    if not (home / RUNS_ON).exists():  # a new machine, where nobody is served yet
        _move(making / RUNS_ON, home / RUNS_ON)
    shutil.rmtree(making)


def _move(path: Path, to: Path) -> None:
    if path.exists():
        to.parent.mkdir(parents=True, exist_ok=True)
        path.rename(to)
