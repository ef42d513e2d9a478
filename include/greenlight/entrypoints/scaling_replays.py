"""The last replay of each fleet's schedule, kept as a file for whoever shows it.

A replay takes a core for seconds: the nightly plan makes it, and pages read what came of it.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from greenlight.core.files import read_json, write_json
from greenlight.core.settings import Settings
from greenlight.core.types import JsonDict
from greenlight.scaling.demand_profile import NotEnoughData
from greenlight.scaling.replay.comparison import Comparison


def keep(
    settings: Settings, fleet: str, replayed: Comparison | NotEnoughData, *, made_at: datetime
) -> None:
    """Keep a fleet's replay in place of the one before."""
    found: JsonDict = {"made_at": made_at.isoformat()}
    if isinstance(replayed, NotEnoughData):
        found["why_not"] = replayed.why
    else:
        found |= {"first": f"{replayed.first}", "last": f"{replayed.last}"}
        found["rows"] = [asdict(row) for row in replayed.rows]
    write_json(_file(settings, fleet), found)


def read(settings: Settings, fleet: str) -> JsonDict | None:
    """Return `{"made_at", "first", "last", "rows"}` or `{"made_at", "why_not"}`; `None`: nothing.

    Raises:
        InputError: the file is there and can't be read.
    """
    return read_json(_file(settings, fleet), who_writes="the next plan")


def _file(settings: Settings, fleet: str) -> Path:
    return settings.home / "scaling" / f"{fleet}.replay.json"
