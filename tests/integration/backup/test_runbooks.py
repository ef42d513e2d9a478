"""The runbooks' commands, as they stand in the pages, after the thing was really lost."""

import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from greenlight.adapters.stack.object_store import make_bucket
from greenlight.adapters.stack.ports import read_ports
from greenlight.adapters.stack.services import ServiceName
from greenlight.core.settings import PROJECT, Ports
from greenlight.testing.backup_faults import FILES, REGION, changed, flip
from greenlight.testing.backup_worlds import MODEL, NEEDED, BackupWorld, backup_world
from greenlight.testing.servers import postgres_binaries

pytestmark = [
    pytest.mark.timeout(1500),  # on two cores that others use too
    pytest.mark.skipif(postgres_binaries() is None, reason="PostgreSQL is not installed"),
]

BROUGHT = ("backup_pgbackrest", "backup_restic", "backup_signing", "airflow_fernet")
FOLLOWED = {
    "lost-database": {"Restore", "Start, and look before Airflow begins", "It is over when"},
    "lost-host": {"Restore", "Start, and look before Airflow begins", "It is over when"},
    "lost-model": {"Restore", "It is over when"},
    "lost-region": {"It comes back empty", "What it holds is damaged", "It is over when"},
}
COMMAND_S = 300


@dataclass(frozen=True)
class Command:
    """One line of a page. `ends` is the exit code that the page says it ends with."""

    text: str
    ends: int


def sections(page: str) -> dict[str, list[Command]]:
    """Return the commands of a page's `sh` blocks by heading."""
    found: dict[str, list[Command]] = {}
    heading, is_open = "", False
    for line in (PROJECT / "docs/runbooks" / f"{page}.md").read_text().splitlines():
        if line.startswith("## "):
            heading = line.removeprefix("## ")
        elif line.startswith("```"):
            is_open = line == "```sh"
        elif is_open:
            ends = re.search(r"# exit code (\d)", line)
            found.setdefault(heading, []).append(Command(line, int(ends[1]) if ends else 0))
    return found


class Operator:
    """Somebody who follows a page, and types nothing else."""

    def __init__(self, world: BackupWorld, copies: Path) -> None:
        self.world, self.home, self.copies = world, world.settings.home, copies

    def follow(self, page: str, heading: str, *, version: int = 1) -> str:
        """Run a section's commands, and return what they said."""
        words = {"NAME": self.home.name, "MODEL": MODEL, "VERSION": str(version), "REGION": REGION}
        said = []
        for command in sections(page)[heading]:
            text = re.sub(r"\b[A-Z]+\b", lambda m: words.get(m[0], m[0]), command.text)
            done = subprocess.run(
                ["sh", "-euc", text], env=self.environment(), stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True, timeout=COMMAND_S, check=False,
            )  # fmt: skip
            said.append(done.stdout)
            assert done.returncode == command.ends, f"{page}: {text}\n{done.stdout}"
        return "".join(said)

    def environment(self) -> dict[str, str]:
        """Return that of a shell in the project, with the home chosen."""
        ports = read_ports(self.home / "run/ports.json", Ports)
        return {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "GREENLIGHT_HOME": str(self.home),
            "GREENLIGHT_MLFLOW_URL": f"http://127.0.0.1:{ports.mlflow}" if ports else "",
            "GREENLIGHT_ML_PYTHON": str(self.copies / "nobody"),  # the tiny model can't be asked
            "COPIES": str(self.copies),
        }

    def states(self) -> dict[str, set[str]]:
        """Return the states of the newest set by region."""
        inventories = self.world.backups().inventories()
        return {found.region: found.sets[-1].state for found in inventories}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with backup_world(tmp_path_factory.mktemp("the world")) as world:
        world.register("second")
        (world.settings.home / "router").mkdir()
        (world.settings.home / "router/weights").write_text("all to blue")
        world.backups().run(by="test", say=lambda text: None)
        yield world


@pytest.fixture
def operator(world, tmp_path):
    return Operator(world, tmp_path)


def kill(world, *services):
    for name in services:
        if record := world.stack.supervisor.running(name):
            os.killpg(record.pid, signal.SIGKILL)


def test_every_command_of_the_pages_is_run_here():
    assert {page: set(sections(page)) for page in FOLLOWED} == FOLLOWED
    pages = {path.stem for path in (PROJECT / "docs/runbooks").glob("lost-*.md")}
    assert pages == set(FOLLOWED)


def test_a_lost_model_comes_back(world, operator):
    folders = {v.version: v.folder for v in world.tools().databases.catalogue()}
    shutil.rmtree(world.settings.home / folders[1])
    operator.follow("lost-model", "Restore")
    operator.follow("lost-model", "It is over when")
    assert (world.settings.home / folders[1]).is_dir()


def test_a_region_that_comes_back_empty_gets_sets_again(world, operator):
    store = world.stores[REGION]
    store.lose()
    store.start()
    make_bucket(store.s3, lock_days=0)
    said = operator.follow("lost-region", "It comes back empty")
    assert f"region {REGION}: databases copied (full" in said
    operator.follow("lost-region", "It is over when")
    assert operator.states() == {"a": "verified", "b": "verified"}


@pytest.mark.slow
def test_a_damaged_region_goes_on_in_a_new_bucket(world, operator):
    with changed(FILES, flip)(world):
        (check,) = world.backups().verify(region=REGION, say=lambda text: None)
        assert check.findings
        path = world.settings.home / "config/backup.yaml"
        config = yaml.safe_load(path.read_text())
        bucket = world.stores[REGION].s3.model_copy(update={"bucket": "another-one"})
        make_bucket(bucket, lock_days=0)
        (region,) = [region for region in config["regions"] if region["name"] == REGION]
        region["s3"]["bucket"] = bucket.bucket
        path.write_text(yaml.safe_dump(config))
        operator.follow("lost-region", "What it holds is damaged")
        operator.follow("lost-region", "It is over when")
    assert operator.states() == {"a": "verified", "b": "verified"}


def test_a_lost_database_comes_back_with_what_is_younger_than_any_set(world, operator):
    version = world.register("younger than any set")
    tools = world.tools()
    last = tools.databases.mark_time()
    tools.databases.wait_archived(at_most_s=120)
    kill(world, ServiceName.POSTGRES)
    shutil.rmtree(world.settings.home / "postgres")
    said = operator.follow("lost-database", "Restore")
    assert f"is of {last.at:%H:%M:%S} UTC" in said
    operator.follow("lost-database", "Start, and look before Airflow begins", version=version)
    operator.follow("lost-database", "It is over when")
    assert operator.states() == {"a": "verified", "b": "verified"}


def test_a_lost_host_comes_back_from_the_regions_and_four_secrets(world, operator, tmp_path):
    home, secrets = world.settings.home, world.settings.secrets
    for name in BROUGHT:
        shutil.copy(secrets / name, tmp_path)
    shutil.copy(home / "config/backup.yaml", tmp_path)
    lost = (secrets / "postgres").read_bytes()
    kill(world, *NEEDED)
    shutil.rmtree(home)
    operator.follow("lost-host", "Restore")
    said = operator.follow("lost-host", "Start, and look before Airflow begins", version=2)
    assert f"{MODEL} version 2: unchanged" in said
    operator.follow("lost-host", "It is over when")
    assert operator.states() == {"a": "verified", "b": "verified"}
    for name in BROUGHT:
        assert (secrets / name).read_bytes() == (tmp_path / name).read_bytes()
    assert (secrets / "postgres").read_bytes() != lost
    assert (home / "router/weights").read_text() == "all to blue"
