import os
import shutil
import subprocess
import time
from pathlib import Path

import psycopg2
import pytest

from greenlight.adapters.stack import postgres, postgres_databases
from greenlight.adapters.stack.ports import LOOPBACK, ask_kernel
from greenlight.adapters.stack.secrets import load_or_create_secrets
from greenlight.adapters.stack.services import ServiceName
from greenlight.adapters.stack.supervisor import Supervisor
from greenlight.core.errors import ConfigError

IS_ROOT = os.geteuid() == 0


def installed(folder, *versions):
    for version in versions:
        (folder / str(version) / "bin").mkdir(parents=True)
        (folder / str(version) / "bin/initdb").touch()
    return folder


def data_of(home, version):
    (home / "data").mkdir(parents=True)
    (home / "data/PG_VERSION").write_text(f"{version}\n")
    return home


def test_a_missing_postgresql_says_how_to_install_it(tmp_path):
    with pytest.raises(ConfigError, match=r"not installed.*scripts/setup system"):
        postgres.find_cluster(tmp_path, installed=tmp_path, is_root=False)


def test_new_data_is_written_by_the_newest_version(tmp_path):
    found = postgres.find_cluster(
        tmp_path / "home", installed=installed(tmp_path, 9, 15, 16), is_root=False
    )
    assert found.programs == tmp_path / "16/bin"
    assert found.account is None


def test_data_is_served_by_the_version_that_wrote_it(tmp_path):
    home = data_of(tmp_path / "home", 15)
    found = postgres.find_cluster(home, installed=installed(tmp_path, 15, 16), is_root=False)
    assert found.programs == tmp_path / "15/bin"


def test_data_of_a_version_that_is_gone_is_never_touched(tmp_path):
    home = data_of(tmp_path / "home", 14)
    with pytest.raises(ConfigError, match=r"written by PostgreSQL 14, but only 15, 16"):
        postgres.find_cluster(home, installed=installed(tmp_path, 15, 16), is_root=False)


def test_a_password_with_any_character_survives_the_url():
    url = postgres.database_url("mlflow", port=5, password="a/b@c:d%")
    assert url == "postgresql+psycopg2://greenlight:a%2Fb%40c%3Ad%25@127.0.0.1:5/mlflow"


def wait_until_ready(cluster, supervisor, port):
    deadline = time.monotonic() + 60
    while reason := postgres_databases.why_not_ready(cluster.home, port=port):
        assert supervisor.running(ServiceName.POSTGRES), supervisor.exit_reason(
            ServiceName.POSTGRES
        )
        assert time.monotonic() < deadline, reason
        time.sleep(0.05)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A real server; its home lies in a folder that nobody else may enter."""
    closed = tmp_path_factory.mktemp("closed to others")
    closed.chmod(0o700)
    secrets = load_or_create_secrets(closed / "secrets")
    cluster = postgres.find_cluster(closed / "home", is_root=IS_ROOT)
    supervisor = Supervisor(run=closed / "run", logs=closed / "logs")
    port = ask_kernel()
    assert postgres.initialize(cluster, secrets)
    postgres.write_access_rules(cluster)
    with postgres.opened(cluster) as (home, handles):
        supervisor.start(postgres.server(cluster, home=home, port=port), pass_fds=handles)
    wait_until_ready(cluster, supervisor, port)
    postgres_databases.create_databases(cluster.home, port=port, secrets=secrets)
    yield closed, cluster, supervisor, port, secrets
    supervisor.stop([ServiceName.POSTGRES], grace_s=5)
    shutil.rmtree(closed)


def connect(port, password, database="greenlight", *, user="greenlight"):
    return psycopg2.connect(host=LOOPBACK, port=port, user=user, password=password, dbname=database)


@pytest.mark.parametrize("database", postgres.DATABASES)
def test_every_database_is_there_and_the_role_may_make_tables(world, database):
    _, _, _, port, secrets = world
    with connect(port, secrets.postgres, database) as connection:
        connection.cursor().execute("CREATE TABLE t (x int)")
        connection.rollback()


def test_a_wrong_password_is_refused(world):
    port = world[3]
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        connect(port, "wrong")


def test_the_superuser_has_the_password_of_the_home(world):
    _, _, _, port, secrets = world
    with connect(port, secrets.postgres_superuser, user="postgres") as connection:
        cursor = connection.cursor()
        cursor.execute("SHOW is_superuser")
        assert cursor.fetchone() == ("on",)


@pytest.mark.skipif(not IS_ROOT, reason="only root can become another account")
def test_only_the_owner_and_root_get_in_through_the_socket(world):
    """Also when the way to it were open: the socket and the rules are two barriers."""
    _, cluster, _, port, _ = world
    folder = os.open(cluster.home, os.O_RDONLY)
    ask = ["psql", "-h", f"/proc/self/fd/{folder}", "-p", str(port), "-U", "postgres", "-c", "\\q"]

    def enter(account):
        return subprocess.run(
            [*postgres.become(account), *ask], pass_fds=[folder], capture_output=True, check=False
        )

    assert enter("postgres").returncode == 0
    assert enter(None).returncode == 0
    assert b"Permission denied" in enter("daemon").stderr
    socket = cluster.home / f".s.PGSQL.{port}"
    socket.chmod(0o777)
    cluster.home.chmod(0o755)
    try:
        assert b"Peer authentication failed" in enter("daemon").stderr
    finally:
        cluster.home.chmod(0o700)
        socket.chmod(0o700)
        os.close(folder)


def test_a_page_that_the_disk_changed_is_noticed(world):
    _, _, _, port, secrets = world
    with connect(port, secrets.postgres) as connection:
        cursor = connection.cursor()
        cursor.execute("SHOW data_checksums")
        assert cursor.fetchone() == ("on",)


def test_the_role_is_no_superuser(world):
    _, _, _, port, secrets = world
    with connect(port, secrets.postgres) as connection:
        cursor = connection.cursor()
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cursor.execute("COPY (SELECT 1) TO PROGRAM 'true'")


def test_making_everything_again_changes_nothing(world):
    _, cluster, _, port, secrets = world
    assert postgres.initialize(cluster, secrets) is False
    postgres_databases.create_databases(cluster.home, port=port, secrets=secrets)


def test_no_password_stays_behind_in_the_folder_or_the_log(world):
    _, cluster, supervisor, _, secrets = world
    assert not (cluster.home / "password").exists()
    log = supervisor.log(ServiceName.POSTGRES).read_text()
    assert secrets.postgres not in log
    assert secrets.postgres_superuser not in log


def test_the_server_listens_itself_and_has_no_socket_elsewhere(world):
    _, _, supervisor, port, _ = world
    assert supervisor.listens(ServiceName.POSTGRES, port)
    assert not Path(f"/tmp/.s.PGSQL.{port}").exists()


def test_a_database_without_tables_has_no_schema_version(world):
    _, _, _, port, secrets = world
    assert postgres_databases.schema_version("mlflow", port=port, password=secrets.postgres) is None
