"""One instant in three databases: MLflow's own tables, real versions, a restore to the point."""

import os
import shutil
import subprocess
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from greenlight.adapters import database
from greenlight.adapters.mlflow_registry import MlflowRegistry
from greenlight.adapters.saved_databases import SavedDatabases
from greenlight.core.digest import manifest_of
from greenlight.core.errors import ConfigError, UnavailableError
from greenlight.registry.tags import Tag
from greenlight.testing.candidates import register_parent
from greenlight.testing.databases_contract import DatabasesContract
from greenlight.testing.servers import (
    SYSTEM_USER,
    as_system_user,
    mlflow_server,
    postgres_binaries,
    postgres_server,
    served_cluster,
)

BINARIES = postgres_binaries()
pytestmark = pytest.mark.skipif(BINARIES is None, reason="PostgreSQL is not installed")
SETTINGS = {
    "archive_mode": "on",
    "archive_command": "mkdir -p ../archive && cp %p ../archive/%f",
}


class World:
    """A cluster with three databases, and MLflow on one of them."""

    def __init__(self, url, home, mlflow):
        self.url, self.home, self.mlflow = url, home, mlflow
        self.databases = SavedDatabases(url)
        self.registry = MlflowRegistry(mlflow, attempts=2, wait_s=0.1)

    @contextmanager
    def connection(self, name, **options):
        engine = sa.create_engine(sa.make_url(self.url).set(database=name), **options)
        with engine.connect() as connection:
            yield connection
        engine.dispose()

    def execute(self, name, statement):
        with self.connection(name, isolation_level="AUTOCOMMIT") as connection:
            return connection.execute(sa.text(statement))

    def versions(self, model):
        return [v for v in self.databases.catalogue() if v.model == model]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    home = tmp_path_factory.mktemp("a home")
    with postgres_server(BINARIES, settings=SETTINGS) as url:
        data = Path(query(url, "SHOW data_directory"))
        (data.parent / "archive").mkdir()
        if os.geteuid() == 0:
            shutil.chown(data.parent / "archive", SYSTEM_USER)
        for name in ("airflow", "mlflow"):
            query(url, f"CREATE DATABASE {name}")
        database.migrate(url)
        mlflow_url = sa.make_url(url).set(database="mlflow").render_as_string()
        with mlflow_server(home / "mlflow", database_url=mlflow_url) as mlflow:
            yield World(url, home, mlflow)


def query(url, statement):
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        result = connection.execute(sa.text(statement))
        found = result.scalar() if result.returns_rows else None
    engine.dispose()
    return found


@pytest.fixture
def register(world, tmp_path):
    def register(model):
        return register_parent(world.registry, tmp_path / model, model=model)

    return register


class TestContract(DatabasesContract):
    @pytest.fixture
    def databases(self, world, register):
        register("contract")
        return world.databases


def test_the_catalogue_is_what_the_registry_says_and_its_folders_hold_the_digests(world, register):
    small, large = register("small"), register("large")
    world.registry.set_alias("large", alias="champion", version=1)
    world.registry.set_alias("large", alias="approved", version=1)
    catalogue = world.databases.freeze("first")
    found = {version.model: version for version in catalogue.versions}
    for wanted in (small, large):
        version = found[wanted.model]
        assert (version.version, version.digest, version.run_id) == (
            wanted.version, wanted.digest, wanted.run_id,
        )  # fmt: skip
        assert manifest_of(world.home / version.folder).digest == wanted.digest
        assert version.folder.removesuffix("/model") in catalogue.runs
    assert found["large"].aliases == ("approved", "champion")
    assert found["small"].aliases == ()
    assert catalogue.versions == world.databases.catalogue()
    assert catalogue.runs == world.databases.runs()
    assert catalogue.rows["mlflow.public.model_versions"] == len(catalogue.versions)
    assert catalogue.rows == world.databases.rows()


def test_what_readers_do_not_see_is_not_in_the_catalogue(world, register):
    register("deleted")
    register("half")
    world.registry._client.delete_model_version("deleted", "1")
    world.registry._client.delete_model_version_tag("half", "1", Tag.COMPLETE)
    assert world.versions("deleted") == world.versions("half") == []


def test_files_of_a_deleted_run_are_known_until_they_are_gone(world, register):
    run_id = register("run deleted".replace(" ", "-")).run_id
    world.registry._client.delete_run(run_id)
    assert any(f"/{run_id}/" in run for run in world.databases.runs())
    assert world.versions("run-deleted")[0].run_id == run_id


def test_a_version_whose_run_is_gone_has_no_folder(world, register):
    register("lost")
    world.execute("mlflow", "UPDATE model_versions SET run_id = 'nobody' WHERE name = 'lost'")
    [version] = world.versions("lost")
    assert version.folder == "mlflow/artifacts/unknown/nobody/artifacts/model"
    assert not (world.home / version.folder).exists()


@pytest.mark.parametrize("uri", ["s3://bucket/1/x/artifacts", "mlflow-artifacts:/../../etc"])
def test_a_version_whose_files_no_backup_reaches_is_refused(world, register, uri):
    run_id = register("elsewhere").run_id
    was = query_uri(world, run_id)
    set_uri(world, run_id, uri)
    try:
        for call in (world.databases.catalogue, lambda: world.databases.freeze("refused")):
            with pytest.raises(ConfigError, match="elsewhere version 1 keeps its files at"):
                call()
        assert not any(run_id in run for run in world.databases.runs())
    finally:
        set_uri(world, run_id, was)


def query_uri(world, run_id):
    with world.connection("mlflow") as connection:
        statement = sa.text("SELECT artifact_uri FROM runs WHERE run_uuid = :run")
        return connection.execute(statement, {"run": run_id}).scalar_one()


def set_uri(world, run_id, uri):
    with world.connection("mlflow", isolation_level="AUTOCOMMIT") as connection:
        statement = sa.text("UPDATE runs SET artifact_uri = :uri WHERE run_uuid = :run")
        connection.execute(statement, {"uri": uri, "run": run_id})


@contextmanager
def unfinished(world, name, statement):
    """Yield a transaction that has written and not committed."""
    with world.connection(name) as connection:
        connection.execute(sa.text(statement))
        yield connection


def test_a_point_waits_for_a_registration_that_is_being_committed(world, register):
    register("slow")
    insert = "INSERT INTO registered_models (workspace, name) VALUES ('default', 'arriving')"
    with unfinished(world, "mlflow", insert) as connection:
        before = world.databases.rows()["mlflow.public.registered_models"]
        threading.Timer(0.6, connection.commit).start()
        catalogue = world.databases.freeze("waited")
    assert catalogue.rows["mlflow.public.registered_models"] == before + 1


def test_a_registry_that_is_never_left_alone_gets_no_point(world, register):
    register("hung")
    held = SavedDatabases(world.url, sleep=lambda seconds: None)
    update = "UPDATE model_versions SET description = 'x' WHERE name = 'hung'"
    with (
        unfinished(world, "mlflow", update),
        pytest.raises(UnavailableError, match="a transaction that hangs"),
    ):
        held.freeze("never")


def test_another_table_that_is_busy_is_left_out_and_never_guessed(world):
    world.execute("airflow", "CREATE TABLE busy AS SELECT 1 AS x")
    world.execute("airflow", "CREATE TABLE calm AS SELECT 1 AS x")
    held = SavedDatabases(world.url, sleep=lambda seconds: None)
    with unfinished(world, "airflow", "INSERT INTO busy VALUES (2)"):
        rows = held.freeze("busy").rows
    assert "airflow.public.busy" not in rows
    assert rows["airflow.public.calm"] == 1
    assert rows["mlflow.public.model_versions"] >= 0
    assert held.freeze("calm").rows["airflow.public.busy"] == 1


@contextmanager
def writers(world):
    """Write to every database all the time; yield the seconds that the slowest write took."""
    stop, took = threading.Event(), [0.0]

    def write(name, statement):
        with world.connection(name, isolation_level="AUTOCOMMIT") as connection:
            while not stop.is_set():
                began = time.monotonic()
                connection.execute(sa.text(statement))
                took[0] = max(took[0], time.monotonic() - began)

    work = [
        ("airflow", "INSERT INTO ticks DEFAULT VALUES"),
        ("mlflow", "INSERT INTO registered_models (workspace, name) "
         "VALUES ('default', gen_random_uuid()::text)"),
        ("greenlight", "INSERT INTO sentinels (at) VALUES (clock_timestamp())"),
    ]  # fmt: skip
    threads = [threading.Thread(target=write, args=each) for each in work]
    for thread in threads:
        thread.start()
    try:
        yield took
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@contextmanager
def restored(world, base, **target):
    """Yield the cluster that `base` and the archive give, recovered to a target."""
    data = base.with_name("restored")
    shutil.copytree(base, data)
    if os.geteuid() == 0:
        subprocess.run(["chown", "-R", f"{SYSTEM_USER}:", data], check=True)
    (data / "recovery.signal").touch()
    settings = {
        "restore_command": f"cp '{base.parent}/archive/%f' '%p'",
        "archive_mode": "off",
        "recovery_target_action": "promote",
        **target,
    }
    try:
        with served_cluster(data, BINARIES, settings=settings) as address:
            url = sa.make_url(world.url).set(port=int(address[3]))
            while query(url, "SELECT pg_is_in_recovery()"):
                time.sleep(0.1)
            yield SavedDatabases(url.render_as_string())
    finally:
        shutil.rmtree(data)


@pytest.fixture
def base(world):
    """A copy of the running cluster's files."""
    world.execute("airflow", "CREATE TABLE ticks (id bigserial PRIMARY KEY)")
    folder = Path(query(world.url, "SHOW data_directory")).with_name("base")
    folder.mkdir(mode=0o700)
    if os.geteuid() == 0:
        shutil.chown(folder, SYSTEM_USER)
    port = str(sa.make_url(world.url).port)
    address = ["-h", "127.0.0.1", "-p", port, "-U", "greenlight"]
    command = ["pg_basebackup", "-D", folder, "-X", "none", "-c", "fast", *address]
    subprocess.run(
        [*as_system_user(), BINARIES / command[0], *command[1:]],
        check=True, cwd="/", capture_output=True,
    )  # fmt: skip
    yield folder
    shutil.rmtree(folder)
    world.execute("airflow", "DROP TABLE ticks")


def test_a_restore_to_the_point_has_exactly_the_rows_that_were_counted(world, base):
    with writers(world) as took:
        time.sleep(0.5)
        catalogue = world.databases.freeze("under-load")
        time.sleep(0.5)
    world.databases.wait_archived(catalogue.point.lsn, at_most_s=60)
    assert took[0] < 2
    with restored(world, base, recovery_target_name="under-load") as found:
        rows = found.rows()
        assert catalogue.rows.items() <= rows.items()
        assert {"airflow.public.ticks", "greenlight.public.sentinels"} <= catalogue.rows.keys()
        assert found.catalogue() == catalogue.versions
        assert found.runs() == catalogue.runs
        assert found.damage() == ()
    assert world.databases.rows()["airflow.public.ticks"] > rows["airflow.public.ticks"]


def test_a_restore_to_a_time_has_the_sentinels_up_to_it_and_no_later_one(world, base):
    before = [world.databases.mark_time() for _ in range(2)]
    time.sleep(0.1)
    target = query(world.url, "SELECT clock_timestamp()")
    time.sleep(0.1)
    after = [world.databases.mark_time() for _ in range(2)]
    world.databases.wait_archived(at_most_s=60)
    with restored(world, base, recovery_target_time=target.isoformat()) as found:
        sentinels = found.sentinels()
        assert set(before) <= set(sentinels)
        assert not set(after) & set(sentinels)
        assert sentinels == tuple(s for s in world.databases.sentinels() if s.at <= target)
