"""A fleet's life on AWS in one story, from its secrets to its bill. AWS is moto's server.

Not real there, and so checked elsewhere or by nobody (`docs/how-to/aws.md` has the list): rights,
commands on hosts, what holds the end of an instance, what a schedule or a loop would do later.
`test_what_moto_lacks_is_still_lacking` keeps that list true.
"""

from __future__ import annotations

import json
import re
import shutil
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import boto3
import httpx
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from greenlight.adapters.aws_budgets import AwsBudgets
from greenlight.adapters.aws_events import AutoScalingEnds, SqsEvents
from greenlight.adapters.aws_load import CloudWatchLoad
from greenlight.adapters.aws_prices import AwsPrices
from greenlight.adapters.aws_schedules import TAG, AwsScheduleTarget
from greenlight.adapters.cost_explorer import CostExplorer
from greenlight.adapters.hosts.ssm import SsmTransport
from greenlight.adapters.secrets_manager import fetch_secret
from greenlight.adapters.set_store import S3SetStore
from greenlight.adapters.sns_alerts import SnsAlerts
from greenlight.backup.backup_file import S3Store
from greenlight.backup.sets import Verdict
from greenlight.core.clock import SystemClock
from greenlight.core.digest import FileEntry
from greenlight.core.errors import ProcessDiedError
from greenlight.core.settings import PROJECT
from greenlight.cost.alerts import Alert, Severity
from greenlight.cost.budgets_file import AwsBudgetsSettings, Budget
from greenlight.cost.spot.host_events import TERMINATING
from greenlight.deploy.colours import Colour
from greenlight.deploy.fleet import Fleet, SsmAccess
from greenlight.deploy.ports import ServerMode
from greenlight.entrypoints.host_notices import HostNotices
from greenlight.entrypoints.rollout_tools import Tools
from greenlight.entrypoints.scaling_apply import ToScaler
from greenlight.scaling.capacity import HostCapacity
from greenlight.scaling.schedule import Limits, Schedule, Size, WeeklyEntry
from greenlight.testing.backup_contract import a_check, a_set
from greenlight.testing.haproxy_worlds import a_fleet, haproxy_router, health_pages
from greenlight.testing.memory_rollouts import MemoryJournal, MemoryLeases
from greenlight.testing.waiting import wait_for

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(shutil.which("haproxy") is None, reason="HAProxy is not installed"),
]
REGION, OTHER_REGION = "eu-west-2", "eu-central-1"
ACCOUNT = "123456789012"
FLEET, GROUP = "lab", "chat-gpu"
HOSTS = ("gpu-0", "gpu-1", "gpu-2")
DOCS = PROJECT / "docs/how-to/aws"
CAPACITY = HostCapacity(tokens_per_second=200.0, source="a benchmark")
ONCE = Config(retries={"total_max_attempts": 1})


def test_a_fleet_lives_on_aws(aws, tmp_path, monkeypatch):
    a_secret_is_read()
    a_tasks_log_is_kept_and_read(tmp_path / "logs", monkeypatch)
    sets_are_backed_up_in_two_regions(aws, tmp_path / "a home with spaces")
    a_model_comes_to_a_bucket_and_a_command_to_a_host(tmp_path)

    instances = a_group_is_made()
    a_schedule_is_applied_and_a_second_time_nothing_changes()
    the_load_is_where_target_tracking_looks_for_it()
    queue = events_come_into_one_queue()
    hosts_are_drained_before_aws_takes_them(instances, queue, tmp_path)

    the_bill_is_read_as_it_was_sent(aws)
    spot_prices_are_read()
    budgets_are_kept_and_who_spends_too_much_is_told()


def a_secret_is_read():
    boto3.client("secretsmanager").create_secret(
        Name="greenlight/production/gateway_audit", SecretString="a-secret-of-some-length"
    )
    assert fetch_secret("greenlight/production", "gateway_audit") == "a-secret-of-some-length"


def a_tasks_log_is_kept_and_read(folder, monkeypatch):
    """Set up Airflow as the page says; the handler is Airflow's own."""
    from airflow.providers.amazon.aws.log.s3_task_handler import S3RemoteLogIO

    page = (DOCS.parent / "aws.md").read_text()
    asked = dict(re.findall(r"^(AIRFLOW__LOGGING__\w+)=(\S+)$", page, re.MULTILINE))
    assert len(asked) == 4
    for name, value in asked.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AIRFLOW__LOGGING__BASE_LOG_FOLDER", str(folder))
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", "aws://")
    make_bucket("example-logs")
    log = folder / "dag_id=d/run_id=r/task_id=t/attempt=1.log"
    log.parent.mkdir(parents=True)
    log.write_text("hello\n")
    kept = S3RemoteLogIO.from_config()
    kept.upload(log)
    assert not log.exists()
    assert kept.read(str(log.relative_to(folder)), None)[1] == ["hello\n"]


def sets_are_backed_up_in_two_regions(aws, home):
    home.mkdir()
    key = home / "signing key"
    key.write_text("k" * 32)
    key.chmod(0o600)
    backup = a_set()
    for region in (REGION, OTHER_REGION):
        store = a_bucket(aws, region)
        sets = S3SetStore(store, region=region, signing_key_file=key)
        sets.put(backup)
        sets.put_verification(a_check(backup).model_copy(update={"region": region}))
        assert sets.ids() == (backup.id,)
        assert sets.get(backup.id) == backup
        assert sets.verification(backup.id).verdict is Verdict.PASS


def a_bucket(aws, region):
    store = S3Store(endpoint="https://127.0.0.1", bucket=f"backups-{region}", region=region)
    make_bucket(store.bucket, region=region)
    return store.model_copy(update={"endpoint": aws, "path_style": True})  # moto has no TLS


def make_bucket(name, *, region=REGION, **options):
    boto3.client("s3", region_name=region).create_bucket(
        Bucket=name, CreateBucketConfiguration={"LocationConstraint": region}, **options
    )


def a_model_comes_to_a_bucket_and_a_command_to_a_host(folder):
    make_bucket("models")
    access = SsmAccess(instance_id="i-0123456789abcdef0", bucket="models")
    host = SsmTransport.connect(access, region=REGION)
    proof = folder / "proof"
    done = host.run(["touch", str(proof)], stdin=b"", timeout_s=5)
    assert (done.code, done.stdout) == (0, b"")
    assert not proof.exists(), "moto runs nothing; tests/unit/adapters/test_hosts_ssm.py does"
    (command,) = boto3.client("ssm").list_commands()["Commands"]
    assert command["InstanceIds"] == [access.instance_id]
    weights = folder / "weights"
    weights.write_bytes(b"w")
    entry = FileEntry(path="weights", size=1, sha256="a" * 64)
    with pytest.raises(ProcessDiedError, match="download"):  # the host would fetch it, and can't
        host.upload(weights, "there", entry=entry, offset=0, on_bytes=lambda _: None)
    kept = boto3.client("s3").list_objects_v2(Bucket="models")["Contents"]
    assert [one["Key"] for one in kept] == [f"greenlight/models/{'a' * 64}"]


def a_group_is_made():
    client = boto3.client("autoscaling")
    client.create_launch_configuration(
        LaunchConfigurationName="lc", ImageId="ami-12345678", InstanceType="g5.xlarge"
    )
    client.create_auto_scaling_group(
        AutoScalingGroupName=GROUP,
        LaunchConfigurationName="lc",
        MinSize=len(HOSTS),
        MaxSize=len(HOSTS),
        AvailabilityZones=[f"{REGION}a"],
        Tags=[{"Key": TAG, "Value": FLEET}],
    )
    (group,) = client.describe_auto_scaling_groups()["AutoScalingGroups"]
    return [instance["InstanceId"] for instance in group["Instances"]]


def a_schedule_is_applied_and_a_second_time_nothing_changes():
    now = datetime.now(UTC)
    size = Size(minimum=2, desired=3, maximum=5)
    schedule = Schedule(
        fleet=FLEET, zone="Europe/London", made_at=now, lead_s=300.0, gpus_per_host=1,
        basis="a story", limits=Limits(floor=1, ceiling=9),
        weekly=(WeeklyEntry(start=0, end=0, size=size, reason="always"),),
    )  # fmt: skip
    target = AwsScheduleTarget(GROUP, fleet=FLEET, region=REGION, clock=SystemClock())
    applier = ToScaler(target=target, utilisation=0.85, drain_s=600, has_loop=True)
    lines = applier.apply(schedule, CAPACITY, now=now)
    assert any("fast loop: tokens_per_second at 170" in line for line in lines)
    assert any("draining: 600 s" in line for line in lines)
    assert applier.apply(schedule, CAPACITY, now=now) == ("nothing to change",)
    assert boto3.client("autoscaling").describe_scheduled_actions()["ScheduledUpdateGroupActions"]


def the_load_is_where_target_tracking_looks_for_it():
    (policy,) = boto3.client("autoscaling").describe_policies()["ScalingPolicies"]
    asked = policy["TargetTrackingConfiguration"]["CustomizedMetricSpecification"]
    now = datetime.now(UTC)
    CloudWatchLoad(FLEET, region=REGION).publish(150.5, at=now)
    found = boto3.client("cloudwatch").get_metric_statistics(
        Namespace=asked["Namespace"],
        MetricName=asked["MetricName"],
        Dimensions=asked["Dimensions"],
        Statistics=[asked["Statistic"]],
        StartTime=now - timedelta(minutes=5),
        EndTime=now + timedelta(minutes=5),
        Period=60,
    )
    assert [point[asked["Statistic"]] for point in found["Datapoints"]] == [150.5]


def events_come_into_one_queue():
    """Set up EventBridge and the queue with the documents' own files."""
    sqs, events = boto3.client("sqs"), boto3.client("events")
    policy = (DOCS / "queue-policy.json").read_text()
    queue = sqs.create_queue(QueueName="greenlight-chat", Attributes={"Policy": policy})["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]
    statement = json.loads(policy)["Statement"][0]
    assert statement["Resource"] == arn["QueueArn"]
    rules = []
    for name, pattern in json.loads((DOCS / "events.json").read_text()).items():
        made = events.put_rule(Name=name, EventPattern=json.dumps(pattern))
        rules.append(made["RuleArn"])
        events.put_targets(Rule=name, Targets=[{"Id": "queue", "Arn": arn["QueueArn"]}])
    assert statement["Condition"]["ArnEquals"]["aws:SourceArn"] == rules
    return queue


class Ends(AutoScalingEnds):
    """moto knows neither heartbeats nor completing: recorded in tests/unit/adapters."""

    def __init__(self):
        super().__init__(GROUP, region=REGION)
        self.calls = []

    def heartbeat(self, end):
        self.calls.append(("heartbeat", end.instance))
        return True

    def complete(self, end):
        self.calls.append(("complete", end.instance))
        return True


def hosts_are_drained_before_aws_takes_them(instances, queue, folder):
    with health_pages(HOSTS) as pages:
        fleet = a_fleet({key: page.port for key, page in pages.items()})
        with haproxy_router(fleet, folder) as router:
            router.set_modes({(h, Colour.BLUE): ServerMode.READY for h in HOSTS}, fence=1)
            wait_for(lambda: all(s.up for s in router.state().of(Colour.BLUE)))
            router.shift({Colour.BLUE: 100}, fence=1)
            counts, ends = [], Ends()
            leases = MemoryLeases(lambda: datetime.now(UTC))
            for _ in range(3):
                leases.acquire(FLEET, holder="earlier rollouts", ttl_s=0)
            notices = HostNotices(
                tools=Tools(
                    fleet=on_instances(fleet, instances),
                    hosts={},
                    router=router,
                    leases=leases,
                    journal=MemoryJournal(leases),
                    models=None,
                    open_prober=None,
                    engine_metrics=None,
                    smoke_test=None,
                ),
                queue=SqsEvents(queue, region=REGION),
                hook=ends,
                drain_s=600,
                needed=lambda: 2,
                count=lambda kind, outcome: counts.append((str(kind), str(outcome))),
            )
            told(instances)
            wait_for(
                lambda: notices.look() and ("termination", "drained") in counts,
                seconds=60,
                why=lambda: counts,
            )
            modes = {s.host: str(s.mode) for s in router.state().of(Colour.BLUE)}
            assert modes == {"gpu-0": "drain", "gpu-1": "drain", "gpu-2": "ready"}
            assert sorted(counts) == [("interruption", "not_ours"), ("termination", "drained")]
            assert [held.host for held in notices.in_hand.values()] == ["gpu-0"]
            assert ends.calls[-1] == ("complete", instances[1])


def on_instances(fleet, instances):
    found = fleet.model_dump(mode="json")
    for host, instance in zip(found["hosts"], instances, strict=True):
        host["ssm"] = {"instance_id": instance, "bucket": "models"}
    return Fleet.model_validate(found)


def told(instances):
    """Let AWS tell of two of our hosts, of a stranger, and of what nobody asked for."""
    warning = "EC2 Spot Instance Interruption Warning"
    entries = [
        ("aws.ec2", warning, {"instance-id": i, "instance-action": "terminate"})
        for i in (instances[0], "i-0fedcba9876543210")
    ]
    end = {
        "AutoScalingGroupName": GROUP,
        "LifecycleHookName": "greenlight-drain",
        "EC2InstanceId": instances[1],
        "LifecycleActionToken": "87654321-4321-4321-4321-210987654321",
        "LifecycleTransition": TERMINATING,
    }
    detail_type = "EC2 Instance-terminate Lifecycle Action"
    entries += [
        ("aws.autoscaling", detail_type, end),
        ("aws.autoscaling", detail_type, end | {"AutoScalingGroupName": "another"}),
        ("aws.ec2", "EC2 Instance State-change Notification", {"instance-id": instances[2]}),
    ]
    boto3.client("events").put_events(
        Entries=[
            {"Source": source, "DetailType": kind, "Detail": json.dumps(detail)}
            for source, kind, detail in entries
        ]
    )


def the_bill_is_read_as_it_was_sent(aws):
    cost = {"UnblendedCost": {"Amount": "28.80", "Unit": "USD"}}
    day = {
        "TimePeriod": {"Start": "2026-11-01", "End": "2026-11-02"},
        "Groups": [{"Keys": ["Amazon EC2"], "Metrics": cost}],
        "Estimated": False,
    }
    httpx.post(
        f"{aws}/moto-api/static/ce/cost-and-usage-results",
        json={"results": [{"ResultsByTime": [day]}]},
        trust_env=False,
    ).raise_for_status()
    bill = CostExplorer().daily(date(2026, 11, 1), date(2026, 11, 2))
    assert bill.amounts == {"2026-11-01 Amazon EC2": Decimal("28.80")}


def spot_prices_are_read():
    now = datetime.now(UTC)
    prices = AwsPrices().spot("g5.xlarge", REGION, start=now - timedelta(hours=1), end=now)
    assert {price.price for price in prices} == {Decimal("0.00001")}, "moto has one price"


def budgets_are_kept_and_who_spends_too_much_is_told():
    settings = AwsBudgetsSettings.model_validate(
        {"account_id": ACCOUNT, "tags": {"tenant": "team"}, "emails": ["a@example.org"]}
    )
    budget = Budget.model_validate({"name": "acme", "amount": "100", "scope": {"tenant": "acme"}})
    for made in (1, 0):
        plan = AwsBudgets(settings).sync([budget], currency="USD")
        assert (len(plan.create), plan.update, plan.delete) == (made, (), ())

    sns, sqs = boto3.client("sns"), boto3.client("sqs")
    topic = sns.create_topic(Name="greenlight-budgets")["TopicArn"]
    inbox = sqs.create_queue(QueueName="inbox")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=inbox, AttributeNames=["QueueArn"])["Attributes"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn["QueueArn"])
    now = datetime.now(UTC)
    alert = Alert(
        key="budget/acme", name="BudgetSpent", severity=Severity.WARNING,
        summary="Budget acme: 80 % are spent", description="80.00 of 100.00", labels={},
        starts_at=now, ends_at=now + timedelta(hours=3),
    )  # fmt: skip
    SnsAlerts(topic).send([alert])
    (message,) = sqs.receive_message(QueueUrl=inbox)["Messages"]
    assert json.loads(message["Body"])["Subject"] == "Budget acme: 80 % are spent"


NAMED = {
    "AutoScalingGroupName": "g",
    "LifecycleHookName": "h",
    "InstanceId": "i-0123456789abcdef0",
}


def ask_for_a_lock():
    make_bucket("locked", ObjectLockEnabledForBucket=True)
    boto3.client("s3").put_object(Bucket="locked", Key="k", Body=b"{}")
    boto3.client("s3", config=ONCE).get_object_retention(Bucket="locked", Key="k")


LACKING = {
    "until when an object is locked": ask_for_a_lock,
    "completing an end": lambda: boto3.client("autoscaling", config=ONCE).complete_lifecycle_action(
        **NAMED, LifecycleActionResult="CONTINUE"
    ),
    "heartbeats": lambda: boto3.client(
        "autoscaling", config=ONCE
    ).record_lifecycle_action_heartbeat(**NAMED),
    "the price list": lambda: boto3.client("pricing", config=ONCE).get_products(
        ServiceCode="AmazonEC2"
    ),
}


@pytest.mark.parametrize("what", LACKING)
def test_what_moto_lacks_is_still_lacking(aws, what):
    """When one of these is there, the story should use it, and the page shouldn't name it."""
    with pytest.raises((ClientError, ResponseParserError)):
        LACKING[what]()


def test_moto_asks_nobody_for_rights(aws, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    assert boto3.client("sns").list_topics()["Topics"] == []
