import json
from dataclasses import replace
from datetime import timedelta

import pytest
from registry_worlds import MemoryApprovals

from greenlight.core.digest import Manifest
from greenlight.core.errors import GateError, InputError, RefusedError
from greenlight.core.files import write_json
from greenlight.entrypoints.audit_pack import Period, Sources, write_pack
from greenlight.entrypoints.gateway_audit import AuditLog
from greenlight.gateway.api_keys import revoke
from greenlight.gateway.audit import AnchorKind, EventName
from greenlight.gateway.audit_check import BreakKind, Verdict
from greenlight.registry.approvals import Approval, Decision
from greenlight.testing.audit_contract import AUDIT_SECRET
from greenlight.testing.gateway_access import a_key, an_event
from greenlight.testing.history_contract import a_drill
from greenlight.testing.manual_clock import NOON, ManualClock
from greenlight.testing.memory_gateway import MemoryAudit, MemoryKeys
from greenlight.testing.memory_history import MemoryHistory

DAY = timedelta(days=1)
PERIOD = Period(since=NOON - 10 * DAY, until=NOON + DAY)


class World:
    def __init__(self, folder):
        self.folder, self.clock = folder / "audit", ManualClock()
        self.store = MemoryAudit(secret=AUDIT_SECRET)
        self.keys, self.approvals, self.drills = (
            MemoryKeys(self.store), MemoryApprovals(), MemoryHistory(),
        )  # fmt: skip
        self.log = AuditLog(
            store=self.store, secret=AUDIT_SECRET, folder=self.folder, by="ana", clock=self.clock
        )

    def pack(self, folder):
        sources = Sources(
            audit=self.log, keys=self.keys, approvals=self.approvals, drills=self.drills
        )
        return write_pack(folder, PERIOD, sources=sources, by="ana")


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def approval(days):
    return Approval(
        decided_at=NOON + days * DAY, decided_by="ana", decision=Decision.APPROVED, reason="",
        model="m", version=1, digest="d" * 64, evidence_digest="e" * 64,
    )  # fmt: skip


def test_a_whole_log_is_proven(world):
    world.store.append([an_event(), an_event()])
    checked = world.log.verify()
    assert checked.to_json() == {
        "verdict": "pass", "records": 2, "last": 2, "kind": None, "finding": None, "set_back": [],
    }  # fmt: skip


def test_an_edited_log_is_not(world):
    world.store.append([an_event(), an_event()])
    world.store.stored[0] = replace(world.store.stored[0], tenant="other")
    found = world.log.verify().verification
    assert (found.verdict, found.finding.kind) == (Verdict.FAIL, BreakKind.EDITED)


def test_an_end_that_only_this_machine_remembers_is_missed(world):
    world.store.append([an_event()])
    early = dict(world.store.anchors)
    world.store.append([an_event()])
    write_json(world.folder / "head.json", world.store.anchors[AnchorKind.HEAD].to_json())
    assert world.log.verify().verification.verdict is Verdict.PASS
    world.store.stored.pop()
    world.store.anchors = early
    assert world.log.verify().verification.finding.kind is BreakKind.DELETED


def test_a_log_that_says_it_was_set_back_is_told(world):
    world.store.append([an_event(), an_event(EventName.SET_BACK)])
    assert world.log.verify().set_back == (2,)


def test_records_are_shown_with_who_did_it_until_that_is_erased(world):
    world.store.append([an_event(subject="sub_1")], identities={"sub_1": "alice"})
    shown = world.log.find()[0]
    assert (shown["subject"], shown["identity"]) == ("sub_1", "alice")
    alias = world.log.erase("sub_1")
    shown = world.log.find()[0]
    assert (shown["subject"], shown["identity"]) == (alias, None)
    erased = world.log.find(event="audit.erased")[0]
    assert (erased["subject"], erased["detail"]) == ("operator:ana", {"alias": alias})
    assert world.log.verify().verification.verdict is Verdict.PASS


def test_nobody_is_erased_who_is_not_there(world):
    with pytest.raises(InputError, match="names nobody 'bob'"):
        world.log.erase("bob")


def test_retention_deletes_what_is_older(world):
    world.store.append([an_event(at=NOON - 401 * DAY), an_event(at=NOON - 400 * DAY), an_event()])
    assert world.log.prunable(keep_days=500) is None
    through = world.log.prunable(keep_days=400)
    assert through.number == 1
    assert world.log.prune(through) == 1
    assert [one["number"] for one in world.log.find()] == [2, 3, 4]
    assert world.log.verify().verification.verdict is Verdict.PASS


def test_retention_deletes_nothing_of_a_log_that_is_not_proven(world):
    world.store.append([an_event(at=NOON - 400 * DAY), an_event()])
    world.store.stored[0] = replace(world.store.stored[0], tenant="other")
    through = world.log.prunable(keep_days=30)
    with pytest.raises(GateError, match=r"edited.*nothing of it is deleted"):
        world.log.prune(through)
    assert len(world.store.stored) == 2


def test_the_pack_holds_what_was_in_the_period(world, tmp_path):
    world.store.append(
        [
            an_event("limits.changed", at=NOON - 20 * DAY),
            an_event("limits.changed", at=NOON),
            an_event("request", at=NOON),
        ]
    )
    for days in (-20, 0):
        world.approvals.append(approval(days))
    world.drills.add_drill(a_drill("old", began_at=NOON - 20 * DAY))
    world.drills.add_drill(a_drill("now", began_at=NOON))
    folder = tmp_path / "a pack"
    world.pack(folder)
    found = {path.name: json.loads(path.read_text()) for path in folder.iterdir()}
    assert [one["number"] for one in found["limit-changes.json"]] == [2]
    assert [one["decided_at"] for one in found["approvals.json"]] == [NOON.isoformat()]
    assert [one["id"] for one in found["drills.json"]] == ["now"]
    assert found["verification.json"]["verdict"] == "pass"
    assert Manifest.from_json({name: found["manifest.json"][name] for name in ("digest", "files")})
    assert (
        world.log.find(event="audit.exported")[0]["detail"]["digest"]
        == (found["manifest.json"]["digest"])
    )


def test_the_pack_names_who_had_access_at_any_time_of_the_period(world, tmp_path):
    early = NOON - 30 * DAY
    keys = {
        "ended before": a_key(now=early, lifetime=DAY)[0],
        "stays": a_key(now=early)[0],
        "ended meanwhile": a_key(now=NOON - DAY)[0],
        "made later": a_key(now=NOON + 2 * DAY)[0],
    }
    for key in keys.values():
        world.keys.add(key, event=an_event())
    ended = keys["ended meanwhile"]
    world.keys.change(ended, revoke(ended, by="bob", now=NOON), event=an_event())
    world.pack(tmp_path / "pack")
    access = json.loads((tmp_path / "pack/access.json").read_text())
    assert [(key["id"], key["state"]) for key in access] == [
        (keys["stays"].id, "active"), (ended.id, "revoked"),
    ]  # fmt: skip


def test_a_pack_of_a_broken_log_says_so(world, tmp_path):
    world.store.append([an_event(), an_event()])
    del world.store.stored[0]
    checked = world.pack(tmp_path / "pack")
    assert checked.verification.verdict is Verdict.FAIL
    assert json.loads((tmp_path / "pack/manifest.json").read_text())["audit_log"] == "fail"


def test_a_pack_goes_into_a_new_folder(world, tmp_path):
    (tmp_path / "pack").mkdir()
    with pytest.raises(RefusedError, match="exists"):
        world.pack(tmp_path / "pack")
