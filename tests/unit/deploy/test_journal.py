from datetime import UTC, datetime, timedelta

from greenlight.deploy.colours import Colour
from greenlight.deploy.journal import (
    Event,
    Outcome,
    Phase,
    Rollout,
    Step,
    history_of,
    live,
    progress,
    unfinished,
)

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def event(step, phase=Phase.DONE, subject="", **detail):
    return Event(rollout_id="r", at=NOON, step=step, phase=phase, subject=subject, detail=detail)


def shift(share):
    return event(Step.SHIFT, subject=str(share), share=share)


def rollout(number, *, colour=Colour.GREEN):
    return Rollout(
        id=f"r{number}", fleet="f", model="m", version=number, digest=f"{number:064x}",
        flags_digest="f" * 64, strategy="canary", colour=colour,
        started_at=NOON + timedelta(minutes=number), started_by="ana", previous_version=None,
        previous_digest=None,
    )  # fmt: skip


def ended(outcome):
    return progress([event(Step.FINISH, outcome=outcome, reason="so it is")])


def test_only_what_is_done_counts():
    made = progress(
        [event(Step.SHIFT, Phase.BEGAN, "10"), shift(10), event(Step.BAKE, Phase.BEGAN)]
    )
    assert made.has(Step.SHIFT, "10")
    assert not made.has(Step.BAKE)
    assert (made.share, made.outcome, made.breached) == (10, None, False)


def test_a_failed_step_is_a_breach_with_its_reason():
    made = progress([shift(10), event(Step.ANALYSE, Phase.FAILED, "10", reason="slow")])
    assert (made.breached, made.reason, made.outcome) == (True, "slow", None)


def test_after_going_back_the_new_colour_has_nothing():
    made = progress([shift(50), event(Step.ROLL_BACK, reason="slow")])
    assert (made.share, made.breached, made.reason) == (0, True, "slow")


def test_what_began_to_go_back_never_goes_forward_again():
    made = progress([shift(50), event(Step.ROLL_BACK, Phase.BEGAN, reason="slow")])
    assert (made.share, made.breached, made.reason) == (50, True, "slow")
    assert not made.has(Step.ROLL_BACK)


def test_the_end_is_what_finish_says():
    assert ended("live").outcome is Outcome.LIVE
    assert ended("rolled back").reason == "so it is"


def test_live_is_what_the_last_successful_rollout_left():
    history = [
        (rollout(1, colour=Colour.BLUE), ended("live")),
        (rollout(2), ended("live")),
        (rollout(3, colour=Colour.BLUE), ended("rolled back")),
    ]
    found = live(history)
    assert found is not None
    assert (found.version, found.colour) == (2, Colour.GREEN)
    assert live([]) is None


def test_a_rollout_without_an_end_is_unfinished():
    running = (rollout(2), progress([shift(10)]))
    assert unfinished([(rollout(1), ended("live")), running]) == rollout(2)
    assert unfinished([(rollout(1), ended("live"))]) is None


class Journal:
    """Two rollouts; notes whose events are read."""

    def __init__(self):
        self.read, self.last = [], None

    def rollouts(self, fleet):
        return (rollout(1), rollout(2))

    def events(self, rollout_id):
        self.read.append(rollout_id)
        outcome = "live" if rollout_id == "r1" else self.last
        return (event(Step.FINISH, outcome=outcome, reason=""),) if outcome else (shift(50),)


def test_who_asks_again_reads_only_what_had_no_outcome():
    journal, ended = Journal(), {}
    first = history_of(journal, "f", ended=ended)
    assert history_of(journal, "f", ended=ended) == first
    assert journal.read == ["r1", "r2", "r2"]
    journal.last = "rolled back"
    assert [made.outcome for _, made in history_of(journal, "f", ended=ended)] == [
        Outcome.LIVE, Outcome.ROLLED_BACK,
    ]  # fmt: skip
    history_of(journal, "f", ended=ended)
    assert journal.read == ["r1", "r2", "r2", "r2"]
