from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from greenlight.deploy.colours import Colour
from greenlight.deploy.journal import Event, Outcome, Phase, Rollout, Step
from greenlight.entrypoints.gateway.serving import served_by
from greenlight.gateway.served import NOTHING, ServedVersion
from greenlight.testing.memory_rollouts import MemoryJournal, MemoryLeases

FLEET = "f"
NOW = datetime(2026, 11, 25, tzinfo=UTC)
BLUE, GREEN = Colour


class Story:
    """A fleet's journal, written line by line."""

    def __init__(self) -> None:
        self.journal = MemoryJournal(MemoryLeases(lambda: NOW))
        self._told = 0

    def begins(self, colour: Colour, digest: str) -> str:
        self._told += 1
        rollout = Rollout(
            id=f"r{self._told}", fleet=FLEET, model="m", version=self._told, digest=digest,
            flags_digest="flags", strategy="canary", colour=colour,
            started_at=NOW + timedelta(hours=self._told), started_by="test",
            previous_version=None, previous_digest=None,
        )  # fmt: skip
        self.journal.open_rollout(rollout)
        return rollout.id

    def does(self, rollout: str, step: Step, **detail: Any) -> None:
        self.journal.append(
            Event(rollout_id=rollout, at=NOW, step=step, phase=Phase.DONE, detail=detail)
        )

    def goes_live(self, colour: Colour, digest: str) -> None:
        rollout = self.begins(colour, digest)
        self.does(rollout, Step.FINISH, outcome=str(Outcome.LIVE))


def version(digest: str) -> ServedVersion:
    return ServedVersion(digest=digest, flags_digest="flags")


def test_a_fleet_without_rollouts_serves_nothing() -> None:
    assert served_by(Story().journal, FLEET) == NOTHING


def test_the_last_that_went_live_is_served() -> None:
    story = Story()
    story.goes_live(BLUE, "old")
    story.goes_live(GREEN, "new")
    found = served_by(story.journal, FLEET)
    assert found.current == version("new")
    assert found.tokenizer_digest == "new"


@pytest.mark.parametrize(("share", "current"), [(0, "old"), (10, None), (99, None), (100, "new")])
def test_while_two_share_traffic_nobody_knows_who_answers(share: int, current: str | None) -> None:
    story = Story()
    story.goes_live(BLUE, "old")
    rollout = story.begins(GREEN, "new")
    story.does(rollout, Step.SHIFT, share=share)
    found = served_by(story.journal, FLEET)
    assert found.current == (current and version(current))
    assert found.by_colour == {"blue": version("old"), "green": version("new")}


def test_what_went_back_is_not_served() -> None:
    story = Story()
    story.goes_live(BLUE, "old")
    rollout = story.begins(GREEN, "new")
    story.does(rollout, Step.SHIFT, share=50)
    story.does(rollout, Step.ROLL_BACK, share=0)
    assert served_by(story.journal, FLEET).current == version("old")
    story.does(rollout, Step.FINISH, outcome=str(Outcome.ROLLED_BACK))
    found = served_by(story.journal, FLEET)
    assert found.current == version("old")
    assert found.by_colour == {"blue": version("old")}


def test_a_first_rollout_serves_once_it_has_all_traffic() -> None:
    story = Story()
    rollout = story.begins(BLUE, "first")
    assert served_by(story.journal, FLEET).current is None
    story.does(rollout, Step.SHIFT, share=100)
    found = served_by(story.journal, FLEET)
    assert found.current == version("first")
    assert found.tokenizer_digest == "first"
