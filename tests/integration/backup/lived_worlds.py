"""What tests of backup runs do with a world: type commands, change a region, kill a run."""

import contextlib
import io
import os
import signal
import subprocess
import sys
import time

import psutil
import yaml

from greenlight.cli import main
from greenlight.core.files import write_atomically

COMMAND = [sys.executable, "-c", "from greenlight.cli.main import app; app()"]


class Shell:
    """`greenlight …` in a home, as a person types it; in this process, which is faster."""

    def __init__(self, home, monkeypatch):
        self._monkeypatch = monkeypatch
        monkeypatch.setenv("GREENLIGHT_HOME", str(home))

    def __call__(self, *words):
        """Return the exit code, and what was said to both outputs."""
        self._monkeypatch.setattr(sys, "argv", ["greenlight", *map(str, words)])
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                main.app()
                code = 0
            except SystemExit as ended:
                code = ended.code or 0
        return code, out.getvalue(), err.getvalue()

    def said(self, *words):
        """Return the output of a command that succeeds."""
        code, out, err = self(*words)
        assert code == 0, f"{words}: {out}{err}"
        return out


def states(world):
    """Return the states of the sets by region and id."""
    return {
        kept.region: {stored.id: stored.state for stored in kept.sets}
        for kept in world.backups().inventories()
    }


@contextlib.contextmanager
def regions_at(world, **stores):
    """Let backup.yaml name other stores for some regions."""
    path = world.settings.home / "config/backup.yaml"
    before = path.read_bytes()
    content = yaml.safe_load(before)
    for region in content["regions"]:
        if region["name"] in stores:
            region["s3"] = stores[region["name"]].model_dump(mode="json")
    write_atomically(path, yaml.safe_dump(content).encode())
    try:
        yield
    finally:
        write_atomically(path, before)


@contextlib.contextmanager
def started_run(world, *options):
    """Yield a process that runs `greenlight backup run`, and end it with what it started."""
    process = subprocess.Popen(
        [*COMMAND, "backup", "run", *options],
        env={**os.environ, "GREENLIGHT_HOME": str(world.settings.home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def kill_while(world, is_time, *options, within_s=120):
    """Kill a run, with its children, as soon as it is time; nobody cleans up after it."""
    with started_run(world, *options) as process:
        deadline = time.monotonic() + within_s
        while not is_time(process.pid):
            assert process.poll() is None, process.stdout.read()
            assert time.monotonic() < deadline
            time.sleep(0.005)


def runs(program, word):
    """Return a moment: a child of the run is `program`, with `word` on its command line."""

    def is_time(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(pid).children(recursive=True):
                words = child.cmdline()
                if any(part.rpartition("/")[2] == program for part in words) and word in words:
                    return True
        return False

    return is_time
