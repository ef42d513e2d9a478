import json
from dataclasses import replace
from datetime import timedelta

import pytest
from typer.testing import CliRunner

from greenlight.cli import audit
from greenlight.cli.main import build
from greenlight.core.errors import GateError, InputError
from greenlight.entrypoints import gateway_audit
from greenlight.entrypoints.gateway_audit import AuditLog
from greenlight.gateway.audit import EventName
from greenlight.testing.audit_contract import AUDIT_SECRET
from greenlight.testing.gateway_access import an_event
from greenlight.testing.manual_clock import NOON, ManualClock
from greenlight.testing.memory_gateway import MemoryAudit

RUN = CliRunner()
DAY = timedelta(days=1)


def invoke(*arguments, **about):
    return RUN.invoke(build(), ["audit", *arguments], **about)


@pytest.fixture
def store(monkeypatch, tmp_path):
    store = MemoryAudit(secret=AUDIT_SECRET)
    log = AuditLog(store=store, secret=AUDIT_SECRET, folder=tmp_path, by="ana", clock=ManualClock())
    monkeypatch.setattr(audit, "_open", lambda: log)
    monkeypatch.setattr(gateway_audit, "keep_days", lambda _: 30)
    store.append(
        [an_event(at=NOON - 40 * DAY, subject="sub_1"), an_event(at=NOON, event="request")],
        identities={"sub_1": "https://idp alice"},
    )
    return store


@pytest.mark.parametrize("command", ["verify", "list", "erase", "prune", "export"])
def test_every_command_explains_itself(command):
    assert "Usage" in invoke(command, "--help").output


def test_a_proven_log_is_told_with_its_length(store):
    found = invoke("verify")
    assert (found.exit_code, "all 2 records up to 2" in found.output) == (0, True)
    assert json.loads(invoke("verify", "--json").stdout)["verdict"] == "pass"


def test_a_broken_log_fails_and_names_the_record(store):
    store.stored[1] = replace(store.stored[1], tenant="other")
    failed = invoke("verify", "--json")
    assert isinstance(failed.exception, GateError)
    assert "record 2: edited" in str(failed.exception)
    assert json.loads(failed.stdout)["kind"] == "edited"


def test_an_empty_log_is_no_proof(store):
    store.stored.clear()
    store.anchors.clear()
    assert "proves nothing" in str(invoke("verify").exception)


def test_a_log_that_was_set_back_is_told_though_it_is_whole(store):
    store.append([an_event(EventName.SET_BACK)])
    found = invoke("verify")
    assert found.exit_code == 0
    assert "records 3" in found.stderr


def test_records_are_listed_with_who_it_was(store):
    assert "https://idp alice" in invoke("list").stdout
    listed = json.loads(invoke("list", "--json", "--event", "request").stdout)
    assert [one["number"] for one in listed] == [2]
    since = f"{NOON:%Y-%m-%d}"
    assert len(json.loads(invoke("list", "--json", "--since", since).stdout)) == 1


def test_erasing_asks_first(store):
    assert "https://idp alice" in str(store.subjects)
    invoke("erase", "sub_1", input="n\n")
    assert "sub_1" in store.subjects
    assert "and no more" in invoke("erase", "sub_1", "--yes").stdout
    assert "sub_1" not in store.subjects
    assert isinstance(invoke("erase", "sub_1", "--yes").exception, InputError)


def test_pruning_says_what_and_asks_first(store):
    assert "would delete all records up to 1 (2026-10-15)" in invoke("prune", "--dry-run").stdout
    invoke("prune", input="n\n")
    assert len(store.stored) == 2
    assert "1 records are deleted" in invoke("prune", "--yes").stdout
    assert "nothing to delete" in invoke("prune", "--yes").stdout
