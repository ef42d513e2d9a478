"""What the host is: its Python, its clock, its disk, its GPUs, and ports that are taken."""

from __future__ import annotations

import csv
import platform
import shutil
import socket
import time
from pathlib import Path

from greenlight.adapters.hosts.agent.ground import Json, Refusal, run

MIB = 1 << 20
FIELDS = (
    "name", "driver_version", "memory.total", "memory.used",
    "ecc.errors.uncorrected.volatile.total",
)  # fmt: skip
"""What nvidia-smi is asked for; `nvidia-smi --help-query-gpu` explains each."""


def describe(request: Json) -> Json:
    """Return what a check of the host needs. `taken`: those of `ports` that somebody listens on."""
    folder = Path(request["root"])
    while not folder.exists():
        folder = folder.parent
    disk = shutil.disk_usage(folder)
    gpus, problem = find_gpus()
    return {
        "python": platform.python_version(),
        "time": time.time(),
        "disk_free": disk.free,
        "disk_total": disk.total,
        "gpus": gpus,
        "gpu_problem": problem,
        "taken": [port for port in request["ports"] if _is_taken(port)],
    }


def find_gpus() -> tuple[list[Json], str | None]:
    """Return the NVIDIA GPUs as the driver sees them, and why it doesn't.

    Both are empty where there is no driver. Errors that are not counted, as on most cards of
    workstations, are `None`.
    """
    if shutil.which("nvidia-smi") is None:
        return [], None
    asked = ["nvidia-smi", f"--query-gpu={','.join(FIELDS)}", "--format=csv,noheader,nounits"]
    try:
        said = run(asked)
    except Refusal as refusal:
        return [], str(refusal)
    if said.returncode != 0:
        return [], (said.stderr or said.stdout).strip()[-500:] or f"exit code {said.returncode}"
    rows = csv.reader(said.stdout.splitlines(), skipinitialspace=True)
    return [_gpu(row) for row in rows if row], None


def _gpu(row: list[str]) -> Json:
    name, driver, total, used, errors = row
    return {
        "name": name,
        "driver": driver,
        "memory_bytes": _number(total, MIB),
        "used_bytes": _number(used, MIB),
        "uncorrected_errors": _number(errors),
    }


def _number(text: str, unit: int = 1) -> int | None:
    """Return a count; `None` for what the card doesn't tell (`[N/A]`, `[Not Supported]`)."""
    return int(text) * unit if text.isdigit() else None


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return True
    return False
