import os
import shutil
from pathlib import Path

import psycopg2
import pytest

from greenlight.adapters.stack import postgres
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
    with postgres.opened(cluster) as (home, handles):
        supervisor.start(postgres.server(cluster, home=home, port=port), pass_fds=handles)
    for _ in range(200):
        reason = postgres.why_not_ready(port=port, password=secrets.postgres_superuser)
        if reason is None:
            break
        assert supervisor.running(ServiceName.POSTGRES), supervisor.exit_reason(
            ServiceName.POSTGRES
        )
    postgres.create_databases(port=port, secrets=secrets)
    yield closed, cluster, supervisor, port, secrets
    supervisor.stop([ServiceName.POSTGRES], grace_s=5)
    shutil.rmtree(closed)


def connect(port, password, database="greenlight"):
    return psycopg2.connect(
        host=LOOPBACK, port=port, user="greenlight", password=password, dbname=database
    )


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
    assert "password authentication failed" in postgres.why_not_ready(port=port, password="wrong")


def test_the_role_is_no_superuser(world):
    _, _, _, port, secrets = world
    with connect(port, secrets.postgres) as connection:
        cursor = connection.cursor()
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cursor.execute("COPY (SELECT 1) TO PROGRAM 'true'")


def test_making_everything_again_changes_nothing(world):
    _, cluster, _, port, secrets = world
    assert postgres.initialize(cluster, secrets) is False
    postgres.create_databases(port=port, secrets=secrets)


def test_no_password_stays_behind_in_the_folder_or_the_log(world):
    _, cluster, supervisor, _, secrets = world
    assert [p.name for p in cluster.home.iterdir()] == ["data"]
    log = supervisor.log(ServiceName.POSTGRES).read_text()
    assert secrets.postgres not in log
    assert secrets.postgres_superuser not in log


def test_the_server_listens_itself_and_has_no_socket_elsewhere(world):
    _, _, supervisor, port, _ = world
    assert supervisor.listens(ServiceName.POSTGRES, port)
    assert not Path(f"/tmp/.s.PGSQL.{port}").exists()


def test_a_database_without_tables_has_no_schema_version(world):
    _, _, _, port, secrets = world
    assert postgres.schema_version("mlflow", port=port, password=secrets.postgres) is None
