import pytest
from typer.testing import CliRunner

from greenlight.cli.stack import address_table, app
from greenlight.core.errors import InputError, RefusedError


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("GREENLIGHT_HOME", str(tmp_path / "home"))
    return lambda *words: CliRunner().invoke(app, list(words))


def test_down_without_a_stack_is_fine(run):
    assert run("down").exit_code == 0


def test_status_fails_when_something_is_down_and_names_every_service(run):
    done = run("status")
    assert done.exit_code == 1
    assert "airflow-scheduler" in done.output


def test_the_password_of_a_stack_that_is_not_up_is_refused(run):
    assert isinstance(run("password").exception, RefusedError)


def test_logs_show_the_end_of_one_service(run, tmp_path):
    logs = tmp_path / "home/logs"
    logs.mkdir(parents=True)
    (logs / "mlflow.log").write_text("one\ntwo\nthree\n")
    (logs / "postgres.log").write_text("four\n")
    assert run("logs", "mlflow", "-n", "2").output == "two\nthree\n"
    assert "postgres" in run("logs").output


def test_logs_of_an_unknown_service_name_the_known_ones(run):
    error = run("logs", "celery").exception
    assert isinstance(error, InputError)
    assert "there are store-a, store-b, postgres, redis, node-exporter" in str(error)


def test_the_address_table_shows_no_secret():
    from greenlight.adapters.stack.services import StackAddresses

    found = StackAddresses(
        airflow_url="http://127.0.0.1:1",
        mlflow_url="http://127.0.0.1:2",
        prometheus_url="http://127.0.0.1:9090",
        alertmanager_url="http://127.0.0.1:9093",
        gateway_url="http://127.0.0.1:4",
        edge_url="https://127.0.0.1:5",
        database_url="postgresql+psycopg2://greenlight:hidden@127.0.0.1:3/greenlight",
        airflow_user="admin",
        airflow_password="hidden",
        airflow_password_file="/p",
    )
    shown = [str(cell) for column in address_table(found).columns for cell in column.cells]
    assert "http://127.0.0.1:1" in shown
    assert "hidden" not in " ".join(shown) + repr(found)


def test_an_unknown_service_is_not_started_and_the_known_ones_are_named(run):
    error = run("up", "--only", "postgress").exception
    assert isinstance(error, InputError)
    assert "no service is called 'postgress'; there are store-a, store-b, postgres" in str(error)
