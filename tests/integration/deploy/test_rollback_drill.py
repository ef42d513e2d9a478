"""The drill on the real router, with a fault that is caught and one that isn't there."""

import shutil
from datetime import UTC, datetime, timedelta

import pytest

from greenlight.core.errors import GateError, InputError
from greenlight.deploy.journal import Event, Phase, Step
from greenlight.entrypoints import rollback_drill
from greenlight.testing.memory_registry import MemoryRegistry
from greenlight.testing.memory_rollouts import MemoryJournal, MemoryLeases
from greenlight.testing.rollout_contract import a_rollout

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
needs_haproxy = pytest.mark.skipif(
    shutil.which("haproxy") is None, reason="HAProxy is not installed"
)
ROLLOUT = """
rollouts:
  drill:
    bake_s: 0.5
    warm_up_s: 0.5
    lease_s: 10
    load: {rate: 60, timeout_s: 5}
    analysis:
      interval_s: 0.5
      step_min_s: 2
      extension_s: 1
      max_extensions: 5
      rules:
        - {name: errors, strategy: errors, margin: 0.1, alone: 0.1}
        - {name: ttft, strategy: time_ratio, metric: ttft, quantile: 0.5, margin: 2.0}
"""


@pytest.fixture
def settings(make_settings):
    settings = make_settings()
    config = settings.home / "config"
    config.mkdir(parents=True)
    (config / "rollout.yaml").write_text(ROLLOUT)
    return settings


@needs_haproxy
@pytest.mark.timeout(180)
def test_a_fault_is_caught_and_nobody_loses_a_request(settings, monkeypatch):
    planted = {"slow first token": {"slow_first_token": 10}}
    monkeypatch.setattr(rollback_drill, "FAULTS", planted)
    measured = rollback_drill.drill(
        "slow first token", settings=settings, registry=MemoryRegistry()
    )
    assert measured["caught"]
    assert measured["dropped"] == 0
    assert 0 < measured["detection_s"] < 30
    assert 0 < measured["actuation_s"] < 5
    assert list(settings.work.glob(".drill-*")) == []


@needs_haproxy
@pytest.mark.timeout(180)
def test_a_fault_that_is_not_caught_fails_the_drill(settings, monkeypatch):
    monkeypatch.setattr(rollback_drill, "FAULTS", {"nothing": {}})
    with pytest.raises(GateError, match="was not caught"):
        rollback_drill.drill("nothing", settings=settings, registry=MemoryRegistry())


def test_an_unknown_fault_names_those_there_are(settings):
    with pytest.raises(InputError, match="slow first token"):
        rollback_drill.drill("gremlins", settings=settings, registry=MemoryRegistry())


def test_times_come_from_the_journal():
    journal = MemoryJournal(MemoryLeases(lambda: NOON))
    journal.open_rollout(a_rollout("r", fleet="f"))
    told = [(Step.SHIFT, Phase.BEGAN), (Step.ROLL_BACK, Phase.BEGAN), (Step.ROLL_BACK, Phase.DONE)]
    for second, (step, phase) in enumerate(told):
        at = NOON + timedelta(seconds=second**2)
        journal.append(Event(rollout_id="r", at=at, step=step, phase=phase))
    assert rollback_drill.times(journal, "r") == (1.0, 3.0)
