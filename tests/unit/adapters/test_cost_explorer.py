"""Cost Explorer is moto's, seeded; what moto can't say is stubbed in its real shape."""

from datetime import date
from decimal import Decimal

import boto3
import httpx
import pytest
from botocore.stub import Stubber
from moto.server import ThreadedMotoServer

from greenlight.adapters.cost_explorer import CostExplorer
from greenlight.core.errors import ConfigError, UnavailableError
from greenlight.cost.reconciliation import reconcile
from greenlight.testing.servers import free_port

START, END = date(2026, 11, 1), date(2026, 11, 3)


def group(service, amount, unit="USD"):
    return {
        "Keys": [service],
        "Metrics": {"UnblendedCost": {"Amount": amount, "Unit": unit}},
    }


def day(start, *groups, estimated=False):
    end = f"{start[:-1]}{int(start[-1]) + 1}"
    return {
        "TimePeriod": {"Start": start, "End": end},
        "Groups": list(groups),
        "Estimated": estimated,
    }


@pytest.fixture(autouse=True)
def credentials(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")


@pytest.fixture
def endpoint():
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def ce():
    with Stubber(boto3.client("ce", region_name="us-east-1")) as stub:
        yield stub


def test_a_bill_is_read_by_day_and_service_and_reconciled(endpoint):
    result = {
        "ResultsByTime": [
            day("2026-11-01", group("Amazon EC2", "28.80"), group("Tax", "1.5")),
            day("2026-11-02", group("Amazon EC2", "30.00"), estimated=True),
        ]
    }
    url = f"{endpoint}/moto-api/static/ce/cost-and-usage-results"
    httpx.post(url, json={"results": [result]}, trust_env=False).raise_for_status()
    bill = CostExplorer(endpoint=endpoint).daily(START, END)
    assert bill.amounts == {
        "2026-11-01 Amazon EC2": Decimal("28.80"),
        "2026-11-01 Tax": Decimal("1.5"),
        "2026-11-02 Amazon EC2": Decimal("30.00"),
    }
    assert (bill.currency, bill.estimated) == ("USD", True)
    ours = {f"2026-11-0{n} Amazon EC2": Decimal("28.80") for n in (1, 2)}
    found = reconcile(ours, bill, currency="USD", tolerance=0.01)
    assert found.amount == Decimal("-2.70")
    assert not found.agrees


def test_pages_are_read_to_the_end(ce):
    first = {"ResultsByTime": [day("2026-11-01", group("S3", "1"))], "NextPageToken": "more"}
    ce.add_response("get_cost_and_usage", first)
    ce.add_response("get_cost_and_usage", {"ResultsByTime": [day("2026-11-02", group("S3", "2"))]})
    assert sum(CostExplorer(client=ce.client).daily(START, END).amounts.values()) == 3
    ce.assert_no_pending_responses()


def test_only_what_carries_the_tag_is_asked_for(ce):
    query = {
        "TimePeriod": {"Start": "2026-11-01", "End": "2026-11-03"},
        "Granularity": "DAILY",
        "Metrics": ["UnblendedCost"],
        "GroupBy": [{"Type": "DIMENSION", "Key": "SERVICE"}],
        "Filter": {"Tags": {"Key": "greenlight", "Values": ["production"]}},
    }
    ce.add_response("get_cost_and_usage", {"ResultsByTime": []}, query)
    bill = CostExplorer(client=ce.client, tag=("greenlight", "production")).daily(START, END)
    assert bill.amounts == {}


def test_an_answer_in_two_currencies_is_refused(ce):
    mixed = [day("2026-11-01", group("S3", "1"), group("EC2", "1", unit="CNY"))]
    ce.add_response("get_cost_and_usage", {"ResultsByTime": mixed})
    with pytest.raises(ConfigError, match="CNY and USD"):
        CostExplorer(client=ce.client).daily(START, END)


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("AccessDeniedException", 400, ConfigError),
        ("ValidationException", 400, ConfigError),
        ("DataUnavailableException", 400, UnavailableError),
        ("LimitExceededException", 400, UnavailableError),
        ("ThrottlingException", 400, UnavailableError),
    ],
)
def test_refusals_are_told_apart(ce, code, status, error):
    ce.add_client_error("get_cost_and_usage", code, "because", status)
    with pytest.raises(error, match="ce:GetCostAndUsage"):
        CostExplorer(client=ce.client).daily(START, END)


def test_a_service_that_is_away_can_be_tried_again():
    away = CostExplorer(endpoint=f"http://127.0.0.1:{free_port()}")
    with pytest.raises(UnavailableError, match="AWS ce does not answer"):
        away.daily(START, END)
