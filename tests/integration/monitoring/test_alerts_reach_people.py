"""The shipped rules and the shipped routes, through real servers, to people's doors.

Prometheus finds what is wrong, Alertmanager groups it, keeps the lesser quiet and sends the rest.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.header import decode_header, make_header
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from moto.core import DEFAULT_ACCOUNT_ID
from moto.server import ThreadedMotoServer
from moto.sns.models import sns_backends
from told_worlds import Mailbox, Sink, alertmanager, prometheus, with_everybody

from greenlight.adapters.alertmanager_api import RUNBOOK, AlertmanagerApi
from greenlight.adapters.processes import find_program
from greenlight.core.settings import PROJECT
from greenlight.cost.alerts import Alert, Severity
from greenlight.testing.waiting import wait_for

ALERTMANAGER = find_program("prometheus-alertmanager") or find_program("alertmanager")
PROMETHEUS = shutil.which("prometheus")
AMTOOL = shutil.which("amtool")
FILES = [
    PROJECT / "include/config/alertmanager.example.yaml",
    PROJECT / "docker/config/alertmanager.yaml",
]
pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.skipif(
        not (ALERTMANAGER and PROMETHEUS and AMTOOL), reason="Prometheus is not installed"
    ),
]
TOLD_S = 60.0
told = partial(wait_for, seconds=TOLD_S, every_s=0.2)
REGION = "eu-central-1"
METRICS = """\
greenlight_live_version{fleet="one",model="m",colour="green"} 3
greenlight_fleet_drift{fleet="one"} 1
greenlight_fleet_drift{fleet="two"} 4
greenlight_exporter_up{part="rollouts"} 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Who was told what, and where cost alerts are sent."""

    web: Sink
    mailbox: Mailbox
    alertmanager: str

    def paged(self) -> dict[str, list[dict[str, Any]]]:
        """The pager's messages by what they are about."""
        found: dict[str, list[dict[str, Any]]] = {}
        for message in self.web.at("/pager"):
            found.setdefault(message["groupLabels"]["alertname"], []).append(message)
        return found

    def said(self, name: str) -> list[str]:
        """What the chat was told about an alert, as text."""
        posts = [one["attachments"][0] for one in self.web.at("/slack")]
        return [f"{one['title']} {one['text']}" for one in posts if name in one["title"]]

    def published(self) -> list[tuple[str, str]]:
        """Subject and text of what went to the topic."""
        (topic,) = sns_backends[DEFAULT_ACCOUNT_ID][REGION].topics.values()
        return [(str(one[2]), str(one[1])) for one in topic.sent_notifications]


@pytest.fixture(scope="module")
def aws() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, aws: str) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("people") / "a home"
    folder.mkdir()
    assert ALERTMANAGER
    assert PROMETHEUS
    with Sink(METRICS) as web, Mailbox() as mailbox:
        config = with_everybody(FILES[0])
        config["route"] |= {"group_wait": "5s", "group_interval": "2s"}
        reach(config, folder, web=web, mailbox=mailbox, aws=aws)
        with (
            alertmanager(str(ALERTMANAGER), folder, config) as url,
            prometheus(PROMETHEUS, folder, alertmanager=url, metrics=web.address),
        ):
            yield World(web=web, mailbox=mailbox, alertmanager=url)


def reach(config: dict[str, Any], folder: Path, *, web: Sink, mailbox: Mailbox, aws: str) -> None:
    """Put our doors in the place of the example's; routes and messages stay as shipped."""
    by_name = {one["name"]: one for one in config["receivers"]}
    for name in ("pager_token", "slack_url"):
        (folder / name).write_text("a-token" if "token" in name else f"http://{web.address}/slack")
    (pager,) = by_name["pager"]["webhook_configs"]
    pager["url"] = f"http://{web.address}/pager"
    pager["http_config"]["authorization"]["credentials_file"] = str(folder / "pager_token")
    by_name["team"]["slack_configs"][0]["api_url_file"] = str(folder / "slack_url")
    (mail,) = by_name["team"]["email_configs"]
    mail |= {"smarthost": mailbox.address, "require_tls": False}
    del mail["auth_username"], mail["auth_password_file"]
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    sns = boto3.client("sns", endpoint_url=aws, region_name=REGION, **keys)
    (topic,) = by_name["finance"]["sns_configs"]
    topic["topic_arn"] = sns.create_topic(Name="greenlight-budgets")["TopicArn"]
    topic["api_url"] = aws
    topic["sigv4"] |= {"access_key": "test", "secret_key": "test"}


def test_two_hosts_of_a_fleet_are_one_message_with_numbers_and_a_runbook(world: World) -> None:
    def both() -> dict[str, Any] | None:
        return next((m for m in world.paged().get("EngineDown", []) if len(m["alerts"]) == 2), None)

    message = told(both)
    assert message["status"] == "firing"
    assert {one["labels"]["host"] for one in message["alerts"]} == {"gpu-1", "gpu-2"}
    for one in message["alerts"]:
        assert one["labels"]["host"] in one["annotations"]["summary"]
        page, _, part = one["annotations"]["runbook_url"].partition("#")
        assert f"## {part}" in (PROJECT / page).read_text().lower()
    headers = next(headers for path, headers, _ in world.web.posted if path == "/pager")
    assert headers["Authorization"] == "Bearer a-token"


def test_what_a_greater_alert_explains_stays_quiet(world: World) -> None:
    told(lambda: "RouterDown" in world.paged())
    (drift,) = {text for text in told(lambda: world.said("FleetDrift"))}
    assert "Fleet two" in drift
    active = AlertsOf(world.alertmanager)
    assert told(lambda: active.state("FleetDrift", "one")) == "suppressed"
    assert active.state("FleetDrift", "two") == "active"


def test_a_warning_goes_to_the_chat_and_the_mailbox_and_wakes_nobody(world: World) -> None:
    (text,) = told(lambda: world.said("FleetDrift"))
    for part in ("4 things differ", "docs/runbooks/deploy.md#fleetdrift"):
        assert part in text

    def mail() -> str | None:
        for message in world.mailbox.messages:
            if "FleetDrift" in str(make_header(decode_header(message["Subject"]))):
                parts = [p.get_payload(decode=True) for p in message.walk()]
                return " ".join(p.decode() for p in parts if isinstance(p, bytes))
        return None

    body = told(mail)
    for part in ("4 things differ", "docs/runbooks/deploy.md#fleetdrift"):
        assert part in body
    assert not {"FleetDrift"} & world.paged().keys()
    assert not [m for m in world.mailbox.messages if "EngineDown" in str(m["Subject"])]


def test_money_goes_to_the_topic_of_finance_however_grave(world: World) -> None:
    now = datetime.now(UTC)
    alert = Alert(
        key="budget/team/2026-11/actual/1", name="BudgetSpent", severity=Severity.CRITICAL,
        summary="Budget team: 100% of 900.00 USD spent", description="912.50 of 900.00",
        labels={"budget": "team"}, starts_at=now, ends_at=now + timedelta(hours=1),
    )  # fmt: skip
    AlertmanagerApi(world.alertmanager).send([alert])
    ((subject, text),) = told(world.published)
    assert subject == "firing: BudgetSpent"
    assert "912.50 of 900.00" in text
    assert RUNBOOK in text
    assert "BudgetSpent" not in world.paged()


class AlertsOf:
    """What Alertmanager does with the alerts it has."""

    def __init__(self, url: str) -> None:
        import httpx

        self._ask = partial(httpx.get, f"{url}/api/v2/alerts", trust_env=False)

    def state(self, name: str, fleet: str) -> str | None:
        for one in self._ask().json():
            if (one["labels"]["alertname"], one["labels"].get("fleet")) == (name, fleet):
                return str(one["status"]["state"])
        return None


def amtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    assert AMTOOL
    return subprocess.run(
        [AMTOOL, *arguments], capture_output=True, text=True, check=False, timeout=30
    )


def routed(path: Path, **labels: str) -> str:
    pairs = [f"{name}={value}" for name, value in labels.items()]
    done = amtool("config", "routes", "test", f"--config.file={path}", *pairs)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("path", FILES, ids=["example", "compose"])
def test_as_shipped_it_is_valid_and_tells_nobody(path: Path) -> None:
    assert amtool("check-config", str(path)).returncode == 0
    assert routed(path, severity="critical", alertname="EngineDown") == "nobody"


@pytest.mark.parametrize("path", FILES, ids=["example", "compose"])
def test_with_everybody_it_is_valid_and_routes_by_severity_and_money(
    path: Path, tmp_path: Path
) -> None:
    everybody = tmp_path / "a file.yaml"
    everybody.write_text(yaml.safe_dump(with_everybody(path)))
    done = amtool("check-config", str(everybody))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 receivers" in done.stdout
    assert routed(everybody, severity="critical", alertname="EngineDown") == "pager"
    assert routed(everybody, severity="warning", alertname="DiskFull") == "team"
    assert routed(everybody, severity="critical", alertname="BudgetSpent") == "finance"
    assert routed(everybody, severity="warning", alertname="CostAnomaly") == "finance"
    assert routed(everybody, severity="info", alertname="X") == "nobody"
    everybody.write_text(everybody.read_text().replace("receiver: team", "receiver: nobody-else"))
    assert amtool("check-config", str(everybody)).returncode != 0


def test_both_files_say_the_same_but_for_their_heads_and_folders() -> None:
    example, compose = (
        path.read_text().partition("\nroute:")[2].replace(folder, "FOLDER")
        for path, folder in zip(FILES, ("/etc/greenlight", "/run/secrets"), strict=True)
    )
    assert example == compose
