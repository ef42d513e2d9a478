"""CloudWatch is moto's: what is put there can be read with the query of target tracking."""

from datetime import UTC, datetime, timedelta

import boto3
from moto import mock_aws

from greenlight.adapters.aws_load import CloudWatchLoad
from greenlight.adapters.aws_schedules import NAMESPACE

REGION = "eu-west-2"


@mock_aws
def test_the_load_is_where_target_tracking_looks_for_it(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    now = datetime.now(UTC).replace(microsecond=0)
    CloudWatchLoad("chat", region=REGION).publish(150.5, at=now)
    found = boto3.client("cloudwatch", REGION).get_metric_statistics(
        Namespace=NAMESPACE,
        MetricName="tokens_per_second",
        Dimensions=[{"Name": "fleet", "Value": "chat"}],
        StartTime=now - timedelta(minutes=5),
        EndTime=now + timedelta(minutes=5),
        Period=60,
        Statistics=["Average"],
    )
    assert [point["Average"] for point in found["Datapoints"]] == [150.5]
