"""Every call of AWS, refused as AWS refuses it (recorded, botocore's Stubber), says what to do.

Services whose adapters' own tests do this for each of their calls are listed with that test.
"""

from datetime import UTC, datetime
from pathlib import Path

import boto3
import pytest
from aws_operations import all_called
from botocore.stub import Stubber

from greenlight.adapters import s3, secrets_manager
from greenlight.adapters.aws_events import AutoScalingEnds, SqsEvents
from greenlight.adapters.aws_load import CloudWatchLoad
from greenlight.adapters.hosts.ssm import SsmTransport
from greenlight.adapters.set_store import S3SetStore
from greenlight.backup.backup_file import S3Store
from greenlight.core.digest import FileEntry
from greenlight.core.errors import ConfigError, UnavailableError
from greenlight.cost.spot.host_events import HeldEnd
from greenlight.deploy.fleet import SsmAccess

REGION = "eu-west-2"
STORE = S3Store(endpoint="https://127.0.0.1:1", bucket="one", path_style=True)
END = HeldEnd(group="g", hook="greenlight-drain", instance="i-0123456789abcdef0", token="t" * 36)
NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
ACCESS = SsmAccess(instance_id="i-0123456789abcdef0", bucket="models")
SENT = {"Command": {"CommandId": "c" * 36}}
ENTRY = FileEntry(path="weights", size=1, sha256="a" * 64)

ELSEWHERE = {
    "autoscaling": "test_aws_schedules.py",
    "budgets": "test_aws_budgets.py",
    "ce": "test_cost_explorer.py",
    "pricing": "test_aws_prices.py",
    "ec2": "test_aws_prices.py",
    "sns": "test_sns_alerts.py",
}
OF_OTHER_CALLS = {
    ("s3", "AbortMultipartUpload"): "boto3 itself, when an upload fails",
}


@pytest.fixture(autouse=True)
def keys(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)


def queue(client):
    return SqsEvents("https://sqs.eu-west-2.amazonaws.com/1/q", region=REGION, client=client)


def ends(client):
    return AutoScalingEnds("g", region=REGION, client=client)


def host(*, ssm=None, bucket=None):
    times = iter(range(0, 10_000, 50))  # a command is waited for for 76 s
    return SsmTransport(
        ACCESS, ssm=ssm, s3=bucket, poll_s=0, monotonic=lambda: next(times), sleep=lambda _: None
    )


def run(client):
    host(ssm=client).run(["true"], stdin=b"", timeout_s=1)


def upload(client):
    host(bucket=client).upload(
        Path(__file__), "target", entry=ENTRY, offset=0, on_bytes=lambda _: None
    )


def sets(client, tmp_path):
    key = tmp_path / "key"
    key.write_text("k" * 32)
    key.chmod(0o600)
    found = S3SetStore(STORE, region=REGION, signing_key_file=key)
    found._client = client
    return found


def secret(client, monkeypatch):
    monkeypatch.setattr(secrets_manager.boto3, "client", lambda *_, **__: client)
    secrets_manager.fetch_secret("greenlight/production", "gateway_audit")


CALLS = {
    ("sqs", "ReceiveMessage"): lambda c, _: queue(c).receive(hide=True),
    ("sqs", "ChangeMessageVisibility"): lambda c, _: queue(c).keep("r"),
    ("sqs", "DeleteMessage"): lambda c, _: queue(c).delete("r"),
    ("autoscaling", "RecordLifecycleActionHeartbeat"): lambda c, _: ends(c).heartbeat(END),
    ("autoscaling", "CompleteLifecycleAction"): lambda c, _: ends(c).complete(END),
    ("autoscaling", "DescribeLifecycleHooks"): lambda c, _: ends(c).times(),
    ("cloudwatch", "PutMetricData"): lambda c, _: CloudWatchLoad(
        "chat", region=REGION, client=c
    ).publish(1.0, at=NOW),
    ("secretsmanager", "GetSecretValue"): lambda c, given: secret(c, given["monkeypatch"]),
    ("ssm", "SendCommand"): lambda c, _: run(c),
    ("ssm", "GetCommandInvocation"): lambda c, _: run(c),
    ("ssm", "CancelCommand"): lambda c, _: run(c),
    ("s3", "HeadObject"): lambda c, _: upload(c),
    ("s3", "ListObjectsV2"): lambda c, _: s3.reach(c, STORE, prefix=""),
    ("s3", "GetObject"): lambda c, _: s3.get(c, STORE, key="k"),
    ("s3", "PutObject"): lambda c, _: s3.put(c, STORE, key="k", body=b""),
    ("s3", "DeleteObject"): lambda c, _: s3.delete(c, STORE, key="k"),
    ("s3", "GetObjectRetention"): lambda c, given: sets(c, given["tmp_path"]).locked_until("s"),
}
BEFORE = {
    ("ssm", "GetCommandInvocation"): [("send_command", SENT)],
    ("ssm", "CancelCommand"): [
        ("send_command", SENT),
        ("get_command_invocation", {"Status": "InProgress"}),
    ],
}
"""What is answered before the call that is refused."""
DENIED = {
    "autoscaling": ("AccessDenied", 403),
    "s3": ("AccessDenied", 403),
    "sqs": ("AccessDenied", 403),
    "cloudwatch": ("AccessDenied", 403),
}
MISSING = {
    "sqs": ("AWS.SimpleQueueService.NonExistentQueue", 400),
    "autoscaling": ("ValidationError", 400),
    "cloudwatch": ("InvalidParameterValue", 400),
    "secretsmanager": ("ResourceNotFoundException", 400),
    "s3": ("NoSuchBucket", 404),
}
BUSY = {
    "autoscaling": ("Throttling", 400),
    "sqs": ("RequestThrottled", 403),
    "cloudwatch": ("Throttling", 400),
    "s3": ("SlowDown", 503),
}
REFUSALS = {
    "denied": (DENIED, ("AccessDeniedException", 400), ConfigError),
    "missing": (MISSING, None, ConfigError),
    "busy": (BUSY, ("ThrottlingException", 400), UnavailableError),
    "broken": ({}, ("InternalFailure", 503), UnavailableError),
}


WAYS = [(call, how) for call in CALLS for how in REFUSALS if (call[0], how) != ("ssm", "missing")]
"""SSM has nothing that could be missing: an instance that it doesn't know may come back."""


@pytest.mark.parametrize(("call", "how"), WAYS, ids=[f"{':'.join(c)} {how}" for c, how in WAYS])
def test_a_call_that_is_refused_says_whether_to_try_again(call, how, tmp_path, monkeypatch):
    service, operation = call
    by_service, other, error = REFUSALS[how]
    code, status = by_service.get(service) or other
    client = boto3.client(service, REGION)
    with Stubber(client) as stub:
        for name, answer in BEFORE.get(call, ()):
            stub.add_response(name, answer)
        stub.add_client_error(method(client, operation), code, "recorded", status)
        if (operation, how) == ("PutObject", "broken"):
            stub.add_client_error("list_objects_v2", code, "recorded", status)
        with pytest.raises(error):
            CALLS[call](client, {"tmp_path": tmp_path, "monkeypatch": monkeypatch})
        stub.assert_no_pending_responses()


def method(client, operation):
    mapping = client.meta.method_to_api_mapping
    return next(name for name, found in mapping.items() if found == operation)


def test_no_call_is_left_out():
    left = all_called() - CALLS.keys() - OF_OTHER_CALLS.keys()
    assert {service for service, _ in left} <= ELSEWHERE.keys()
    folder = Path(__file__).parent
    for service, operation in left:
        client = boto3.client(service, REGION)
        text = (folder / ELSEWHERE[service]).read_text()
        assert method(client, operation) in text, f"{ELSEWHERE[service]} refuses no {operation}"
