"""Memory and moto's Auto Scaling groups keep schedules in the same way."""

import boto3
import pytest
from moto import mock_aws

from greenlight.adapters.aws_schedules import TAG, AwsScheduleTarget
from greenlight.core.clock import SystemClock
from greenlight.scaling.ports import ScheduleTarget
from greenlight.testing.memory_schedule_target import MemoryScheduleTarget
from greenlight.testing.schedule_target_contract import FOREIGN, ScheduleTargetContract

REGION = "eu-central-1"


class TestMemory(ScheduleTargetContract):
    @pytest.fixture
    def target(self) -> ScheduleTarget:
        return MemoryScheduleTarget(foreign=[FOREIGN])

    @pytest.fixture
    def unmanaged(self) -> ScheduleTarget:
        return MemoryScheduleTarget(managed=False)


class TestAutoScaling(ScheduleTargetContract):
    @pytest.fixture
    def client(self, monkeypatch):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        with mock_aws():
            client = boto3.client("autoscaling", REGION)
            client.create_launch_configuration(
                LaunchConfigurationName="lc", ImageId="ami-12345678", InstanceType="t3.micro"
            )
            for name, value in (("ours", "chat"), ("theirs", "other")):
                client.create_auto_scaling_group(
                    AutoScalingGroupName=name,
                    LaunchConfigurationName="lc",
                    MinSize=1,
                    MaxSize=1,
                    AvailabilityZones=[f"{REGION}a"],
                    Tags=[{"Key": TAG, "Value": value}],
                )
            client.put_scheduled_update_group_action(
                AutoScalingGroupName="ours",
                ScheduledActionName=FOREIGN,
                Recurrence="0 0 * * *",
                MinSize=0,
            )
            yield client

    @pytest.fixture
    def target(self, client) -> ScheduleTarget:
        return AwsScheduleTarget(
            "ours", fleet="chat", region=REGION, clock=SystemClock(), client=client
        )

    @pytest.fixture
    def unmanaged(self, client) -> ScheduleTarget:
        return AwsScheduleTarget(
            "theirs", fleet="chat", region=REGION, clock=SystemClock(), client=client
        )
