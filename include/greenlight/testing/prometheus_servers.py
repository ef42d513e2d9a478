"""A real Prometheus for tests, with samples of the past: backfilled, not scraped."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from greenlight.adapters.processes import LeashedProcess
from greenlight.core.errors import UnavailableError
from greenlight.testing.servers import free_port

READY_S = 60.0


def prometheus_program() -> Path | None:
    """Return the installed server, if its tool is there too."""
    server, tool = shutil.which("prometheus"), shutil.which("promtool")
    return Path(server) if server and tool else None


def open_metrics(
    samples: Iterable[tuple[str, Mapping[str, str], Iterable[tuple[float, float]]]],
) -> str:
    """Return series of a name, labels and (seconds, value) as OpenMetrics text."""
    lines = []
    for name, labels, values in samples:
        inside = ",".join(f'{key}="{value}"' for key, value in sorted(labels.items()))
        lines += [f"{name}{{{inside}}} {value:g} {at:.3f}" for at, value in values]
    return "\n".join([*lines, "# EOF\n"])


def backfill(data: Path, text: str) -> None:
    """Put the samples of an OpenMetrics text into a server's data, before it starts."""
    data.mkdir(parents=True, exist_ok=True)
    source = data.parent / f"{data.name}-samples.txt"
    source.write_text(text)
    subprocess.run(
        ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(source), str(data)],
        check=True,
        capture_output=True,
    )
    source.unlink()


@contextmanager
def prometheus_server(folder: Path, text: str) -> Iterator[str]:
    """Yield the address of a server that holds the samples of an OpenMetrics text."""
    folder.mkdir(parents=True, exist_ok=True)
    data, config = folder / "data", folder / "prometheus.yml"
    config.write_text("{}")
    backfill(data, text)
    port = free_port()
    command = [
        "prometheus", f"--config.file={config}", f"--storage.tsdb.path={data}",
        f"--web.listen-address=127.0.0.1:{port}", "--storage.tsdb.retention.time=100y",
    ]  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    with (
        (folder / "log").open("wb") as log,
        LeashedProcess(command, stdout=log, stderr=log, cwd=folder) as process,
    ):
        deadline = time.monotonic() + READY_S
        while not _is_ready(url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise UnavailableError(f"Prometheus did not start ({folder}/log)")
            time.sleep(0.1)
        yield url


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/-/ready", trust_env=False).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False
