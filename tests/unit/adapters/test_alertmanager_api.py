import json
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from greenlight.adapters.alertmanager_api import RUNBOOK, AlertmanagerApi
from greenlight.core.errors import ConfigError, UnavailableError
from greenlight.core.settings import PROJECT
from greenlight.cost.alerts import Alert, Severity
from greenlight.testing.servers import free_port

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)


def an_alert():
    return Alert(
        key="budget/prod/2026-11/actual/0.8#1",
        name="BudgetSpent",
        severity=Severity.WARNING,
        summary="80 % are spent",
        description="80.00 of 100.00",
        labels={"budget": "prod"},
        starts_at=NOON,
        ends_at=NOON + timedelta(hours=3),
    )


def answering(status, text=""):
    seen = []

    def answer(request):
        seen.append(request)
        return httpx.Response(status, text=text)

    return AlertmanagerApi("http://am:9093/", transport=httpx.MockTransport(answer)), seen


def test_alerts_are_posted_in_one_call_as_alertmanager_wants_them():
    api, seen = answering(200)
    api.send([an_alert(), an_alert()])
    (request,) = seen
    assert str(request.url) == "http://am:9093/api/v2/alerts"
    sent = json.loads(request.content)
    assert len(sent) == 2
    assert sent[0]["labels"] == {
        "alertname": "BudgetSpent",
        "severity": "warning",
        "budget": "prod",
    }
    assert sent[0]["annotations"]["description"] == "80.00 of 100.00"
    assert sent[0]["startsAt"] == "2026-11-26T12:00:00+00:00"
    assert sent[0]["endsAt"] == "2026-11-26T15:00:00+00:00"


def test_nothing_to_tell_asks_nobody():
    api, seen = answering(500)
    api.send([])
    assert seen == []


@pytest.mark.parametrize(
    ("status", "error"),
    [(500, UnavailableError), (429, UnavailableError), (400, ConfigError), (404, ConfigError)],
)
def test_a_refusal_says_whether_to_try_again(status, error):
    api, _ = answering(status, "bad label")
    with pytest.raises(error, match=f"{status}.*bad label"):
        api.send([an_alert()])


def test_an_alertmanager_that_is_away_can_be_tried_again():
    with pytest.raises(UnavailableError, match="does not answer"):
        AlertmanagerApi(f"http://127.0.0.1:{free_port()}").send([an_alert()])


def test_an_address_that_is_none_is_a_setting_to_mend():
    with pytest.raises(ConfigError, match="alertmanager_url"):
        AlertmanagerApi("alertmanager:9093").send([an_alert()])


def test_the_runbook_that_is_named_has_that_part():
    page, _, part = RUNBOOK.partition("#")
    headings = [
        line.removeprefix("## ").lower().replace(" ", "-")
        for line in (PROJECT / page).read_text().splitlines()
        if line.startswith("## ")
    ]
    assert part in headings
