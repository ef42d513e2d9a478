"""The doctor where the services are your own."""

from contextlib import closing
from http import HTTPStatus

import pytest

from greenlight.core.findings import Answer
from greenlight.entrypoints.doctor import open_doctor
from greenlight.testing.http_server import HttpThread, QuietHandler
from greenlight.testing.servers import free_port


class Health(QuietHandler):
    """MLflow is well, Airflow is not."""

    def do_GET(self):
        well = self.path in ("/health", "/-/healthy")
        self.send_response(HTTPStatus.OK if well else HTTPStatus.SERVICE_UNAVAILABLE)
        self.send_header("Content-Length", "0")
        self.end_headers()


@pytest.fixture
def doctor(make_settings):
    with closing(HttpThread(Health)) as server:
        yield open_doctor(
            make_settings(
                database_url=f"postgresql+psycopg2://a:hidden@127.0.0.1:{free_port()}/greenlight",
                mlflow_url=server.url,
                airflow_url=f"{server.url}/",
                prometheus_url=server.url,
                secrets_folder=make_settings().home / "given",
            )
        )


def test_each_configured_service_is_asked(doctor):
    found = {one.evidence.partition(" ")[0]: one for one in doctor.run(["stack"])}
    assert [one.answer for one in found.values()] == [
        Answer.UNKNOWN, Answer.OK, Answer.UNKNOWN, Answer.OK,
    ]  # fmt: skip
    assert found["MLflow:"].evidence.startswith("MLflow: answers in 0.")
    database, airflow = (one for one in found.values() if one.answer is Answer.UNKNOWN)
    assert "did not answer" in database.evidence
    assert "hidden" not in database.evidence
    assert "/api/v2/monitor/health does not answer as it should" in airflow.evidence


def test_secrets_that_this_process_was_given_are_read(doctor):
    folder = doctor.settings.secrets
    (none,) = doctor.run(["secrets"])
    assert (none.answer, none.evidence) == (Answer.WARNING, "0 secrets were given to this process")
    folder.mkdir(parents=True)
    (folder / "gateway_audit").write_text("short")
    (folder / "gateway_audit").chmod(0o600)
    weak, given = doctor.run(["secrets"])
    assert (weak.answer, given.answer) == (Answer.FAILED, Answer.OK)
    assert "gateway_audit" in weak.evidence


def test_a_certificate_that_is_on_another_machine_is_not_known(doctor):
    config = doctor.settings.home / "config"
    config.mkdir(parents=True)
    example = doctor.settings.config_folder / "gateway.example.yaml"
    edge = "edge: {port: 8443, certificate: /nowhere/tls.pem, key: /nowhere/tls.key}\n"
    (config / "gateway.yaml").write_text(f"{example.read_text()}\n{edge}")
    (told,) = doctor.run(["certificates"])
    assert told.answer is Answer.UNKNOWN
    assert told.evidence == "edge: /nowhere/tls.pem is not here"
