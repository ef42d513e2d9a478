"""Killed in the middle: nothing half-written counts, no child is left, the next run finishes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from greenlight.core.settings import Settings
from greenlight.entrypoints.workbench import Model, open_bench
from greenlight.quantize.jobs import Backend, Device
from greenlight.quantize.recipes import Recipe

pytestmark = pytest.mark.ml

RECIPE = Recipe(name="q4", bits=4, group_size=32, samples=4, sample_tokens=64)
STARTED_WITHIN_S = 60.0
GONE_WITHIN_S = 20.0
TASK = """
import signal, sys
from pathlib import Path
from greenlight.core.settings import Settings
from greenlight.entrypoints.workbench import Model, open_bench
from greenlight.quantize.jobs import Backend, Dataset, Device
from greenlight.quantize.recipes import Recipe
# A shell's background jobs, and so what they start, ignore SIGINT.
signal.signal(signal.SIGINT, signal.default_int_handler)
home, model, digest, recipe, calibration = sys.argv[1:]
open_bench(Settings(home=home)).quantize(
    Model(path=Path(model), digest=digest), Recipe.model_validate_json(recipe),
    Dataset.model_validate_json(calibration), backend=Backend.GPTQMODEL, device=Device.CPU,
)
"""


class Task:
    """What an Airflow worker does with one task: a process that runs one entry point."""

    def __init__(self, home, tiny, calibration):
        self.home = home
        words = [home, tiny, "d" * 64, RECIPE.model_dump_json(), calibration.model_dump_json()]
        self.process = subprocess.Popen(
            [sys.executable, "-c", TASK, *map(str, words)], start_new_session=True
        )

    def job(self):
        """Wait until the ML job works in its folder, and return its process."""
        deadline = time.monotonic() + STARTED_WITHIN_S
        while time.monotonic() < deadline:
            if list(self.home.glob("work/quantized/.*.making-*")):
                for child in psutil.Process(self.process.pid).children(recursive=True):
                    if "greenlight.ml" in child.cmdline() and "leash.py" not in str(
                        child.cmdline()
                    ):
                        return child
            time.sleep(0.02)
        raise AssertionError("the job never started")


def finished(home, tiny, calibration):
    """Run the same work again, here, and return what it made."""
    return open_bench(Settings(home=home)).quantize(
        Model(path=tiny, digest="d" * 64),
        RECIPE,
        calibration,
        backend=Backend.GPTQMODEL,
        device=Device.CPU,
    )


def is_gone(process):
    deadline = time.monotonic() + GONE_WITHIN_S
    while time.monotonic() < deadline:
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


def kill_the_child(task, job):
    job.kill()
    assert task.process.wait(60) != 0


def kill_the_task(task, job):
    task.process.kill()
    task.process.wait()


def kill_everything(task, job):
    victims = [*psutil.Process(task.process.pid).children(recursive=True)]
    for victim in victims:
        victim.kill()
    os.killpg(task.process.pid, signal.SIGKILL)
    task.process.wait()


def cancel_the_task(task, job):
    task.process.send_signal(signal.SIGINT)
    task.process.wait(60)


@pytest.mark.parametrize(
    "kill",
    [kill_the_child, kill_the_task, kill_everything, cancel_the_task],
    ids=lambda f: f.__name__,
)
def test_the_next_run_finishes_and_nothing_half_written_counts(tmp_path, tiny, calibration, kill):
    task = Task(tmp_path, tiny, calibration)
    job = task.job()
    kill(task, job)
    assert is_gone(job), "the ML job outlived its task"
    assert not list(tmp_path.glob("work/quantized/*.json"))
    assert [p for p in tmp_path.glob("work/quantized/*") if p.is_dir() and p.name[0] != "."] == []

    made = finished(tmp_path, tiny, calibration)
    assert Path(made["path"], "config.json").is_file()
    assert list(tmp_path.glob("work/quantized/.*.making-*")) == [], "residue of the killed run"
