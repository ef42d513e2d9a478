"""Which operations of AWS our adapters call, read from their source: nobody has to list them."""

import ast
from functools import cache

import botocore.session
from botocore import xform_name

from greenlight.core.settings import PROJECT

ADAPTERS = PROJECT / "include/greenlight/adapters"
SERVICES = {
    "aws_budgets": ["budgets"],
    "aws_calls": [],
    "aws_events": ["sqs", "autoscaling"],
    "aws_load": ["cloudwatch"],
    "aws_prices": ["pricing", "ec2"],
    "aws_schedules": ["autoscaling"],
    "cost_explorer": ["ce"],
    "hosts/ssm": ["ssm", "s3"],
    "s3": ["s3"],
    "secrets_manager": ["secretsmanager"],
    "set_store": ["s3"],
    "sns_alerts": ["sns"],
}
"""The services that a module talks to. Stores of the embedded stack alone are `stack.object_store`
and `old_versions`, which open no client of their own."""
BESIDE_OPERATIONS = {
    "upload_file": ["PutObject", "AbortMultipartUpload"],
    "generate_presigned_url": ["GetObject"],
}
"""Methods of S3's client that stand for operations."""
TELLS = ("import boto3", "from botocore", "aws_calls import")


def modules():
    """Every adapter that has to do with AWS' libraries."""
    return {
        path.relative_to(ADAPTERS).with_suffix("").as_posix()
        for path in ADAPTERS.rglob("*.py")
        if any(sign in path.read_text() for sign in TELLS)
    }


@cache
def operations(service):
    """Return a service's operations by the names of its client's methods."""
    model = botocore.session.get_session().get_service_model(service)
    return {xform_name(name): name for name in model.operation_names}


def called_in(source, services):
    """Return (service, operation) of everything that a source names as a client's method.

    Methods are called, handed on (`self._client.x`), or named for a paginator.
    """
    named = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            named.add(node.attr)
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("get_paginator"):
            named.add(node.args[0].value)
    found = {
        (service, operations(service)[name])
        for service in services
        for name in named & operations(service).keys()
    }
    if "s3" in services:
        beside = named & BESIDE_OPERATIONS.keys()
        found |= {("s3", operation) for name in beside for operation in BESIDE_OPERATIONS[name]}
    return found


def all_called():
    """Return every (service, operation) that Greenlight calls on AWS."""
    found = set()
    for module, services in SERVICES.items():
        found |= called_in((ADAPTERS / f"{module}.py").read_text(), services)
    return found
