import sys

import pytest

from greenlight.adapters.stack.overview import addresses_of, status_of
from greenlight.adapters.stack.ports import ask_kernel
from greenlight.adapters.stack.secrets import MAKERS, load_or_create_secrets
from greenlight.adapters.stack.services import Service, ServiceName, State
from greenlight.adapters.stack.supervisor import Supervisor
from greenlight.core.settings import Ports


@pytest.fixture
def settings(make_settings):
    return make_settings()


@pytest.fixture
def ports():
    return Ports(**{name: ask_kernel() for name in Ports.model_fields})


@pytest.fixture
def supervisor(settings, tmp_path):
    """A stack whose store runs, and answers nobody."""
    made = Supervisor(run=settings.run, logs=settings.logs)
    command = [sys.executable, "-c", "import time; time.sleep(300)"]
    service = Service(
        name=ServiceName.STORE_A, command=command, settings={}, inherited={}, cwd=tmp_path
    )
    made.start(service)
    yield made
    made.stop([ServiceName.STORE_A], grace_s=5)


def test_a_service_without_a_process_is_stopped(supervisor, settings, ports):
    line = status_of(ServiceName.STORE_B, supervisor, settings, ports)
    assert (line.state, line.pid, line.port) == (State.STOPPED, None, ports.store_b)
    assert line.reason


def test_a_process_that_does_not_answer_is_not_healthy(supervisor, settings, ports):
    line = status_of(ServiceName.STORE_A, supervisor, settings, ports)
    assert line.state is State.UNHEALTHY
    assert line.reason


def test_a_service_that_cannot_be_asked_is_not_healthy_and_says_why(supervisor, settings, ports):
    wrong = settings.home / "config/backup.yaml"
    wrong.parent.mkdir()
    wrong.write_text("regions: []\n")
    line = status_of(ServiceName.STORE_A, supervisor, settings, ports)
    assert line.state is State.UNHEALTHY
    assert "backup.yaml: regions" in line.reason


def test_addresses_show_no_secret_when_printed(settings, ports):
    secrets = load_or_create_secrets(settings.secrets)
    found = addresses_of(settings, secrets, ports)
    assert found.mlflow_url == f"http://127.0.0.1:{ports.mlflow}"
    assert secrets.postgres in found.database_url
    assert not [name for name in MAKERS if getattr(secrets, name) in repr(found)]
