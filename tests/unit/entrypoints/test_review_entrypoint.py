"""What a delivery of MLflow's is answered, and what it starts."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from registry_worlds import NOW, Clock, MemoryApprovals, world

from greenlight.adapters.stack.secrets import load_or_create_secrets
from greenlight.core.errors import UnavailableError
from greenlight.deploy.fleet import Fleet
from greenlight.deploy.journal import Event, Outcome, Phase, Step
from greenlight.entrypoints import approvals, review
from greenlight.registry.tags import EVIDENCE_FILE, Alias, Tag
from greenlight.registry.webhook import Delivery, signature_of
from greenlight.testing.memory_rollouts import MemoryJournal, MemoryLeases
from greenlight.testing.rollout_contract import a_rollout


def a_fleet(name, model, port):
    slots = {"blue": {"port": port + 1}, "green": {"port": port + 2}}
    return Fleet.model_validate(
        {
            "name": name, "model": model, "engine": {"kind": "simulator"},
            "router": {"port": port}, "hosts": [{"name": "h", "root": "h", "slots": slots}],
        }
    )  # fmt: skip


class World:
    """A registry with a parent and a candidate, two fleets for them, and an Airflow of runs."""

    def __init__(self, settings, tmp_path):
        self.settings = settings
        self.secret = load_or_create_secrets(settings.secrets).mlflow_webhook
        self.registry, self.parent, self.candidate = world(tmp_path)
        self.model, self.version = self.candidate.model, self.candidate.version
        self.approvals = MemoryApprovals()
        self.leases = MemoryLeases(lambda: NOW)
        self.journal = MemoryJournal(self.leases)
        self.runs, self.away = {}, False
        self.fleets = [
            a_fleet("one", self.model, 20000), a_fleet("two", self.model, 20010),
            a_fleet("other", "another-model", 20020),
        ]  # fmt: skip

    def standing(self, *, model, version):
        return approvals.standing(
            self.settings, model=model, version=version, registry=self.registry,
            store=self.approvals, clock=Clock(),
        )  # fmt: skip

    def review(self, settings=None):
        return review.Review(
            fleets=self.fleets, registry=self.registry, journal=self.journal, leases=self.leases,
            standing=self.standing,
        )  # fmt: skip

    def start(self, dag_id, *, run_id, conf):
        if self.away:
            raise UnavailableError("Airflow has not parsed it yet")
        is_new = (dag_id, run_id) not in self.runs
        self.runs[dag_id, run_id] = conf
        return is_new

    def approve(self, **changes):
        arguments = {"decision": "approved", "by": "ana", "reason": "good"} | changes
        approvals.record(
            self.settings, model=self.model, version=self.version, registry=self.registry,
            store=self.approvals, clock=Clock(), **arguments,
        )  # fmt: skip

    def live(self, fleet, digest, rollout_id="r1", outcome=Outcome.LIVE):
        rollout = replace(a_rollout(rollout_id, fleet=fleet), digest=digest)
        self.journal.open_rollout(rollout)
        detail = {"outcome": str(outcome), "reason": "ttft"}
        self.journal.append(
            Event(rollout_id=rollout_id, at=NOW, step=Step.FINISH, phase=Phase.DONE, detail=detail)
        )

    def deliver(self, body, *, at=NOW, secret=None, **changes):
        stamp = str(int(at.timestamp()))
        signature = signature_of(
            body, delivery_id="one", timestamp=stamp, secret=secret or self.secret
        )
        delivery = Delivery(id="one", timestamp=stamp, signature=signature, body=body)
        return review.answer(
            replace(delivery, **changes), start=self.start, settings=self.settings,
            open_parts=self.review, clock=Clock(),
        )  # fmt: skip

    def point(self, alias="deploy", version=None, **changes):
        version = version or self.version
        self.registry.set_alias(self.model, alias=alias, version=version)
        return self.deliver(alias_set(self.model, alias, version), **changes)

    def answer_on_the_page(self):
        return self.registry.get(self.model, self.version).tag(Tag.DEPLOY_ANSWER)


def alias_set(model, alias, version):
    data = {"name": model, "version": str(version), "alias": alias}
    found = {"entity": "model_version_alias", "action": "created", "data": data}
    return json.dumps(found).encode()


def tag_set(model, version, key, value):
    data = {"name": model, "version": str(version), "key": key, "value": value}
    return json.dumps({"entity": "model_version_tag", "action": "set", "data": data}).encode()


@pytest.fixture
def made(make_settings, tmp_path):
    return World(make_settings(), tmp_path)


def deploys(made):
    return {conf["fleet"]: conf["version"] for (dag, _), conf in made.runs.items() if "dep" in dag}


def test_an_approved_version_goes_to_every_fleet_of_its_model_and_to_no_other(made):
    made.approve()
    answer = made.point()
    assert answer.status == 202
    assert deploys(made) == {"one": made.version, "two": made.version}
    assert "start" in made.answer_on_the_page()


def test_the_same_event_again_starts_nothing_again(made):
    made.approve()
    made.point()
    runs = dict(made.runs)
    again = made.point()
    assert again.status == 200
    assert [d["is_new"] for d in again.body["decisions"]] == [False, False]
    assert made.runs == runs


def test_an_alias_of_one_fleet_goes_before_the_one_for_all(made):
    made.approve()
    answer = made.point("deploy-two")
    assert (answer.status, deploys(made)) == (202, {"two": made.version})
    other = made.point("deploy", made.parent.version)
    assert {d["fleet"] for d in other.body["decisions"]} == {"one"}


def test_what_nobody_approved_is_refused_and_its_page_says_why(made):
    answer = made.point()
    assert answer.status == 422
    assert "nobody decided" in answer.body["decisions"][0]["reason"]
    assert made.runs == {}
    assert "nobody decided" in made.answer_on_the_page()


def test_an_approval_that_comes_after_the_alias_starts_the_deploy(made):
    made.point()
    made.approve()
    tag = tag_set(made.model, made.version, "greenlight.approval", "approved")
    assert made.deliver(tag).status == 202
    assert deploys(made) == {"one": made.version, "two": made.version}


def test_a_tag_set_by_hand_approves_nothing(made):
    made.point()
    made.registry.set_tags(made.model, version=made.version, tags={Tag.APPROVAL: "approved"})
    tag = tag_set(made.model, made.version, "greenlight.approval", "approved")
    assert made.deliver(tag).status == 422
    assert made.runs == {}


def test_an_alias_that_was_moved_on_meanwhile_is_stale(made):
    made.approve()
    made.registry.set_alias(made.model, alias="deploy", version=made.parent.version)
    answer = made.deliver(alias_set(made.model, "deploy", made.version))
    assert answer.status == 409
    assert f"points at version {made.parent.version} by now" in answer.body["refused"]
    made.registry.remove_alias(made.model, alias="deploy")
    gone = made.deliver(alias_set(made.model, "deploy", made.version))
    assert (gone.status, made.runs) == (409, {})


@pytest.mark.parametrize(
    ("model", "alias", "named"),
    [("unknown", "deploy", "no fleet serves model unknown"), (None, "deploy-nine", "fleet nine")],
)
def test_a_model_or_a_fleet_that_nobody_knows_is_refused_with_those_there_are(
    made, model, alias, named
):
    answer = made.deliver(alias_set(model or made.model, alias, 1))
    assert answer.status == 422
    assert named in answer.body["refused"]
    assert "one (" in answer.body["refused"]


@pytest.mark.parametrize("alias", [Alias.CANDIDATE, Alias.APPROVED, Alias.CHAMPION, "deployed"])
def test_other_aliases_ask_for_nothing(made, alias):
    made.approve()
    assert made.point(str(alias)).status == 200
    assert made.runs == {}


@pytest.mark.parametrize(
    ("key", "value"),
    [("greenlight.approval", "rejected"), ("greenlight.quantize", "no"), ("team", "approved")],
)
def test_other_tags_ask_for_nothing(made, key, value):
    made.approve()
    made.registry.set_alias(made.model, alias="deploy", version=made.version)
    assert made.deliver(tag_set(made.model, made.version, key, value)).status == 200
    assert made.runs == {}


def test_an_approval_of_a_version_that_no_alias_wants_starts_nothing(made):
    made.approve()
    tag = tag_set(made.model, made.version, "greenlight.approval", "approved")
    assert made.deliver(tag).body == {"ignored": "no fleet wants this version"}
    assert made.runs == {}


def test_a_version_tagged_for_quantizing_is_quantized_under_the_reconcile_runs_own_id(made):
    tag = tag_set(made.model, 1, "greenlight.quantize", "requested")
    first, second = made.deliver(tag), made.deliver(tag)
    assert (first.status, second.status) == (202, 200)
    assert [dag for dag, _ in made.runs] == ["quantize_and_validate"]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"secret": "another-secret-of-the-same-kind"}, "not that of this body"),
        ({"at": NOW - timedelta(minutes=6)}, "replay"),
        ({"id": "a-replay-under-another-id"}, "not that of this body"),
        ({"signature": None}, "missing"),
    ],
)
def test_whoever_is_not_mlflow_or_late_starts_nothing(made, changes, named):
    made.approve()
    answer = made.point(**changes)
    assert answer.status == 401
    assert named in answer.body["refused"]
    assert made.runs == {}


def test_a_body_that_is_no_message_is_wrong_for_good(made):
    assert made.deliver(b"{}").status == 400


def test_events_that_nobody_asked_for_are_ignored(made):
    body = json.dumps({"entity": "registered_model", "action": "created", "data": {}}).encode()
    assert made.deliver(body).status == 200


def test_what_may_work_later_is_asked_for_again(made):
    made.approve()
    made.away = True
    assert made.point().status == 503
    made.registry.away = True
    assert made.deliver(alias_set(made.model, "deploy", made.version)).status == 503


def test_without_a_secret_nobody_is_told_where_it_should_be(made):
    (made.settings.secrets / "mlflow_webhook").unlink()
    answer = made.deliver(b"{}")
    assert answer.status == 503
    assert str(made.settings.home) not in str(answer.body)


def test_a_fleet_that_is_being_changed_waits_and_the_next_look_starts_it(made):
    made.approve()
    lease = made.leases.acquire("one", holder="rollout-7", ttl_s=60)
    answer = made.point("deploy-one")
    assert (answer.status, made.runs) == (200, {})
    assert answer.body["decisions"][0]["verdict"] == "wait"
    made.leases.release(lease)
    assert [r["conf"]["fleet"] for r in review.requested_deploys(made.review())] == ["one"]


def test_a_lost_event_is_found_under_the_id_that_the_event_would_have_given(made):
    made.approve()
    made.registry.set_alias(made.model, alias="deploy", version=made.version)
    found = review.requested_deploys(made.review())
    assert review.requested_deploys(made.review()) == found
    made.point()
    assert {run_id for _, run_id in made.runs} == {r["trigger_run_id"] for r in found}
    assert list(made.runs.values()) == [r["conf"] for r in found]


def test_evidence_that_can_not_be_read_is_a_refusal_and_leaves_the_other_fleets_alone(made):
    made.approve()
    made.registry.set_alias(made.model, alias="deploy-one", version=made.version)
    made.registry.set_alias(made.model, alias="deploy-two", version=made.parent.version)
    made.approvals.append(
        replace(
            made.approvals.kept[0], version=made.parent.version, digest=made.parent.digest,
            evidence_digest=made.parent.digest,
        )
    )  # fmt: skip
    made.registry.damage(made.model, version=made.version, path=EVIDENCE_FILE, data=b"{}")
    assert [r["conf"]["fleet"] for r in review.requested_deploys(made.review())] == ["two"]
    assert made.answer_on_the_page().startswith("refuse: ")


def test_tags_that_ask_for_nothing_open_no_database(made):
    def fail(settings):
        raise AssertionError("nobody should ask")

    made.review = fail
    tag = tag_set(made.model, made.version, "greenlight.licence", "mit")
    assert made.deliver(tag).status == 200


def test_what_is_served_or_refused_or_wanted_by_nobody_is_not_found(made):
    assert review.requested_deploys(made.review()) == []
    made.registry.set_alias(made.model, alias="deploy", version=made.version)
    assert review.requested_deploys(made.review()) == []
    assert "nobody decided" in made.answer_on_the_page()
    made.approve()
    made.live("one", made.candidate.digest)
    made.live("two", made.candidate.digest, "r2", Outcome.ROLLED_BACK)
    assert review.requested_deploys(made.review()) == []
    assert "taken back" in made.answer_on_the_page()
