"""What the services are told: environments and command lines, without starting anything."""

import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from greenlight.adapters.stack import (
    airflow,
    greenlight_servers,
    mlflow_server,
    object_store,
    postgres,
    redis_server,
)
from greenlight.adapters.stack.embedded import EmbeddedStack
from greenlight.adapters.stack.monitoring import Monitoring
from greenlight.adapters.stack.secrets import MAKERS, load_or_create_secrets
from greenlight.adapters.stack.services import PORT_OF, STOP_ORDER, ServiceName
from greenlight.adapters.stack.stores import STORES, claim_stores
from greenlight.core.settings import Ports, load_settings

PORTS = Ports(airflow=1001, mlflow=1002, postgres=1003, store_a=1004, store_b=1005)


@pytest.fixture
def settings(make_settings):
    return make_settings()


@pytest.fixture
def secrets(settings):
    return load_or_create_secrets(settings.secrets)


@pytest.fixture
def environment(settings, secrets):
    return airflow.airflow_environment(
        settings, ports=PORTS, secrets=secrets, passwords_file=Path("/p.json")
    )


def test_airflow_listens_on_loopback_only_and_tells_its_parts_where(environment):
    assert environment["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert environment["AIRFLOW__API__BASE_URL"] == "http://127.0.0.1:1001"
    assert environment["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == (
        "http://127.0.0.1:1001/execution/"
    )


def test_airflow_writes_only_under_the_home(settings, environment):
    for name in ("AIRFLOW_HOME", "AIRFLOW__LOGGING__BASE_LOG_FOLDER"):
        assert Path(environment[name]).is_relative_to(settings.home)


def test_every_part_of_airflow_shares_the_keys(environment, secrets):
    assert environment["AIRFLOW__API_AUTH__JWT_SECRET"] == secrets.airflow_jwt
    assert environment["AIRFLOW__CORE__FERNET_KEY"] == secrets.airflow_fernet
    assert environment["AIRFLOW__API__SECRET_KEY"] == secrets.airflow_api


def test_tasks_find_the_stack_and_the_home_in_greenlights_own_settings(environment, settings):
    mine = {k: v for k, v in environment.items() if k.startswith("GREENLIGHT_")}
    found = load_settings(mine)
    assert found.home == settings.home
    assert found.mlflow_url == "http://127.0.0.1:1002"
    assert found.airflow_url == "http://127.0.0.1:1001"
    assert found.database_url.endswith("@127.0.0.1:1003/greenlight")


def test_services_of_the_operators_own_win_over_the_embedded_ones(make_settings, secrets):
    own = make_settings(mlflow_url="https://mlflow.example.org")
    found = airflow.airflow_environment(
        own, ports=PORTS, secrets=secrets, passwords_file=Path("/p.json")
    )
    assert found["GREENLIGHT_MLFLOW_URL"] == "https://mlflow.example.org"


def test_databases_are_named_with_their_driver(environment):
    assert environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"].startswith("postgresql+psycopg2://")


def test_mlflow_hands_out_artifacts_itself_and_reports_to_nobody(make_settings, secrets):
    settings = make_settings()
    found = mlflow_server.mlflow_environment(settings, ports=PORTS, secrets=secrets)
    assert found["MLFLOW_SERVE_ARTIFACTS"] == "true"
    assert found["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert found["MLFLOW_HOST"] == "127.0.0.1"
    assert found["MLFLOW_ARTIFACTS_DESTINATION"] == (settings.home / "mlflow/artifacts").as_uri()


def test_mlflow_can_still_read_its_webhooks_after_a_restart(settings, secrets):
    found = mlflow_server.mlflow_environment(settings, ports=PORTS, secrets=secrets)
    again = load_or_create_secrets(settings.secrets)
    assert found["MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY"] == again.mlflow_webhook_key
    Fernet(again.mlflow_webhook_key)


def test_airflow_sends_its_numbers_to_the_exporter_each_under_one_name(settings, secrets):
    found = airflow.airflow_environment(
        settings, ports=Ports(exporter=1009), secrets=secrets, passwords_file=Path("/p.json")
    )
    metrics = {k.rpartition("__")[2]: v for k, v in found.items() if "__METRICS__" in k}
    assert metrics == {
        "STATSD_ON": "True", "STATSD_HOST": "127.0.0.1", "STATSD_PORT": "1009",
        "STATSD_INFLUXDB_ENABLED": "True", "LEGACY_NAMES_ON": "False",
    }  # fmt: skip


def a_claim(settings, secrets):
    now = datetime(2026, 11, 25, tzinfo=UTC)
    return claim_stores(settings, STORES, PORTS, running=[], now=now)


def test_no_secret_is_on_a_command_line(settings, secrets, environment):
    cluster = postgres.Cluster(home=settings.home, programs=Path("/bin"), account="postgres")
    services = [
        *(object_store.server(store) for store in a_claim(settings, secrets)),
        postgres.server(cluster, home=settings.home, port=1003),
        redis_server.service(
            redis_server.server_in(settings, port=1006, password=secrets.redis),
            program=sys.executable,
        ),
        mlflow_server.server(settings, ports=PORTS, secrets=secrets, inherited={}),
        *greenlight_servers.servers(settings, ports=PORTS, secrets=secrets, inherited={}),
        *Monitoring(settings=settings, ports=PORTS).services(),
        *(
            airflow.component(name, settings, environment=environment, inherited={})
            for name in airflow.COMMANDS
        ),
    ]
    assert {service.name for service in services} == set(ServiceName)
    words = " ".join(word for service in services for word in service.command)
    assert not [name for name in MAKERS if getattr(secrets, name) in words]
    assert not [name for name in MAKERS if getattr(secrets, name) in repr(services)]


def test_every_service_is_stopped_once_and_the_stores_last_since_the_database_writes_to_them():
    order = [name for stage in STOP_ORDER for name in stage]
    assert sorted(order) == sorted(ServiceName)
    assert order[-3:] == [ServiceName.POSTGRES, *STORES]


def test_every_port_in_the_settings_belongs_to_a_service():
    assert {*PORT_OF.values(), "gateway_metrics"} == set(Ports.model_fields)


def test_settings_for_another_airflow_are_not_inherited(settings):
    shell = {"PATH": "/bin", "AIRFLOW__CORE__EXECUTOR": "X", "PGHOST": "h", "GREENLIGHT_HOME": "/"}
    stack = EmbeddedStack(settings, environment=shell)
    assert stack.inherited == {"PATH": "/bin", "GREENLIGHT_HOME": "/"}
