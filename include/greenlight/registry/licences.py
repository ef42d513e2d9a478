"""Which licence a model folder is under.

In this order: what the operator says (`--licence`), the front matter of README.md, the text of a
licence file. The operator speaks first only where the folder is silent: a word against the
folder's own statement is refused, or an import could launder a licence.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

UNNAMED = frozenset({"other", "unknown", ""})
FILES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "COPYING")
PHRASES = (
    ("apache-2.0", ("apache license", "version 2.0")),
    ("agpl-3.0", ("gnu affero general public license", "version 3")),
    ("lgpl-3.0", ("gnu lesser general public license", "version 3")),
    ("gpl-3.0", ("gnu general public license", "version 3")),
    ("gpl-2.0", ("gnu general public license", "version 2")),
    ("mpl-2.0", ("mozilla public license", "2.0")),
    ("bsd-3-clause", ("redistributions of source code must retain", "neither the name")),
    ("bsd-2-clause", ("redistributions of source code must retain",)),
    ("mit", ("permission is hereby granted, free of charge", "without restriction")),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Licence:
    """An SPDX identifier in lower case, and who says so. `conflict`: what contradicts it."""

    spdx: str
    source: str
    conflict: str | None = None


def licence_of(folder: Path, *, said: str | None = None) -> Licence | None:
    """Return the licence of a folder, or `None` when nothing states one."""
    found = _from_readme(folder / "README.md")
    if found is None or found.spdx in UNNAMED:
        found = _from_file(folder) or found
    if said is None:
        return found
    stated = said.strip().lower()
    if found is None or found.spdx in UNNAMED:
        return Licence(spdx=stated, source="--licence")
    if found.spdx != stated:
        return Licence(spdx=stated, source="--licence", conflict=f"{found.source} {found.spdx!r}")
    return found


def _from_readme(path: Path) -> Licence | None:
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    if not text.startswith("---"):
        return None
    matter = text.removeprefix("---").partition("\n---")[0]
    try:
        values = yaml.safe_load(matter)
    except yaml.YAMLError:
        return None
    stated = values.get("license") if isinstance(values, dict) else None
    if not isinstance(stated, str):
        return None
    return Licence(spdx=stated.strip().lower(), source="README.md says")


def _from_file(folder: Path) -> Licence | None:
    for name in FILES:
        path = folder / name
        if path.is_file():
            text = " ".join(path.read_text(encoding="utf-8", errors="replace").lower().split())
            for spdx, phrases in PHRASES:
                if all(phrase in text for phrase in phrases):
                    return Licence(spdx=spdx, source=f"{name} reads like")
    return None
