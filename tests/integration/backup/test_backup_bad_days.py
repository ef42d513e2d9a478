"""Runs on bad days: killed at every stage, two at once, regions that fail, clocks and disks.

The tests use one world, one after the other. Whatever happened, the sets of before are as they
were, and the next run works.
"""

import os
import subprocess
import time
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from lived_worlds import Shell, kill_while, regions_at, runs, started_run, states

from greenlight.backup.sets import BackupKind
from greenlight.core.clock import SystemClock
from greenlight.core.errors import (
    ConfigError,
    GreenlightError,
    RefusedError,
    ResourceError,
    UnavailableError,
)
from greenlight.entrypoints.backup import LEASE, LEASE_S, Backups
from greenlight.entrypoints.backup_tools import open_tools
from greenlight.entrypoints.restore import Restores
from greenlight.testing.backup_worlds import backup_world
from greenlight.testing.servers import postgres_binaries
from greenlight.testing.slow_links import slow_link

pytestmark = [
    pytest.mark.skipif(postgres_binaries() is None, reason="PostgreSQL is not installed"),
    pytest.mark.timeout(900),
]
REGION = "b"
"""The one that fails."""
VERIFIED = "verified"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A world with one whole set in both regions."""
    with backup_world(tmp_path_factory.mktemp("a world")) as world:
        world.backups().run(by="test", say=print)
        yield world


@pytest.fixture
def whole_again(world):
    """After the test, the next run makes a set that is verified everywhere."""
    yield
    ended = world.backups().run(by="the next day", say=print)
    assert states(world)["a"][ended.backup.id] == VERIFIED
    assert states(world)[REGION][ended.backup.id] == VERIFIED


def failure(world, tools=None, during=nullcontext):
    """Return what the next run ends with, and the sets that it made; `during`: on a bad day."""
    before = states(world)
    with during(), pytest.raises(GreenlightError) as failed:
        Backups(tools or world.tools()).run(by="test", say=print)
    return failed.value, made_since(world, before)


def made_since(world, before):
    """Return the states of new sets by region, once it is clear that the old ones are as before."""
    after = states(world)
    assert {r: {i: after[r].get(i) for i in before[r]} for r in before} == before
    return {
        region: [s for i, s in after[region].items() if i not in before[region]] for region in after
    }


def a_manifest_in_a(world):
    store = world.tools().store("a")
    before = store.ids()
    return lambda _: store.ids() != before


MOMENTS = {
    "the databases are being copied": lambda world: runs("pgbackrest", "backup:local"),
    "the files are being saved": lambda world: runs("restic", "backup"),
    "one region has its manifest": a_manifest_in_a,
}
WORDS = (
    "region a: databases copied",
    "region b: databases copied",
    "restore point at",
    "files saved",
    "region a: read back",
)


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.usefixtures("claim_forgotten")
def test_a_run_that_is_killed_while_it_works_leaves_no_whole_set_and_the_old_ones(world, moment):
    before = states(world)
    kill_while(world, MOMENTS[moment](world))
    made = made_since(world, before)
    # The kill may come a moment late: by then the other region can have its manifest too.
    assert all(made[region] in ([], ["not verified"]) for region in ("a", REGION))
    if moment != "one region has its manifest":
        assert made == {"a": [], REGION: []}


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.usefixtures("claim_forgotten")
def test_a_run_that_is_killed_after_a_stage_leaves_no_whole_set_and_the_old_ones(world, words):
    before = states(world)
    world.kill_a_run(when=words)
    made = made_since(world, before)
    if not words.startswith("region a: read"):
        assert made == {"a": [], "b": []}


@pytest.fixture
def claim_forgotten(world):
    """Let the claim of a killed run lapse at once, and not within a minute; whatever happened."""
    yield
    leases = world.tools().leases
    if lease := leases.current(LEASE):
        leases.release(lease)


def test_the_claim_of_a_killed_run_lapses_by_itself(world, whole_again):
    kill_while(world, lambda _: world.tools().leases.current(LEASE))
    with pytest.raises(RefusedError, match="its claim lapses within 60 s"):
        world.backups().run(by="test")
    deadline = time.monotonic() + LEASE_S + 5
    while world.tools().leases.current(LEASE):
        assert time.monotonic() < deadline
        time.sleep(1)


def test_after_all_that_the_old_sets_are_whole_and_restorable(world, tmp_path):
    for name, state in states(world)[REGION].items():
        if state == VERIFIED:
            assert [c.findings for c in world.backups().verify(name, say=print)] == [(), ()]
    oldest = min(states(world)["a"])
    at = world.tools().store("a").get(oldest).point.at
    for region in ("a", REGION):
        restores = Restores(world.tools())
        plan = restores.plan(region, to=tmp_path / region, at=at)
        assert plan.require_possible().files.id == oldest
        assert restores.run(plan, say=print).is_dir()


def test_what_killed_runs_left_goes_with_the_next_prune(world):
    """Of the kills before, some left a snapshot in region a."""
    ended = world.backups().run(BackupKind.FULL, by="the next day", say=print)
    backups, tools = world.backups(), world.tools()
    for region, there in states(world).items():
        named = {tools.store(region).get(name).copy_in(region).snapshot for name in there}
        left = {snapshot.id for snapshot in tools.files.snapshots(region)} - named
        assert left or region == REGION
        plan = backups.prune_plan(region)
        assert left <= set(plan.forget)
        backups.prune(plan, by="test", say=print)
        assert {snapshot.id for snapshot in tools.files.snapshots(region)} == named
        assert backups.prune_plan(region).is_empty
    assert [check.findings for check in backups.verify(ended.backup.id)] == [(), ()]


def test_of_two_at_once_one_is_refused_with_who_works_since_when(world, monkeypatch):
    before = states(world)
    with started_run(world) as first:
        assert any("databases copied" in line for line in iter(first.stdout.readline, ""))
        code, out, err = Shell(world.settings.home, monkeypatch)("backup", "run")
        assert (code, out) == (2, "")
        said = err.splitlines()[-1]
        assert "backups are being made or pruned by" in said
        assert "(greenlight backup, process " in said
        assert "since 20" in said
        with pytest.raises(RefusedError, match="made or pruned by"):
            world.backups().prune(world.backups().prune_plan("a"), by="test")
        first.stdout.read()
        assert first.wait(60) == 0
    assert made_since(world, before) == {"a": [VERIFIED], "b": [VERIFIED]}


@contextmanager
def full(world):
    store = world.stores[REGION]
    store.kill()
    store.start(full=True)
    try:
        yield
    finally:
        store.kill()
        store.start()


@contextmanager
def away(world):
    world.stores[REGION].kill()
    try:
        yield
    finally:
        world.stores[REGION].start()


@contextmanager
def frozen(world):
    world.stores[REGION].freeze()
    try:
        yield
    finally:
        world.stores[REGION].thaw()


def other_keys(world):
    return world.other_secret("store_secret_key")


REGION_FAILURES = {
    "full": (full, ResourceError, "takes nothing more"),
    "away": (away, UnavailableError, "does not answer"),
    "frozen": (frozen, UnavailableError, "does not answer"),
    "wrong keys": (other_keys, ConfigError, "does not let us in"),
}


@pytest.mark.parametrize(
    "failing",
    ["full", "away", "wrong keys", pytest.param("frozen", marks=pytest.mark.slow)],
)
def test_a_region_that_fails_is_named_and_the_other_has_its_verified_set(
    world, whole_again, failing
):
    fail, kind, words = REGION_FAILURES[failing]
    with fail(world):
        before = {"a": states_in(world, "a")}
        with pytest.raises(kind, match="is verified only in a: bucket greenlight-b") as failed:
            world.backups().run(by="test", say=print)
        assert words in str(failed.value)
        (made,) = states_in(world, "a").items() - before["a"].items()
        assert made[1] == VERIFIED


def states_in(world, region):
    """Return the states of one region's sets: the other may be away."""
    (kept,) = world.backups().inventories(region)
    return {stored.id: stored.state for stored in kept.sets}


@pytest.mark.slow
def test_a_slow_line_to_a_region_takes_longer_and_that_is_all(world, whole_again):
    with (
        slow_link(world.stores[REGION].s3, bytes_per_s=400_000) as slow,
        regions_at(world, b=slow),
    ):
        ended = world.backups().run(by="test", say=print)
    assert {check.verdict for check in ended.verifications} == {"pass"}


class OtherClock(SystemClock):
    """It is wrong by some hours."""

    def __init__(self, hours):
        self.hours = hours

    def now(self):
        return datetime.now(UTC) + timedelta(hours=self.hours)


@pytest.mark.parametrize(
    ("hours", "said"), [(2, "7,200 s ahead of the database"), (-2, "the clock went back")]
)
def test_a_machine_with_another_time_makes_no_set(world, hours, said):
    error, made = failure(world, open_tools(world.settings, clock=OtherClock(hours)))
    assert isinstance(error, RefusedError)
    assert said in str(error)
    assert made == {"a": [], "b": []}


def test_stores_of_another_time_refuse_and_the_message_says_so(world, monkeypatch, whole_again):
    before = states(world)
    with monkeypatch.context() as patched:
        wrong = datetime.now(UTC).replace(tzinfo=None) + timedelta(hours=2)
        patched.setattr("botocore.auth.get_current_datetime", lambda **_: wrong)
        with pytest.raises(ConfigError, match="this machine's clock and the store's differ"):
            world.backups().run(by="test", say=print)
    assert made_since(world, before) == {"a": [], "b": []}


@contextmanager
def small_disk(folder, size):
    """Put a disk of so many bytes where a folder is."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    folder.mkdir(parents=True, exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_here_is_named_and_leaves_no_set(world, whole_again):
    full_disk = partial(small_disk, world.settings.home / "cache", "16k")
    error, made = failure(world, during=full_disk)
    assert isinstance(error, ResourceError)
    assert "this machine's disk is full" in str(error)
    assert made == {"a": [], "b": []}


def test_a_restore_to_a_disk_that_is_too_small_is_refused_before_it_writes(
    world, tmp_path, monkeypatch
):
    shell = Shell(world.settings.home, monkeypatch)
    with small_disk(tmp_path / "small", "4m"):
        code, _, err = shell("restore", "run", "--to", tmp_path / "small/new")
        assert code == 2
        assert "are free under" in err.splitlines()[-1]
        assert not (tmp_path / "small/new").exists()
