"""A real Alertmanager takes the alerts, counts the same one once, and forgets what is over."""

import time
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from greenlight.adapters.alertmanager_api import AlertmanagerApi
from greenlight.adapters.processes import LeashedProcess, find_program
from greenlight.core.errors import ConfigError
from greenlight.cost.alerts import Alert, Severity
from greenlight.testing.servers import free_port

PROGRAM = find_program("prometheus-alertmanager") or find_program("alertmanager")
READY_S = 60.0

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="Alertmanager is not installed")


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alert manager")
    config = folder / "alertmanager.yml"
    config.write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
    where = f"http://127.0.0.1:{free_port()}"
    command = [
        PROGRAM,
        f"--config.file={config}",
        f"--storage.path={folder / 'data'}",
        f"--web.listen-address={where.removeprefix('http://')}",
        "--cluster.listen-address=",
    ]
    with (folder / "log").open("wb") as log, LeashedProcess(command, stdout=log, stderr=log):
        until = time.monotonic() + READY_S
        while not is_ready(where):
            assert time.monotonic() < until, (folder / "log").read_text()
            time.sleep(0.1)
        yield where


def is_ready(where):
    try:
        return httpx.get(f"{where}/-/ready", trust_env=False).is_success
    except httpx.TransportError:
        return False


def an_alert(budget, *, ends_in=timedelta(hours=3)):
    now = datetime.now(UTC)
    return Alert(
        key=f"budget/{budget}/2026-11/actual/0.8",
        name="BudgetSpent",
        severity=Severity.WARNING,
        summary="80 % are spent",
        description="80.00 of 100.00",
        labels={"budget": budget},
        starts_at=now - timedelta(hours=1),
        ends_at=now + ends_in,
    )


def standing(url, budget):
    found = httpx.get(
        f"{url}/api/v2/alerts", params={"filter": f'budget="{budget}"'}, trust_env=False
    )
    return found.json()


def eventually(url, budget, count):
    until = time.monotonic() + READY_S
    while len(found := standing(url, budget)) != count:
        assert time.monotonic() < until, found
        time.sleep(0.1)
    return found


def test_the_same_alert_every_hour_is_one_alert(url):
    AlertmanagerApi(url).send([an_alert("hourly")])
    AlertmanagerApi(url).send([an_alert("hourly")])
    (found,) = eventually(url, "hourly", 1)
    assert found["labels"]["severity"] == "warning"
    assert found["annotations"]["summary"] == "80 % are spent"


def test_an_alert_that_is_over_is_gone(url):
    AlertmanagerApi(url).send([an_alert("over")])
    eventually(url, "over", 1)
    AlertmanagerApi(url).send([an_alert("over", ends_in=timedelta(seconds=-1))])
    eventually(url, "over", 0)


def test_what_alertmanager_refuses_is_told_with_its_words(url):
    with pytest.raises(ConfigError, match="refuses 1 alerts with 400"):
        AlertmanagerApi(url).send([an_alert("odd", ends_in=timedelta(hours=-2))])
