"""Memory and moto's SQS hand out messages in the same way."""

import boto3
import pytest
from moto import mock_aws

from greenlight.adapters.aws_events import SqsEvents
from greenlight.testing.event_queue_contract import EventQueueContract
from greenlight.testing.manual_clock import ManualClock
from greenlight.testing.memory_aws import MemoryEvents

REGION = "eu-west-2"


class TestMemory(EventQueueContract):
    @pytest.fixture
    def queue(self):
        return MemoryEvents(ManualClock())

    @pytest.fixture
    def send(self, queue):
        return queue.send


class TestSqs(EventQueueContract):
    @pytest.fixture
    def client(self, monkeypatch):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        with mock_aws():
            yield boto3.client("sqs", REGION)

    @pytest.fixture
    def address(self, client):
        return client.create_queue(QueueName="notices")["QueueUrl"]

    @pytest.fixture
    def queue(self, client, address):
        return SqsEvents(address, region=REGION, client=client)

    @pytest.fixture
    def send(self, client, address):
        return lambda body: client.send_message(QueueUrl=address, MessageBody=body)
