"""A model of a few hundred kilobytes that every engine and the ML environment can load."""

from __future__ import annotations

import subprocess
from pathlib import Path

from greenlight.adapters.ml_process import child_environment, ml_interpreter
from greenlight.core.settings import Settings


def make_tiny(settings: Settings, folder: Path, *, layers: int = 2, hidden: int = 64) -> Path:
    """Have the ML environment write it into `folder`, which is made and returned.

    It has four attention heads; the same arguments make the same bytes.

    Raises:
        ConfigError: the ML environment isn't there.
    """
    command = [
        str(ml_interpreter(settings)), "-m", "greenlight.testing.tiny_llama",
        str(folder), str(layers), str(hidden),
    ]  # fmt: skip
    folder.parent.mkdir(parents=True, exist_ok=True)
    environment = child_environment({"PATH": "/usr/bin:/bin"}, temporary=folder.parent)
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return folder
