"""What a stranger waits for, and what the stack costs: first demo, first tests, memory, latency.

Run it with `make bench-platform`; more than an hour, of which `FRESH=no` leaves all but minutes out
(its figures are then null: not measured). The last line is one JSON object.

* `fresh_demo_s`, `fresh_test_s`: `make demo` and `make test` in a new clone with a new home folder
  and new caches. System packages that are here already stay.
* `stack_rss_mb`: resident memory of every process of the embedded stack a minute after it is
  healthy. A page that several processes share is counted once (proportional set size).
* `parse_added_s_max`: of our DAG files, the longest time that importing one takes beside importing
  only what it takes from Airflow (an operator, say), each in a new interpreter; the least of
  several, taken in turn. `parse_over_sdk_s`: beside a mere `import airflow.sdk`.
* `latency_ratio`: a run of two empty tasks, from its request to its end, with our settings of the
  scheduler over Airflow's own; the same database, executor and machine, one after the other.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import psutil

from greenlight.adapters.stack.embedded import EmbeddedStack
from greenlight.adapters.stack.services import Service, ServiceName, StackAddresses
from greenlight.core.settings import PROJECT, Settings
from greenlight.testing.airflow_runs import call, end_of, open_api

PARSES = 5
RUNS = 12
REST_S = 60.0
RUN_WITHIN_S = 120.0
OURS = (
    "AIRFLOW__CORE__PARALLELISM",
    "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME",
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL",
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL",
)
"""Settings that Airflow has defaults for, and that we set otherwise."""
AIRFLOW_ONLY = (
    ServiceName.POSTGRES,
    ServiceName.API_SERVER,
    ServiceName.SCHEDULER,
    ServiceName.DAG_PROCESSOR,
    ServiceName.TRIGGERER,
)
PROBE = """
from airflow.sdk import dag, task

@dag(schedule=None, is_paused_upon_creation=False)
def probe():
    @task
    def first(): pass
    @task
    def second(): pass
    first() >> second()

probe()
"""
BARE = "import airflow.sdk"
TIMED = """
import sys, time
began = time.perf_counter()
exec(compile(open(sys.argv[1]).read(), sys.argv[1], "exec"), {"__name__": "dag_file"})
print(time.perf_counter() - began)
"""


def main() -> None:
    """Measure, print what was found, and end with one JSON object."""
    began = time.monotonic()
    added, over_sdk = parse_added(began)
    found = {
        "fresh_demo_s": None,
        "fresh_test_s": None,
        "stack_rss_mb": round(memory_mb(began)),
        "parse_added_s_max": round(max(added.values()), 3),
        "latency_ratio": round(latency_ratio(began), 3),
        "parse_added_s": {name: round(value, 3) for name, value in sorted(added.items())},
        "parse_over_sdk_s": {name: round(value, 3) for name, value in sorted(over_sdk.items())},
    }
    if os.environ.get("FRESH", "yes") != "no":
        found |= fresh(began)
    print(json.dumps(found))


def parse_added(began: float) -> tuple[dict[str, float], dict[str, float]]:
    """Return, by DAG file, the seconds beside its own imports of Airflow, and beside the SDK's."""
    added, over_sdk = {}, {}
    with tempfile.TemporaryDirectory(prefix="greenlight-bench-") as folder:
        sdk_file, airflow_file = Path(folder) / "sdk.py", Path(folder) / "airflow.py"
        sdk_file.write_text(BARE)
        for path in sorted((PROJECT / "dags").glob("*.py")):
            airflow_file.write_text("\n".join(airflow_imports(path)))
            whole, airflow, sdk = parse_s((path, airflow_file, sdk_file), Path(folder))
            added[path.stem], over_sdk[path.stem] = whole - airflow, whole - sdk
            say(began, f"{path.name}: {whole - airflow:+.3f} s, {whole - sdk:+.3f} s over the SDK, "
                f"which takes {sdk:.2f} s")  # fmt: skip
    return added, over_sdk


def airflow_imports(path: Path) -> list[str]:
    """Return a file's imports of Airflow, each name asked for: the SDK loads them lazily."""
    tree = ast.parse(path.read_text())
    found = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    return [ast.unparse(one) for one in found if (one.module or "").startswith("airflow")]


def parse_s(paths: Sequence[Path], home: Path) -> list[float]:
    """Return the least seconds of importing each file in a new interpreter.

    They take turns, so that a busy neighbour meets all of them; and it only ever adds.
    """
    settings = {"AIRFLOW_HOME": str(home), "PYTHONPATH": os.pathsep.join(search_path())}
    least = [float("inf")] * len(paths)
    for _ in range(PARSES):
        for number, path in enumerate(paths):
            done = subprocess.run(
                [sys.executable, "-c", TIMED, str(path)],
                env=os.environ | settings, capture_output=True, text=True, check=True,
            )  # fmt: skip
            least[number] = min(least[number], float(done.stdout.split()[-1]))
    return least


def search_path() -> list[str]:
    """Return where DAG files look for modules, as Airflow sets it."""
    return [str(PROJECT / "dags"), str(PROJECT / "plugins")]


def memory_mb(began: float) -> float:
    """Return the memory of the whole stack at rest."""
    with running(Settings(home=Path("unused")), EmbeddedStack) as (stack, _):
        time.sleep(REST_S)
        total = 0.0
        for service in stack.status():
            used = sum(map(own_memory, processes(service.pid)))
            say(began, f"{service.name}: {used / 1e6:.0f} MB")
            total += used
    say(began, f"the stack at rest: {total / 1e6:.0f} MB")
    return total / 1e6


def processes(leader: int | None) -> list[psutil.Process]:
    """Return the processes of a service: those of its leader's session."""
    if leader is None:
        return []
    session = os.getsid(leader)
    found = []
    for one in psutil.process_iter():
        try:
            if os.getsid(one.pid) == session:
                found.append(one)
        except OSError:
            continue
    return found


def own_memory(process: psutil.Process) -> float:
    """Return a process' share of resident memory, in bytes; 0 once it has ended."""
    try:
        return float(process.memory_full_info().pss)
    except psutil.Error:
        return 0.0


class DefaultAirflow(EmbeddedStack):
    """The stack with Airflow's own settings where we have others."""

    def _services(self, *arguments: object) -> list[Service]:
        services = super()._services(*arguments)  # type: ignore[arg-type] # as they came
        return [
            replace(one, settings={k: v for k, v in one.settings.items() if k not in OURS})
            for one in services
        ]


def latency_ratio(began: float) -> float:
    """Return our median seconds of a small run over those of Airflow's defaults."""
    found = {}
    for name, kind in (("ours", EmbeddedStack), ("defaults", DefaultAirflow)):
        with (
            probe_project() as project,
            running(Settings(home=Path("unused"), project=project), kind, only=AIRFLOW_ONLY) as (
                _,
                addresses,
            ),
        ):
            times = small_runs(addresses)
        found[name] = statistics.median(times)
        shown = ", ".join(f"{one:.1f}" for one in sorted(times))
        say(began, f"{name}: two tasks in {found[name]:.2f} s (all: {shown})")
    return found["ours"] / found["defaults"]


def small_runs(addresses: StackAddresses) -> list[float]:
    """Return the seconds of each run, by Airflow's own times; the first is left out."""
    api = open_api(addresses, "probe")
    times = []
    for number in range(RUNS + 1):
        asked = time.time()
        api.start_run("probe", run_id=f"run-{number}", conf={})
        end_of(api, "probe", f"run-{number}", within_s=RUN_WITHIN_S)
        told = call(addresses, "GET", f"/api/v2/dags/probe/dagRuns/run-{number}")
        times.append(ended_at(told) - asked)
    return times[1:]


def ended_at(run: Mapping[str, str]) -> float:
    """Return when a run ended, seconds since 1970."""
    return datetime.fromisoformat(run["end_date"]).timestamp()


@contextmanager
def probe_project() -> Iterator[Path]:
    """Yield a project whose only DAG is the probe."""
    with tempfile.TemporaryDirectory(prefix="greenlight-bench-") as folder:
        project = Path(folder)
        for name in ("include", "monitoring"):
            (project / name).symlink_to(PROJECT / name)
        (project / "plugins").mkdir()
        executor = "plugins/greenlight_executor.py"
        (project / executor).symlink_to(PROJECT / executor)
        (project / "dags").mkdir()
        (project / "dags/probe.py").write_text(PROBE)
        yield project


@contextmanager
def running(
    settings: Settings,
    kind: Callable[..., EmbeddedStack],
    *,
    only: tuple[ServiceName, ...] | None = None,
) -> Iterator[tuple[EmbeddedStack, StackAddresses]]:
    """Run a stack in a home of its own, and take it down."""
    with tempfile.TemporaryDirectory(prefix="greenlight-bench-") as folder:
        Path(folder).chmod(0o755)
        own = settings.model_copy(update={"home": Path(folder) / "home"})
        stack = kind(own, environment=os.environ)
        try:
            yield stack, stack.up(lambda *_: None, only=only)
        finally:
            stack.down(lambda *_: None)


def fresh(began: float) -> dict[str, float | None]:
    """Return how long the README's commands take in a new clone with a new home folder.

    One that fails was not measured: none.
    """
    found: dict[str, float | None] = {}
    for key, target in (("fresh_demo_s", "demo"), ("fresh_test_s", "test")):
        folder = Path(tempfile.mkdtemp(prefix="greenlight-bench-"))
        try:
            found[key] = round(clone_and_make(folder, target), 1)
            say(began, f"make {target} in a new clone: {found[key]:.0f} s")
        except subprocess.CalledProcessError as error:
            found[key] = None
            say(began, f"make {target} failed with code {error.returncode}: {log_of(target)}")
        finally:
            subprocess.run(["make", "down"], cwd=folder / "clone", check=False)
            shutil.rmtree(folder, ignore_errors=True)
    return found


def clone_and_make(folder: Path, target: str) -> float:
    """Return the seconds from the clone to the end of a target. Its output goes to a file."""
    kept = ("PATH", "LANG", "TERM", "PIP_", "UV_INDEX", "UV_DEFAULT_INDEX", "SSL_", "HTTP", "http")
    settings = {name: value for name, value in os.environ.items() if name.startswith(kept)}
    start = time.monotonic()
    subprocess.run(["git", "clone", "--quiet", str(PROJECT), str(folder / "clone")], check=True)
    with log_of(target).open("wb") as output:
        subprocess.run(
            ["make", target], cwd=folder / "clone", env=settings | {"HOME": str(folder)},
            stdout=output, stderr=subprocess.STDOUT, check=True,
        )  # fmt: skip
    return time.monotonic() - start


def log_of(target: str) -> Path:
    """Return where a target's output goes."""
    return Path(tempfile.gettempdir()) / f"greenlight-bench-{target}.log"


def say(began: float, text: str) -> None:
    """Print a line with its time."""
    print(f"[{time.monotonic() - began:6.0f} s] {text}", flush=True)


if __name__ == "__main__":
    main()
