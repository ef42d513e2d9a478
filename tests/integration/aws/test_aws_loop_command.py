"""`greenlight scaling aws-loop` as it is started: files, PostgreSQL, Prometheus, HAProxy, AWS."""

import shutil
from datetime import UTC, datetime, timedelta

import boto3
import pytest
import yaml
from typer.testing import CliRunner

from greenlight.adapters.aws_schedules import NAMESPACE
from greenlight.adapters.haproxy.router import HaproxyRouter
from greenlight.adapters.rollout_store import DatabaseJournal, DatabaseLeases
from greenlight.cli.main import build
from greenlight.core.metrics import MetricName
from greenlight.deploy.colours import Colour
from greenlight.deploy.fleet import FleetFile
from greenlight.deploy.journal import Event, Phase, Step
from greenlight.deploy.ports import ServerMode
from greenlight.testing.haproxy_worlds import a_fleet, health_pages
from greenlight.testing.memory_aws import interruption
from greenlight.testing.prometheus_servers import prometheus_server
from greenlight.testing.rollout_contract import a_rollout
from greenlight.testing.waiting import wait_for

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(
        not (shutil.which("haproxy") and shutil.which("prometheus")),
        reason="HAProxy or Prometheus is not installed",
    ),
]
HOSTS = ("gpu-0", "gpu-1", "gpu-2")


def instance(number):
    return f"i-{number:017x}"


@pytest.fixture
def queue(aws):
    return boto3.client("sqs").create_queue(QueueName="greenlight-lab")["QueueUrl"]


@pytest.fixture
def router(database_engine, queue, tmp_path, monkeypatch):
    """A fleet of three hosts that serve blue, described in files of a home with spaces."""
    home = tmp_path / "a home with spaces"
    with health_pages(HOSTS) as pages, prometheus_server(tmp_path / "prometheus", "# EOF\n") as url:
        fleet = a_fleet({key: page.port for key, page in pages.items()}).model_dump(mode="json")
        for number, host in enumerate(fleet["hosts"]):
            host["ssm"] = {"instance_id": instance(number), "bucket": "models"}
        scaling = {
            "ceiling": 3,
            "machine_start_s": 1,
            "demand_query": "vector(300)",
            "target": {
                "kind": "aws_autoscaling",
                "group": "lab-gpu",
                "region": "eu-west-2",
                "events": queue,
            },
        }
        (home / "config").mkdir(parents=True)
        (home / "config/fleet.yaml").write_text(yaml.safe_dump({"fleets": [fleet]}))
        (home / "config/scaling.yaml").write_text(yaml.safe_dump({"fleets": {"lab": scaling}}))
        for name, value in {
            "HOME": str(home),
            "DATABASE_URL": database_engine.url.render_as_string(hide_password=False),
            "PROMETHEUS_URL": url,
            "MLFLOW_URL": "http://127.0.0.1:9",  # nobody asks it
        }.items():
            monkeypatch.setenv(f"GREENLIGHT_{name}", value)
        (described,) = FleetFile.model_validate({"fleets": [fleet]}).fleets
        found = HaproxyRouter(described, folder=home / "router/lab")
        found.ensure_running()
        found.set_modes({(host, Colour.BLUE): ServerMode.READY for host in HOSTS}, fence=0)
        wait_for(lambda: all(server.up for server in found.state().of(Colour.BLUE)))
        found.shift({Colour.BLUE: 100}, fence=0)
        journal = DatabaseJournal(database_engine)
        journal.open_rollout(a_rollout("to-1", fleet="lab"))
        journal.append(
            Event(
                rollout_id="to-1",
                at=datetime.now(UTC),
                step=Step.FINISH,
                phase=Phase.DONE,
                detail={"outcome": "live"},
            )
        )
        yield found
        found.stop(grace_s=0)


def run(*options):
    done = CliRunner().invoke(build(), ["scaling", "aws-loop", "lab", *options])
    assert done.exit_code == 0, (done.output, done.exception)
    return " ".join(done.output.split())


def modes(router):
    return [str(server.mode) for server in router.state().of(Colour.BLUE)]


def test_a_host_is_drained_and_the_load_is_published(router, queue, database_engine, tmp_path):
    now = datetime.now(UTC)
    told = interruption(instance(0), told=now)
    boto3.client("sqs").send_message(QueueUrl=queue, MessageBody=told)
    planned = run("--dry-run")
    assert "would drain gpu-0: it is taken in" in planned
    assert "tokens_per_second is 100.0 for each of 3 hosts" in planned
    assert modes(router) == ["ready"] * 3
    assert not boto3.client("cloudwatch").list_metrics()["Metrics"]

    said = run("--once")
    assert "drain gpu-0: it is taken in" in said
    assert "tokens_per_second is 150.0 for each of 2 hosts" in said
    assert modes(router) == ["drain", "ready", "ready"]
    events = DatabaseJournal(database_engine).events("to-1")
    drains = [(one.subject, one.phase) for one in events if one.step is Step.DRAIN]
    assert drains == [("gpu-0", Phase.BEGAN), ("gpu-0", Phase.DONE)]
    assert DatabaseLeases(database_engine).current("lab") is None
    found = boto3.client("cloudwatch").get_metric_statistics(
        Namespace=NAMESPACE,
        MetricName="tokens_per_second",
        Dimensions=[{"Name": "fleet", "Value": "lab"}],
        StartTime=now - timedelta(minutes=5),
        EndTime=now + timedelta(minutes=5),
        Period=60,
        Statistics=["Average"],
    )
    assert [point["Average"] for point in found["Datapoints"]] == [150.0]
    written = (tmp_path / "a home with spaces/metrics/aws-lab.prom").read_text()
    assert f'{MetricName.HOSTS_BEING_TAKEN}{{fleet="lab"}} 1.0' in written
