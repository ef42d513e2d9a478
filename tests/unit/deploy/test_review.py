"""A wish is carried out once, waits, or is refused with its reason."""

from dataclasses import replace

import pytest

from greenlight.deploy.journal import Outcome, Progress
from greenlight.deploy.review import Verdict, Wish, decide
from greenlight.testing.rollout_contract import a_rollout

WISH = Wish(fleet="f", model="m", version=3, digest="d" * 64)
OTHER = "e" * 64


def ended(rollout_id, digest, outcome, reason=None):
    rollout = replace(a_rollout(rollout_id, fleet="f"), digest=digest)
    made = Progress(done=frozenset(), share=0, outcome=outcome, reason=reason, breached=False)
    return rollout, made


LIVE = ended("a", OTHER, Outcome.LIVE)


def look(*history, refusal=None, changed_by=None, wish=WISH):
    return decide(wish, history, refusal=refusal, changed_by=changed_by)


def test_an_approved_version_that_is_not_served_is_started():
    found = look(LIVE)
    assert found.verdict is Verdict.START
    assert found.run_id == "alias-f-v3-dddddddddddd-1"
    assert found.conf == {"fleet": "f", "version": 3}


def test_on_a_fleet_that_serves_nothing_it_is_started_too():
    assert look().verdict is Verdict.START


def test_the_same_wish_is_the_same_run_until_a_rollout_ends():
    first = look(LIVE)
    running = ended("b", WISH.digest, None)
    assert look(LIVE, running).run_id == first.run_id
    back_again = look(LIVE, ended("b", WISH.digest, Outcome.LIVE), ended("c", OTHER, Outcome.LIVE))
    assert back_again.verdict is Verdict.START
    assert back_again.run_id != first.run_id


def test_what_is_served_is_not_deployed_again_whatever_its_approval():
    served = ended("b", WISH.digest, Outcome.LIVE)
    assert look(LIVE, served, refusal="rejected").verdict is Verdict.SERVED
    assert look(LIVE, served).run_id is None


def test_what_nobody_approved_is_refused_with_the_reason():
    found = look(LIVE, refusal="nobody decided about digest dddd")
    assert found.verdict is Verdict.REFUSE
    assert "nobody decided" in found.reason
    assert found.run_id is None


def test_what_was_taken_back_is_not_tried_again_by_itself():
    found = look(LIVE, ended("b", WISH.digest, Outcome.ROLLED_BACK, "ttft was worse"))
    assert found.verdict is Verdict.REFUSE
    assert "ttft was worse" in found.reason
    assert "deploy_blue_green" in found.reason


def test_after_another_version_went_live_it_may_be_tried_again():
    back = ended("b", WISH.digest, Outcome.ROLLED_BACK, "ttft")
    assert look(LIVE, back, ended("c", "f" * 64, Outcome.LIVE)).verdict is Verdict.START


def test_a_failure_of_another_version_is_no_reason():
    assert look(LIVE, ended("b", OTHER, Outcome.ROLLED_BACK, "ttft")).verdict is Verdict.START


def test_a_fleet_that_is_being_changed_is_left_for_the_next_look():
    found = look(LIVE, changed_by="rollout-7")
    assert found.verdict is Verdict.WAIT
    assert "rollout-7" in found.reason
    assert found.run_id is None


@pytest.mark.parametrize("fleet", ["f", "g"])
def test_every_fleet_has_a_run_of_its_own(fleet):
    assert f"alias-{fleet}-v3" in look(LIVE, wish=replace(WISH, fleet=fleet)).run_id
