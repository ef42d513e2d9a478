"""Who may tell us, how old it may be, and what it says."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from mlflow.webhooks.delivery import _generate_hmac_signature

from greenlight.core.errors import InputError
from greenlight.registry.webhook import (
    WINDOW,
    AliasSet,
    Delivery,
    TagSet,
    parse_event,
    signature_of,
    why_not_trusted,
)

SECRET = "a-secret-that-is-long-enough"
NOW = datetime(2026, 11, 26, 7, tzinfo=UTC)
ALIAS = {"name": "m", "version": "3", "alias": "deploy"}
TAG = {"name": "m", "version": "3", "key": "greenlight.approval", "value": "approved"}


def message(entity="model_version_alias", action="created", data=ALIAS, **more):
    return json.dumps({"entity": entity, "action": action, "data": data} | more).encode()


def a_delivery(body=b"{}", *, at=NOW, secret=SECRET):
    stamp = str(int(at.timestamp()))
    signature = _generate_hmac_signature(secret, "one", stamp, body.decode())
    return Delivery(id="one", timestamp=stamp, signature=signature, body=body)


def why(delivery, secret=SECRET):
    return why_not_trusted(delivery, secret=secret, now=NOW)


def test_what_mlflow_itself_signs_is_trusted():
    assert why(a_delivery(message())) is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"body": b"[]"}, "not that of this body"),
        ({"id": "two"}, "not that of this body"),
        ({"timestamp": str(int(NOW.timestamp()) + 1)}, "not that of this body"),
        ({"signature": "v1,AAAA"}, "not that of this body"),
        ({"signature": "v1,ä"}, "not that of this body"),
        ({"signature": "v2,AAAA"}, "must begin with 'v1,'"),
        ({"signature": None}, "X-MLflow-Signature is missing"),
        ({"signature": ""}, "X-MLflow-Signature is missing"),
        ({"id": None}, "X-MLflow-Delivery-Id is missing"),
        ({"timestamp": None}, "X-MLflow-Timestamp is missing"),
    ],
)
def test_anything_that_was_changed_is_refused_by_name(change, reason):
    assert reason in why(replace(a_delivery(), **change))


def test_a_signature_with_another_secret_is_refused_and_nothing_of_ours_is_told():
    said = why(a_delivery(secret="another-secret-of-the-same-kind"))
    ours = a_delivery()
    assert "not that of this body" in said
    assert SECRET not in said
    assert ours.signature not in said


@pytest.mark.parametrize(("sign", "word"), [(-1, "old"), (1, "ahead of our clock")])
def test_outside_the_window_it_is_refused_and_at_its_edge_it_counts(sign, word):
    assert why(a_delivery(at=NOW + sign * WINDOW)) is None
    late = why(a_delivery(at=NOW + sign * (WINDOW + timedelta(seconds=1))))
    assert f"301 s {word}" in late
    assert "replay" in late


@pytest.mark.parametrize("stamp", ["now", "-5", "1.5", "٣", "9" * 40])
def test_a_time_that_is_none_is_refused_though_it_is_signed(stamp):
    signature = signature_of(b"{}", delivery_id="one", timestamp=stamp, secret=SECRET)
    found = why(Delivery(id="one", timestamp=stamp, signature=signature, body=b"{}"))
    assert found is not None


def test_without_the_secret_nobody_learns_what_our_clock_says():
    old = a_delivery(at=NOW - timedelta(days=1), secret="another-secret-of-the-same-kind")
    assert "not that of this body" in why(old)


def test_an_alias_and_a_tag_are_read():
    assert parse_event(message(workspace="w")) == AliasSet(name="m", version=3, alias="deploy")
    tag = parse_event(message("model_version_tag", "set", TAG))
    assert tag == TagSet(name="m", version=3, key="greenlight.approval", value="approved")


@pytest.mark.parametrize(
    ("entity", "action"),
    [("model_version_alias", "deleted"), ("registered_model", "created"), ("x", "set")],
)
def test_what_nobody_asked_for_is_nothing(entity, action):
    assert parse_event(message(entity, action, {})) is None


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"", "JSON"),
        (b"\xff", "JSON"),
        (b"[1]", "top"),
        (message(data={"name": "m", "alias": "deploy"}), "version"),
        (message(data=ALIAS | {"version": "three"}), "version"),
        (message(data=ALIAS | {"version": 0}), "version"),
        (message(data=ALIAS | {"name": ""}), "name"),
        (message("model_version_tag", "set", ALIAS), "key"),
    ],
)
def test_a_body_that_is_no_message_is_refused_with_the_field(body, named):
    with pytest.raises(InputError, match=named):
        parse_event(body)
