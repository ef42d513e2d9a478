"""SNS is moto's server here, with a queue behind the topic to read what arrived."""

import json
from datetime import UTC, datetime, timedelta

import boto3
import pytest
from botocore.stub import Stubber
from moto import mock_aws

from greenlight.adapters.sns_alerts import SnsAlerts
from greenlight.core.errors import ConfigError, UnavailableError
from greenlight.cost.alerts import Alert, Severity

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
REGION = "eu-central-1"
TOPIC = f"arn:aws:sns:{REGION}:123456789012:budgets"


@pytest.fixture(autouse=True)
def keys(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")


def an_alert(summary="Budget prod: 80 % are spent"):
    return Alert(
        key="budget/prod/2026-11/actual/0.8#1",
        name="BudgetSpent",
        severity=Severity.WARNING,
        summary=summary,
        description="80.00 of 100.00",
        labels={},
        starts_at=NOON,
        ends_at=NOON + timedelta(hours=3),
    )


@mock_aws
def test_an_alert_arrives_with_its_key_and_severity():
    sns, sqs = boto3.client("sns", REGION), boto3.client("sqs", REGION)
    topic = sns.create_topic(Name="budgets")["TopicArn"]
    queue = sqs.create_queue(QueueName="q")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn["QueueArn"])
    SnsAlerts(topic).send([an_alert()])
    (message,) = sqs.receive_message(QueueUrl=queue)["Messages"]
    body = json.loads(message["Body"])
    assert body["Subject"] == "Budget prod: 80 % are spent"
    assert "budget/prod/2026-11/actual/0.8#1" in body["Message"]
    assert body["MessageAttributes"]["severity"]["Value"] == "warning"


@mock_aws
def test_a_long_subject_with_umlauts_is_cut_to_what_sns_takes():
    sns = boto3.client("sns", REGION)
    topic = sns.create_topic(Name="budgets")["TopicArn"]
    SnsAlerts(topic).send([an_alert("Büdget\n" + "x" * 200)])


def refusing(code, status):
    client = boto3.client("sns", REGION)
    stub = Stubber(client)
    stub.add_client_error("publish", code, "recorded", http_status_code=status)
    stub.activate()
    return SnsAlerts(TOPIC, client=client)


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("NotFound", 404, ConfigError),
        ("AuthorizationError", 403, ConfigError),
        ("Throttled", 503, UnavailableError),
        ("InternalError", 500, UnavailableError),
    ],
)
def test_what_sns_refuses_says_whether_to_try_again(code, status, error):
    with pytest.raises(error, match="sns:Publish"):
        refusing(code, status).send([an_alert()])


@pytest.mark.parametrize("topic", ["budgets", "arn:aws:sqs:eu-central-1:1:q", "arn:aws:sns::1:t"])
def test_a_topic_that_is_no_arn_is_a_setting_to_mend(topic):
    with pytest.raises(ConfigError, match="sns_topic"):
        SnsAlerts(topic)
