"""AWS Budgets is moto's; what moto lacks, and every refusal, is recorded (botocore's Stubber)."""

from datetime import UTC, datetime

import boto3
import pytest
from botocore.stub import ANY, Stubber
from moto import mock_aws

from greenlight.adapters.aws_budgets import AwsBudgets, plan_sync
from greenlight.core.errors import ConfigError, UnavailableError
from greenlight.cost.budgets_file import AwsBudgetsSettings, Budget

ACCOUNT = "123456789012"


@pytest.fixture(autouse=True)
def keys(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")


def settings(**changes):
    fields = {"account_id": ACCOUNT, "tags": {"tenant": "team"}, "emails": ["a@example.org"]}
    return AwsBudgetsSettings.model_validate(fields | changes)


def a_budget(name="acme", **changes):
    fields = {"name": name, "amount": "100", "scope": {"tenant": name}}
    return Budget.model_validate(fields | changes)


def there(client):
    return {one["BudgetName"]: one for one in client.describe_budgets(AccountId=ACCOUNT)["Budgets"]}


def a_client():
    return boto3.client("budgets", "us-east-1")


@mock_aws
def test_a_budget_is_made_with_its_tag_its_limit_and_its_thresholds():
    client = a_client()
    plan = AwsBudgets(settings(), client=client).sync([a_budget()], currency="USD")
    assert len(plan.create) == 1
    made = there(client)["greenlight-acme"]
    assert made["BudgetLimit"] == {"Amount": "100", "Unit": "USD"}
    assert made["CostFilters"] == {"TagKeyValue": ["user:team$acme"]}
    told = client.describe_notifications_for_budget(
        AccountId=ACCOUNT, BudgetName="greenlight-acme"
    )["Notifications"]
    assert {(one["NotificationType"], one["Threshold"]) for one in told} == {
        ("ACTUAL", 80),
        ("ACTUAL", 100),
        ("FORECASTED", 100),
    }


@mock_aws
def test_a_second_sync_finds_nothing_to_do():
    syncing = AwsBudgets(settings(), client=a_client())
    syncing.sync([a_budget()], currency="USD")
    plan = syncing.sync([a_budget()], currency="USD")
    assert (plan.create, plan.update, plan.delete) == ((), (), ())


@mock_aws
def test_what_greenlight_did_not_make_is_not_touched():
    client = a_client()
    client.create_budget(
        AccountId=ACCOUNT,
        Budget={
            "BudgetName": "finance-own",
            "BudgetType": "COST",
            "TimeUnit": "MONTHLY",
            "BudgetLimit": {"Amount": "5", "Unit": "USD"},
        },
    )
    syncing = AwsBudgets(settings(), client=client)
    syncing.sync([a_budget()], currency="USD")
    plan = syncing.sync([], currency="USD")
    assert plan.delete == ("greenlight-acme",)
    assert set(there(client)) == {"finance-own"}


@mock_aws
def test_thresholds_that_change_are_changed_there():
    client = a_client()
    syncing = AwsBudgets(settings(), client=client)
    syncing.sync([a_budget()], currency="USD")
    syncing.sync([a_budget(actual=["0.5"], forecast=[])], currency="USD")
    told = client.describe_notifications_for_budget(
        AccountId=ACCOUNT, BudgetName="greenlight-acme"
    )["Notifications"]
    assert [(one["NotificationType"], one["Threshold"]) for one in told] == [("ACTUAL", 50)]


def test_what_aws_can_not_keep_is_said():
    plan = plan_sync(
        [a_budget("m", scope={"model": "x"}), a_budget("w", period="week")],
        [],
        settings(),
        currency="USD",
    )
    assert plan.create == ()
    assert {one.name: one.why for one in plan.left_out} == {
        "m": "model has no cost allocation tag: name it in aws.tags",
        "w": "AWS has no budgets for a week",
    }


def recorded(*calls):
    """Return a sync whose client answers so: a call's name, then what comes or the error's code."""
    client = a_client()
    stub = Stubber(client)
    for name, answer in calls:
        if isinstance(answer, dict):
            stub.add_response(name, answer)
        else:
            code, status = answer
            stub.add_client_error(name, code, "recorded", http_status_code=status)
    stub.activate()
    return AwsBudgets(settings(), client=client)


def as_found(amount="100", name="greenlight-acme"):
    return {
        "BudgetName": name,
        "BudgetType": "COST",
        "TimeUnit": "MONTHLY",
        "BudgetLimit": {"Amount": f"{amount}.0", "Unit": "USD"},
        "CostFilters": {"TagKeyValue": ["user:team$acme"]},
        "LastUpdatedTime": datetime(2026, 11, 1, tzinfo=UTC),
    }


FOUND = ("describe_budgets", {"Budgets": [as_found("90")]})
NONE = ("describe_budgets", {"Budgets": []})
TOLD = ("describe_notifications_for_budget", {"Notifications": []})


def test_a_limit_that_changed_is_updated_and_all_pages_are_read():
    client = a_client()
    stub = Stubber(client)
    stub.add_response(
        "describe_budgets",
        {"Budgets": [as_found(name="other")], "NextToken": "2"},
        {"AccountId": ACCOUNT},
    )
    stub.add_response(
        "describe_budgets",
        {"Budgets": [as_found("90")]},
        {"AccountId": ACCOUNT, "NextToken": "2"},
    )
    stub.add_response("update_budget", {}, {"AccountId": ACCOUNT, "NewBudget": ANY})
    stub.add_response("describe_notifications_for_budget", {"Notifications": []})
    stub.activate()
    plan = AwsBudgets(settings(), client=client).sync(
        [a_budget(actual=[], forecast=[])], currency="USD"
    )
    assert [one["BudgetLimit"]["Amount"] for one in plan.update] == ["100"]
    stub.assert_no_pending_responses()


REFUSED = ("AccessDeniedException", 400)
BUSY = ("ThrottlingException", 400)
BROKEN = ("InternalErrorException", 500)


@pytest.mark.parametrize(("answer", "error"), [
    (REFUSED, ConfigError), (BUSY, UnavailableError), (BROKEN, UnavailableError),
])  # fmt: skip
@pytest.mark.parametrize(
    ("before", "call", "budgets"),
    [
        ([], "describe_budgets", [a_budget()]),
        ([NONE], "create_budget", [a_budget()]),
        ([FOUND], "update_budget", [a_budget()]),
        ([FOUND], "delete_budget", []),
        ([FOUND, ("update_budget", {})], "describe_notifications_for_budget", [a_budget()]),
        ([FOUND, ("update_budget", {}), TOLD], "create_notification", [a_budget()]),
    ],
)
def test_a_refusal_of_each_call_says_whether_to_try_again(before, call, budgets, answer, error):
    syncing = recorded(*before, (call, answer))
    right = "View" if call.startswith("describe") else "Modify"
    with pytest.raises(error, match=f"budgets:{right}Budget"):
        syncing.sync(budgets, currency="USD")


def test_a_refusal_to_take_a_threshold_away_is_told_too():
    told = {
        "Notifications": [
            {
                "NotificationType": "ACTUAL",
                "ComparisonOperator": "GREATER_THAN",
                "Threshold": 33.0,
                "NotificationState": "OK",
            }
        ]
    }
    found = ("describe_budgets", {"Budgets": [as_found()]})
    syncing = recorded(
        found, ("describe_notifications_for_budget", told), ("delete_notification", REFUSED)
    )
    with pytest.raises(ConfigError, match="budgets:ModifyBudget"):
        syncing.sync([a_budget(actual=[], forecast=[])], currency="USD")
