"""The IAM policies of docs/how-to/aws allow what we call, and nothing else."""

import json
import re

import pytest
from aws_operations import ADAPTERS, SERVICES, all_called, called_in, modules

from greenlight.adapters.aws_schedules import HOOK, NAMESPACE, TAG
from greenlight.core.settings import PROJECT

DOCS = PROJECT / "docs/how-to"
FOLDER = DOCS / "aws"
ROLES = ["hosts", "schedules", "aws-loop", "costs", "secrets"]
OTHERS = {
    "airflow-logs": "Airflow's own calls, for logs",
}
"""Policies of what isn't our code."""
ACTION_OF = {
    ("s3", "ListObjectsV2"): "s3:ListBucket",
    ("s3", "HeadObject"): "s3:GetObject",
    ("budgets", "DescribeBudgets"): "budgets:ViewBudget",
    ("budgets", "DescribeNotificationsForBudget"): "budgets:ViewBudget",
    ("budgets", "CreateBudget"): "budgets:ModifyBudget",
    ("budgets", "UpdateBudget"): "budgets:ModifyBudget",
    ("budgets", "DeleteBudget"): "budgets:ModifyBudget",
    ("budgets", "CreateNotification"): "budgets:ModifyBudget",
    ("budgets", "DeleteNotification"): "budgets:ModifyBudget",
}
"""Where an action isn't called like its operation (AWS' Service Authorization Reference)."""
NOT_OURS = {
    "s3:GetBucketLocation": "pgBackRest and restic, for backups",
    "s3:ListBucketMultipartUploads": "restic, for backups",
    "s3:ListMultipartUploadParts": "restic, for backups",
    "kms:Decrypt": "S3 itself, for buckets with a key",
    "kms:GenerateDataKey": "S3 itself, for buckets with a key",
}


def policy(name):
    return json.loads((FOLDER / f"{name}.json").read_text())


def backup_policy():
    """The one of docs/how-to/backup.md."""
    blocks = re.findall(r"```json\n(.*?)```", (DOCS / "backup.md").read_text(), re.DOTALL)
    (found,) = [block for block in blocks if '"Statement"' in block]
    return json.loads(found)


def actions(*policies):
    found = set()
    for one in policies:
        for statement in one["Statement"]:
            listed = statement["Action"]
            found |= {listed} if isinstance(listed, str) else set(listed)
    return found


def needed():
    return {ACTION_OF.get(one, f"{one[0]}:{one[1]}") for one in all_called()}


def allowed():
    return actions(*(policy(name) for name in ROLES), backup_policy())


def test_every_adapter_of_aws_is_looked_at():
    assert modules() == SERVICES.keys()


def test_each_of_these_modules_calls_something():
    """Else a client's methods would be called in a way that isn't seen."""
    for module, services in SERVICES.items():
        found = called_in((ADAPTERS / f"{module}.py").read_text(), services)
        assert {service for service, _ in found} == set(services), module


def test_everything_we_call_is_allowed():
    assert needed() - allowed() == set()


def test_nothing_is_allowed_that_we_do_not_call():
    assert allowed() - needed() - NOT_OURS.keys() == set()


def test_no_exception_has_become_ours():
    assert NOT_OURS.keys() & needed() == set()
    assert NOT_OURS.keys() <= allowed()


def test_a_call_that_is_missing_would_be_seen():
    source = "def f(self):\n    self._client.purge_queue(QueueUrl='q')\n"
    assert called_in(source, ["sqs"]) == {("sqs", "PurgeQueue")}
    assert called_in("c.get_paginator('list_parts')", ["s3"]) == {("s3", "ListParts")}
    assert called_in("pages(c.describe_policies)", ["autoscaling"]) == {
        ("autoscaling", "DescribePolicies")
    }


@pytest.mark.parametrize("name", [*ROLES, *OTHERS])
def test_no_policy_allows_a_whole_service(name):
    for statement in policy(name)["Statement"]:
        assert statement["Effect"] == "Allow"
        assert not [action for action in actions({"Statement": [statement]}) if "*" in action]
        if statement["Resource"] == "*":
            changes = [a for a in actions({"Statement": [statement]}) if not is_a_look(a)]
            assert not changes or "Condition" in statement, f"{statement['Sid']} changes anything"


CANCEL = "ssm:CancelCommand"
"""It knows no resource, so it can't be bound to any (AWS' Service Authorization Reference)."""


def is_a_look(action):
    verb = action.partition(":")[2]
    return verb.startswith(("Describe", "Get", "List", "View")) or action == CANCEL


def test_every_policy_is_in_the_page():
    page = (DOCS / "aws.md").read_text()
    found = {path.stem for path in FOLDER.glob("*.json")}
    assert found == {*ROLES, *OTHERS, "events", "queue-policy"}
    assert [name for name in found if f"aws/{name}.json" not in page] == []


def test_conditions_name_what_the_code_does():
    text = "".join(path.read_text() for path in FOLDER.glob("*.json"))
    assert f'"autoscaling:ResourceTag/{TAG}"' in text
    assert f'"cloudwatch:namespace": "{NAMESPACE}"' in text
    assert f'"LifecycleHookName": ["{HOOK}"]' in text
