"""pgBackRest on a real cluster, in two real stores: what is made, harmed, restored and deleted.

The tests use the same cluster one after the other; each leaves the repositories whole.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import psycopg2
import pytest

from greenlight.adapters import s3
from greenlight.adapters.pgbackrest.backups import PgBackRest
from greenlight.adapters.pgbackrest.config import Repository
from greenlight.adapters.pgbackrest.program import PROGRAM, Program
from greenlight.adapters.pgbackrest.segments import holding
from greenlight.adapters.stack import postgres, postgres_databases
from greenlight.adapters.stack.ports import LOOPBACK, ask_kernel
from greenlight.adapters.stack.secrets import load_or_create_secrets
from greenlight.adapters.stack.services import ServiceName
from greenlight.adapters.stack.supervisor import Supervisor
from greenlight.backup.sets import BackupKind
from greenlight.core.errors import ConfigError, InputError, RefusedError, UnavailableError
from greenlight.testing.backup_contract import DatabaseBackupsContract
from greenlight.testing.object_stores import store_process

pytestmark = [
    pytest.mark.skipif(shutil.which(PROGRAM) is None, reason="pgBackRest is not installed"),
    pytest.mark.timeout(300),
]
IS_ROOT = os.geteuid() == 0
WAITING = "SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'"
REGION = "b"
"""Where damage is done; the contract works in region a."""


class Server:
    """A cluster that runs, or ran."""

    def __init__(self, cluster, folder, secrets):
        self.cluster, self.secrets = cluster, secrets
        self.port = ask_kernel()
        self.supervisor = Supervisor(run=folder / "run", logs=folder / "logs")

    def start(self, archive_command=None):
        postgres.write_access_rules(self.cluster)
        with postgres.opened(self.cluster) as (home, handles):
            service = postgres.server(
                self.cluster, home=home, port=self.port, archive_command=archive_command
            )
            self.supervisor.start(service, pass_fds=handles)
        deadline = time.monotonic() + 60
        while reason := postgres_databases.why_not_ready(self.cluster.home, port=self.port):
            died = not self.supervisor.running(ServiceName.POSTGRES)
            assert not died, self.supervisor.exit_reason(ServiceName.POSTGRES)
            assert time.monotonic() < deadline, reason
            time.sleep(0.05)
        postgres_databases.create_databases(self.cluster.home, port=self.port, secrets=self.secrets)

    def stop(self):
        self.supervisor.stop([ServiceName.POSTGRES], grace_s=5)

    def ask(self, statement):
        connection = psycopg2.connect(
            host=LOOPBACK,
            port=self.port,
            user=postgres.SUPERUSER,
            password=self.secrets.postgres_superuser,
            dbname="greenlight",
        )
        connection.autocommit = True
        with contextlib.closing(connection), connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchone()[0] if cursor.description else None

    def write(self):
        """Commit one more row, and return its number."""
        return self.ask("INSERT INTO sentinels DEFAULT VALUES RETURNING number")

    def rows(self):
        return self.ask("SELECT count(*) FROM sentinels")

    def now(self):
        return self.ask("SELECT clock_timestamp()")

    def switch(self):
        """Close the segment that is being written, and return the place where it ends."""
        place = self.ask("SELECT pg_current_wal_insert_lsn()")
        self.ask("SELECT pg_switch_wal()")
        return place


class World:
    def __init__(self, folder, stores):
        self.folder, self.stores = folder, stores
        self.secrets = load_or_create_secrets(folder / "secrets")
        cluster = postgres.find_cluster(folder / "home/postgres", is_root=IS_ROOT)
        self.passphrase = folder / "secrets/backup_pgbackrest"
        self.server = Server(cluster, folder, self.secrets)
        self.backups = self.opened(self.server)

    def opened(self, server, **changes):
        repositories = [
            Repository(region=name, store=store.s3, passphrase_file=self.passphrase)
            for name, store in self.stores.items()
        ]
        options = {"port": server.port, "processes": 2} | changes
        return PgBackRest(Program(server.cluster, **options), repositories)

    def start(self):
        postgres.initialize(self.server.cluster, self.secrets)
        for region in self.stores:
            self.backups.make_repository(region, server_runs=False)
        self.server.start(self.backups.archive_command())
        self.server.ask(
            "CREATE TABLE sentinels (number serial, at timestamptz DEFAULT clock_timestamp())"
        )
        self.server.ask(
            "CREATE TABLE filler AS SELECT i, md5(i::text) FROM generate_series(1, 100000) i"
        )

    def labels(self):
        return [copy.label for copy in self.backups.copies(REGION)]

    def keys(self, part, *, region=REGION):
        """Return the objects of a region whose names have `part` in them, largest first."""
        store = self.stores[region].s3
        pages = s3.open_client(store).get_paginator("list_objects_v2")
        found = {
            entry["Key"]: entry["Size"]
            for page in pages.paginate(Bucket=store.bucket, Prefix="pgbackrest/")
            for entry in page["Contents"]
            if part in entry["Key"]
        }
        return sorted(found, key=lambda key: -found[key])

    def wait_log(self, lsn, *, timeline=1):
        """Return when the region has the log up to a place."""
        segment, deadline = holding(lsn, number=timeline), time.monotonic() + 120
        while not self.keys(segment):
            assert time.monotonic() < deadline, f"{segment} did not arrive"
            time.sleep(0.2)

    @contextlib.contextmanager
    def harmed(self, key, harm):
        """Change an object (none: delete it), and put it back."""
        store = self.stores[REGION].s3
        client = s3.open_client(store)
        before = s3.get(client, store, key=key)
        after = harm(before)
        if after is None:
            s3.delete(client, store, key=key)
        else:
            s3.put(client, store, key=key, body=after)
        try:
            yield key
        finally:
            s3.put(client, store, key=key, body=before)

    @contextlib.contextmanager
    def restored(self, name, label, at, *, region=REGION):
        """Restore, let it recover, and yield the server of the restored cluster."""
        folder = self.folder / name
        self.backups.restore(region, label, to=folder / "postgres", at=at)
        cluster = replace(self.server.cluster, home=folder / "postgres")
        server = Server(cluster, folder, self.secrets)
        try:
            server.start()
            yield server
        finally:
            server.stop()


def flip(body):
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]


def cut(body):
    return body[: len(body) // 2]


def gone(body):
    del body


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The cluster lies in a folder with spaces that its account can't walk to."""
    folder = tmp_path_factory.mktemp("closed to others")
    folder.chmod(0o700)
    with contextlib.ExitStack() as stack:
        stores = {
            name: stack.enter_context(store_process(folder / f"store {name}", region=name))
            for name in ("a", "b")
        }
        world = World(folder, stores)
        stack.callback(world.server.stop)
        world.start()
        yield world


class TestContract(DatabaseBackupsContract):
    @pytest.fixture
    def databases(self, world):
        return world.backups


def test_log_that_only_deleted_copies_needed_is_gone(world):
    """The contract has deleted the first copies of region a, and none of region b."""
    oldest = {region: sorted(world.keys("/15-1/00000001", region=region))[0] for region in "ab"}
    assert "/000000010000000000000001-" in oldest["b"]
    assert "/000000010000000000000001-" not in oldest["a"]


@pytest.fixture(scope="module")
def copies(world):
    """A full copy, and an incremental one on it, in the region that is harmed; then more log."""
    world.server.write()
    full = world.backups.back_up(REGION, BackupKind.FULL, mark="full")
    world.server.write()
    incremental = world.backups.back_up(REGION, BackupKind.INCREMENTAL, mark="incremental")
    for _ in range(3):
        world.server.write()
        last = world.server.switch()
    world.wait_log(last)
    return full, incremental


def test_an_incremental_copy_stores_only_what_changed(copies):
    full, incremental = copies
    assert incremental.kind is BackupKind.INCREMENTAL
    assert incremental.needs == (full.label,)
    assert incremental.stored_bytes < full.stored_bytes / 10
    assert incremental.database_bytes > full.stored_bytes
    assert full.began_at <= full.ended_at <= incremental.began_at


def test_a_whole_copy_with_its_log_has_no_findings(world, copies):
    assert world.backups.verify(REGION, copies[1].label) == ()


def test_a_cluster_is_restored_to_a_second_between_two_rows(world, copies):
    world.server.write()
    before = world.server.rows()
    time.sleep(0.01)
    at = world.server.now()
    time.sleep(0.01)
    world.server.write()
    world.wait_log(world.server.switch())
    with world.restored("a second", copies[1].label, at) as server:
        assert (server.rows(), world.server.rows()) == (before, before + 1)
        assert server.ask("SHOW archive_mode") == "off"
        assert server.cluster.is_restored
        assert server.cluster.data.stat().st_uid == world.server.cluster.data.stat().st_uid


def test_without_an_instant_everything_that_is_archived_is_restored(world, copies):
    with world.restored("everything", copies[0].label, None) as server:
        assert server.rows() == world.server.rows()


@pytest.mark.parametrize(
    ("part", "harm"),
    [("bundle/", flip), ("bundle/", cut), ("pg_data/backup_label", gone), (".manifest", flip)],
    ids=["flipped", "cut", "gone", "manifest"],
)
def test_damage_in_a_copy_is_found_in_what_needs_it(world, copies, part, harm):
    key = world.keys(f"/backup/main/{copies[0].label}/{part.lstrip('.')}")
    key = key or world.keys(f"/backup/main/{copies[0].label}/backup{part}")
    with world.harmed(key[0], harm):
        assert world.backups.verify(REGION, copies[1].label)


@pytest.mark.parametrize("harm", [flip, gone])
def test_damage_in_the_log_after_a_copy_is_found(world, copies, harm):
    newest = sorted(world.keys("/archive/main/15-1/00000001"))[-2]
    with world.harmed(newest, harm) as key:
        segment = key.rpartition("/")[2][:24]
        (finding,) = world.backups.verify(REGION, copies[1].label)
        assert segment in finding
        with pytest.raises(InputError, match=segment):
            world.backups.restore(REGION, copies[1].label, to=world.folder / "no", at=None)
    assert not (world.folder / "no").exists()


def test_a_log_that_ends_before_the_restore_point_is_found(world, copies):
    world.server.write()
    last = world.server.switch()
    world.wait_log(last)
    with world.harmed(sorted(world.keys("/archive/main/15-1/00000001"))[-1], gone) as key:
        (finding,) = world.backups.verify(REGION, copies[1].label, until=last)
        assert key.rpartition("/")[2][:24] in finding


def test_a_missing_segment_before_the_instant_stops_a_restore(world, copies):
    newest = sorted(world.keys("/archive/main/15-1/00000001"))[-2]
    with world.harmed(newest, gone) as key, pytest.raises(InputError, match="the log after copy"):
        world.backups.restore(
            REGION, copies[1].label, to=world.folder / "no", at=world.server.now()
        )
    assert key == newest


def test_a_restore_that_fails_leaves_nothing(world, copies):
    first, second = world.keys(f"/backup/main/{copies[0].label}/backup.manifest")
    to = world.folder / "nothing"
    with world.harmed(first, gone), world.harmed(second, gone), pytest.raises(InputError):
        world.backups.restore(REGION, copies[0].label, to=to, at=world.server.now())
    assert not to.exists()


def test_another_passphrase_is_a_setting_to_change(world, copies, tmp_path):
    other = tmp_path / "other"
    other.write_text("certainly another one\n")
    other.chmod(0o600)
    server, store = world.server, world.stores[REGION].s3
    backups = PgBackRest(
        Program(server.cluster, port=server.port),
        [Repository(region=REGION, store=store, passphrase_file=other)],
    )
    label = copies[0].label
    for attempt in (
        lambda: backups.copies(REGION),
        lambda: backups.verify(REGION, label),
        lambda: backups.restore(REGION, label, to=tmp_path / "to", at=None),
        lambda: backups.back_up(REGION, BackupKind.FULL, mark="x"),
    ):
        with pytest.raises(ConfigError, match=r"other isn't the passphrase"):
            attempt()


def test_another_clusters_repository_is_refused(world, copies, tmp_path):
    other = postgres.find_cluster(tmp_path / "postgres", is_root=IS_ROOT)
    postgres.initialize(other, world.secrets)
    stranger = world.opened(Server(other, tmp_path, world.secrets))
    with pytest.raises(RefusedError, match="copies of another cluster"):
        stranger.make_repository(REGION, server_runs=False)


def test_a_second_copy_at_the_same_time_is_refused(world, copies):
    ticks = iter(range(0, 1000, 15))

    class Clock:
        def monotonic(self):
            return float(next(ticks))

    slept = []
    backups = world.opened(world.server, clock=Clock(), sleep=slept.append)
    lock = world.server.cluster.home / "pgbackrest/lock/main-backup.lock"
    with lock.open("a") as held:
        postgres.give(world.server.cluster, lock)
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(RefusedError, match="another pgBackRest works on this cluster"):
            backups.back_up(REGION, BackupKind.INCREMENTAL, mark="second")
        lock.unlink()
    assert slept


CHILD = """
import sys
from pathlib import Path
from greenlight.adapters.pgbackrest.backups import PgBackRest
from greenlight.adapters.pgbackrest.config import Repository
from greenlight.adapters.pgbackrest.program import Program
from greenlight.adapters.stack import postgres
from greenlight.backup.backup_file import S3Store
from greenlight.backup.sets import BackupKind
home, port, store, passphrase, region = sys.argv[1:]
cluster = postgres.find_cluster(Path(home), is_root={is_root})
repository = Repository(
    region=region, store=S3Store.model_validate_json(store), passphrase_file=Path(passphrase)
)
PgBackRest(Program(cluster, port=int(port)), [repository]).back_up(
    region, BackupKind.FULL, mark="killed"
)
"""


def test_a_run_that_was_killed_does_not_hinder_the_next(world, copies):
    before = world.labels()
    child = subprocess.Popen(
        [
            sys.executable, "-c", CHILD.format(is_root=IS_ROOT), str(world.server.cluster.home),
            str(world.server.port), world.stores[REGION].s3.model_dump_json(),
            str(world.passphrase), REGION,
        ]
    )  # fmt: skip
    lock = world.server.cluster.home / "pgbackrest/lock/main-backup.lock"
    deadline = time.monotonic() + 30
    while not lock.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(1.0)
    assert child.poll() is None
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert world.labels() == before
    made = world.backups.back_up(REGION, BackupKind.INCREMENTAL, mark="after")
    assert world.labels() == [*before, made.label]
    assert world.backups.verify(REGION, made.label) == ()


def test_a_region_that_is_away_keeps_nothing_from_the_other(world, copies):
    world.stores["a"].freeze()
    try:
        with pytest.raises(UnavailableError, match="does not answer"):
            world.backups.copies("a")
        with pytest.raises(UnavailableError, match="does not answer"):
            world.backups.back_up("a", BackupKind.FULL, mark="away")
        world.server.write()
        first, second = world.server.switch(), (world.server.write(), world.server.switch())[1]
        world.wait_log(first)
        world.wait_log(second)
    finally:
        world.stores["a"].thaw()
    deadline = time.monotonic() + 120
    while waiting := world.server.ask(WAITING):
        assert time.monotonic() < deadline, f"{waiting} segments never came to the other region"
        time.sleep(0.5)


def test_an_adopted_copy_goes_on_and_both_pasts_can_be_restored(world, copies):
    old, label = world.server, world.labels()[-1]
    common = old.rows()
    fork = old.now()
    time.sleep(0.01)
    old.write()
    time.sleep(0.01)
    given_up = old.now()
    time.sleep(0.01)
    old.write()
    world.wait_log(old.switch())
    with world.restored("the next", label, fork) as server:
        assert server.rows() == common
        old.stop()
        server.stop()
        postgres.adopt(server.cluster)
        backups = world.opened(server)
        server.start(backups.archive_command())
        backups.make_repository(REGION, server_runs=True)
        made = backups.back_up(REGION, BackupKind.INCREMENTAL, mark="next")
        server.write()
        new = server.now()
        time.sleep(0.01)
        server.write()
        world.wait_log(server.switch(), timeline=2)
        assert backups.verify(REGION, made.label) == ()
        world.backups = backups
        with world.restored("given up", label, given_up) as past:
            assert past.rows() == common + 1
            assert past.ask("SELECT at FROM sentinels ORDER BY at DESC") < given_up
        with world.restored("new past", label, new) as past:
            assert past.rows() == common + 1
            assert past.ask("SELECT at FROM sentinels ORDER BY at DESC") > given_up
