"""`make drill`: lose a region and the database, and get everything back from the other region.

In a home of its own, on a fresh machine: a real model is quantized and registered as champion, the
database is filled to a gigabyte, and both regions get a full and an incremental set while rows are
written. Then region A and the databases are destroyed. From region B everything is restored to a
random second, and the champion must generate the tokens that were recorded. The last line is one
JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from filler import fill
from greenlight.adapters.stack.embedded import EmbeddedStack
from greenlight.adapters.stack.services import ServiceName, StackAddresses
from greenlight.backup.ladder import Drill, Outcome
from greenlight.core.digest import manifest_of
from greenlight.core.settings import Settings, load_settings
from greenlight.entrypoints import backup_tools, demo, quantize, recorded_tokens, restore_drill
from greenlight.entrypoints.backup import Backups
from greenlight.entrypoints.models import open_registry
from greenlight.entrypoints.workbench import Model
from greenlight.quantize.jobs import Backend, Dataset, Device
from greenlight.quantize.recipes import Recipe
from greenlight.registry.ports import Registration, RunLog
from greenlight.registry.tags import Alias, Tag

RECIPE = Recipe(name="drill-q4-g32", bits=4, group_size=32, samples=8, sample_tokens=512)
NEEDED = (
    ServiceName.STORE_A, ServiceName.STORE_B, ServiceName.POSTGRES, ServiceName.MLFLOW,
)  # fmt: skip
LOST, KEPT = "a", "b"
WRITE_S = 30.0


def main() -> None:
    """Do it, print the ladder, and end with one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gb", type=float, default=1.0, help="size of the database (%(default)s)")
    parser.add_argument("--seed", type=int, help="of the random second; a new one every time")
    chosen = parser.parse_args()
    base = load_settings()
    base.home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=base.home, prefix="drill-") as folder:
        settings = base.model_copy(
            update={"home": Path(folder) / "home", "database_url": None, "mlflow_url": None}
        )
        with running(settings) as (stack, found):
            # Without Airflow the stack doesn't count as up: say where its parts are.
            settings = settings.model_copy(
                update={"mlflow_url": found.mlflow_url, "database_url": found.database_url}
            )
            make_champion(settings)
            drill = lose_and_restore(settings, stack, gb=chosen.gb, seed=chosen.seed)
    print_ladder(drill)
    print(
        json.dumps(
            {
                "outcome": drill.outcome,
                "rto_s": drill.rto_s and round(drill.rto_s, 1),
                "rpo_s": drill.rpo_s and round(drill.rpo_s, 1),
                "rows_lost": drill.rows_lost,
                "rungs": {result.rung: result.outcome for result in drill.rungs},
            }
        )
    )
    raise SystemExit(0 if drill.outcome is Outcome.PASS else 1)


@contextmanager
def running(settings: Settings) -> Iterator[tuple[EmbeddedStack, StackAddresses]]:
    """Yield the home's databases, MLflow and stores, with where they are, and stop them."""
    stack = EmbeddedStack(settings, environment=os.environ)
    try:
        yield stack, stack.up(say_service, only=NEEDED)
    finally:
        stack.down(say_service)


def lose_and_restore(
    settings: Settings, stack: EmbeddedStack, *, gb: float, seed: int | None
) -> Drill:
    """Fill the database, back up, lose it, and climb the ladder from the other region."""
    print(f"database filled to {fill(settings, gb=gb):.2f} GB")
    tools = backup_tools.open_tools(settings)
    backups = Backups(tools)
    backups.run(by="make drill", say=print)
    with rows_being_written(settings):
        time.sleep(WRITE_S)
        backups.run(by="make drill", say=print)
    choice = restore_drill.choose(tools, region=KEPT, random=Random(seed))
    print(f"to be restored: {choice.at:%Y-%m-%d %H:%M:%S.%f} UTC, from region {KEPT}")
    destroy(settings, stack)
    scratch = settings.home.with_name("restored")
    try:
        return restore_drill.Climb(
            tools=tools,
            compare=lambda recorded, folder: recorded_tokens.compare(settings, recorded, folder),
            choice=choice,
            scratch=scratch,
            say=print,
        ).climb()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def make_champion(settings: Settings) -> None:
    """Quantize the demo's model for real, register it, and make it the champion."""
    request = demo.prepare(settings, say=print)
    steps = quantize.steps(settings)
    source = steps.resolve_source(request)
    calibration = Dataset.model_validate(steps.validate_data(source)["calibration"])
    parent = Model(path=Path(source["path"]), digest=source["digest"])
    print("quantizing (minutes)", flush=True)
    made = steps.bench.quantize(
        parent, RECIPE, calibration, backend=Backend.GPTQMODEL, device=Device.CPU
    )
    folder, registry = Path(made["path"]), open_registry(settings)
    version = registry.register(
        Registration(
            model=demo.MODEL,
            folder=folder,
            manifest=manifest_of(folder),
            run=RunLog(key="make drill", name="quantized for the drill"),
            tags={Tag.KIND: "quantized", Tag.PARENT_DIGEST: source["digest"]},
        )
    )
    registry.set_alias(demo.MODEL, alias=Alias.CHAMPION, version=version.version)
    print(f"champion: {demo.MODEL} version {version.version}, {version.digest[:12]}")


@contextmanager
def rows_being_written(settings: Settings) -> Iterator[None]:
    """Commit a sentinel every half a second, from another thread, as a busy system would."""
    tools, stop = backup_tools.open_tools(settings), threading.Event()

    def write() -> None:
        while not stop.wait(0.5):
            tools.databases.mark_time()

    writer = threading.Thread(target=write, name="sentinels", daemon=True)
    writer.start()
    try:
        yield
    finally:
        stop.set()
        writer.join()


def destroy(settings: Settings, stack: EmbeddedStack) -> None:
    """Kill a region and the databases, and delete what they had."""
    for service in (ServiceName.STORE_A, ServiceName.POSTGRES, ServiceName.MLFLOW):
        if record := stack.supervisor.running(service):
            os.killpg(record.pid, signal.SIGKILL)
    time.sleep(1)
    for name in (f"stores/{LOST}", "postgres", "mlflow"):
        shutil.rmtree(settings.home / name)
    print(f"destroyed: region {LOST}, the databases, and MLflow's artifacts")


def print_ladder(drill: Drill) -> None:
    """Print every rung, and the sentence."""
    from greenlight.entrypoints.drill_record import says

    print()
    for result in drill.rungs:
        print(f"{result.rung:38} {result.outcome:13} {result.seconds:7.1f} s  {result.says}")
    print(f"\n{says(drill)}")


def say_service(name: str, what: str) -> None:
    """Print what a service does."""
    print(f"{name}: {what}", flush=True)


if __name__ == "__main__":
    main()
