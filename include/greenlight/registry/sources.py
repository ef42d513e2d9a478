"""Where a model may come from, as a person writes it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from greenlight.core.errors import InputError, RefusedError

REVISION = re.compile(r"[0-9a-f]{40}")
HUB = re.compile(r"hf://([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(.+))?")
VERSION = re.compile(r"models:/([A-Za-z0-9][A-Za-z0-9._-]*)/([1-9][0-9]*)")
DEMO = "demo"


class SourceKind(StrEnum):
    """The kinds of source."""

    FOLDER = "folder"
    GGUF = "gguf"
    DEMO = "demo"
    VERSION = "version"
    HUB = "hub"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A parsed source. `name` is a path, a model's name or a Hub repository.

    `revision` is the version's number, or the Hub's commit.
    """

    kind: SourceKind
    name: str
    revision: str = ""

    @property
    def text(self) -> str:
        """How the version's tag names it. Of a path only the last part: machines differ."""
        match self.kind:
            case SourceKind.VERSION:
                return f"models:/{self.name}/{self.revision}"
            case SourceKind.HUB:
                return f"hf://{self.name}@{self.revision}"
            case SourceKind.DEMO:
                return DEMO
            case _:
                return f"{self.kind}:{Path(self.name).name}"


def parse_source(text: str, *, hub_enabled: bool) -> Source:
    """Read a source: a folder, a `.gguf` file, `demo`, `models:/NAME/VERSION`, `hf://ORG/NAME@SHA`.

    Raises:
        InputError: it is none of these; a Hub source must name a commit, because a branch moves.
        RefusedError: it is on the Hub, and the operator did not allow that.
    """
    if text == DEMO:
        return Source(kind=SourceKind.DEMO, name=DEMO)
    if text.startswith("hf://"):
        return _hub(text, enabled=hub_enabled)
    if found := VERSION.fullmatch(text):
        return Source(kind=SourceKind.VERSION, name=found[1], revision=found[2])
    if "://" in text or text.startswith("models:"):
        raise InputError(
            f"source {text!r} is not understood; give a folder, a .gguf file, 'demo', "
            "'models:/NAME/VERSION' or 'hf://ORG/NAME@COMMIT'"
        )
    path = Path(text).expanduser().absolute()
    if not path.exists():
        raise InputError(f"there is no model at {path}")
    kind = SourceKind.GGUF if path.suffix.lower() == ".gguf" else SourceKind.FOLDER
    return Source(kind=kind, name=str(path))


def _hub(text: str, *, enabled: bool) -> Source:
    found = HUB.fullmatch(text)
    if found is None or not REVISION.fullmatch(found[2] or ""):
        raise InputError(
            f"source {text!r} must be hf://ORG/NAME@COMMIT with the commit's 40 hex digits: "
            "a branch or a tag can be moved to other files"
        )
    if not enabled:
        raise RefusedError(
            f"{text} would be downloaded from the Hugging Face Hub, which is off; "
            "set hub_enabled: true (GREENLIGHT_HUB_ENABLED=true) to allow it"
        )
    return Source(kind=SourceKind.HUB, name=found[1], revision=found[2])
