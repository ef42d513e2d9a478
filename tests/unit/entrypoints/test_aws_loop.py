import threading
from datetime import UTC, datetime

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from scaling_slots_worlds import kept, schedule

from greenlight.adapters.aws_loop_metrics import AwsLoopMetrics
from greenlight.core.errors import ConfigError, LostLeaseError, UnavailableError
from greenlight.core.metrics import MetricName
from greenlight.cost.spot.notice import NoticeKind
from greenlight.entrypoints import aws_loop
from greenlight.entrypoints.aws_loop import AwsLoop, needed_hosts
from greenlight.entrypoints.host_notices import UNKNOWN, Outcome
from greenlight.testing.manual_clock import ManualClock
from greenlight.testing.memory_schedules import MemorySchedules

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


class Half:
    """A half of the loop that says what it is told to, or fails."""

    def __init__(self, *said, error=None):
        self.said, self.error, self.dry_runs = said, error, []
        self.in_hand, self.told_at = {}, None

    def look(self, *, dry_run):
        self.dry_runs.append(dry_run)
        if self.error:
            raise self.error
        return self.said


def a_loop(tmp_path, **halves):
    metrics = AwsLoopMetrics(
        tmp_path / "metrics of a home", fleet="f", kinds=[*NoticeKind, UNKNOWN], outcomes=Outcome
    )
    return AwsLoop(fleet="f", metrics=metrics, **({"load": None, "notices": None} | halves))


def samples(tmp_path):
    text = (tmp_path / "metrics of a home/aws-f.prom").read_text()
    return {
        (sample.name, sample.labels.get("kind"), sample.labels.get("outcome")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.mark.parametrize("error", [UnavailableError("away"), LostLeaseError("lost")])
def test_neither_half_holds_the_other_up(tmp_path, error):
    load = Half("150 for each")
    loop = a_loop(tmp_path, notices=Half(error=error), load=load)
    assert loop.cycle() == (f"held: {error}", "150 for each")


def test_what_an_operator_must_change_is_raised_once_both_halves_have_looked(tmp_path):
    load = Half("150 for each")
    loop = a_loop(tmp_path, notices=Half(error=ConfigError("AWS refuses")), load=load)
    with pytest.raises(ConfigError, match="AWS refuses"):
        loop.cycle()
    assert load.dry_runs == [False]
    assert samples(tmp_path), "what was done all the same is told"


def test_what_became_of_notices_is_a_metric_from_the_start(tmp_path):
    loop = a_loop(tmp_path, notices=Half())
    loop.cycle()
    found = samples(tmp_path)
    assert found[MetricName.HOST_NOTICES, "interruption", "cut"] == 0
    assert found[MetricName.HOST_NOTICES, "unknown", "unreadable"] == 0
    assert found[MetricName.HOSTS_BEING_TAKEN, None, None] == 0
    assert (MetricName.LOAD_PUBLISHED, None, None) not in found, "it never was"
    loop.metrics.count("interruption", "cut")
    loop.cycle()
    assert samples(tmp_path)[MetricName.HOST_NOTICES, "interruption", "cut"] == 1


def test_when_the_load_was_published_last_is_a_metric(tmp_path):
    load = Half()
    load.told_at = NOW
    a_loop(tmp_path, load=load).cycle()
    assert samples(tmp_path)[MetricName.LOAD_PUBLISHED, None, None] == NOW.timestamp()


def test_a_dry_run_writes_no_metrics(tmp_path):
    half = Half("would drain")
    assert a_loop(tmp_path, notices=half).cycle(dry_run=True) == ("would drain",)
    assert half.dry_runs == [True]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [UnavailableError("away"), ConfigError("AWS refuses")])
def test_the_loop_looks_until_it_is_stopped_whatever_goes_wrong(tmp_path, error):
    stop = threading.Event()

    class Stopping(Half):
        def look(self, *, dry_run):
            if len(self.dry_runs) == 2:
                stop.set()
            return super().look(dry_run=dry_run)

    half, looks = Stopping("x", error=error), []
    a_loop(tmp_path, notices=half).run(every_s=0.01, stop=stop, looked=lambda: looks.append(1))
    assert len(half.dry_runs) == len(looks) == 3


def test_as_many_hosts_are_needed_as_the_schedule_wants_now():
    store, clock = MemorySchedules(), ManualClock(NOW)
    assert needed_hosts(store, "f", clock=clock) is None
    store.add(kept(schedule(1, 2, 3)))
    assert needed_hosts(store, "f", clock=clock) == 2


TARGET = {"kind": "aws_autoscaling", "group": "g", "region": "eu-west-2"}
QUEUE = "https://sqs.eu-west-2.amazonaws.com/123456789012/q"


@pytest.mark.parametrize(
    ("target", "has_load", "has_notices"),
    [
        (TARGET, True, False),
        (TARGET | {"events": QUEUE}, True, True),
        (TARGET | {"events": QUEUE, "target_tracking": False}, False, True),
        ({"kind": "slots"}, None, None),
        (None, None, None),
    ],
)
def test_the_halves_are_those_that_the_target_asks_for(
    make_settings, monkeypatch, target, has_load, has_notices
):
    from greenlight.entrypoints import rollout_tools, scaling_tools
    from greenlight.scaling.scaling_file import FleetScaling

    scaling = FleetScaling(ceiling=2, target=target, machine_start_s=1.0)
    made = type("Made", (), {"scaling": scaling, "source": None, "store": None})
    tools = type("Tools", (), {"router": None, "clock": None, "fleet": None})
    monkeypatch.setattr(scaling_tools, "open_tools", lambda fleet, settings: made)
    monkeypatch.setattr(rollout_tools, "open_tools", lambda settings, fleet: tools)
    found = aws_loop.open_aws_loop("f", make_settings())
    if has_load is None:
        assert found is None
        return
    assert (found.load is not None, found.notices is not None) == (has_load, has_notices)


def test_a_queue_that_is_no_address_is_refused(tmp_path):
    from greenlight.scaling.scaling_file import load_fleet_scaling

    path = tmp_path / "scaling.yaml"
    fleet = {"ceiling": 1, "machine_start_s": 1, "target": TARGET | {"events": "notices"}}
    path.write_text(yaml.safe_dump({"fleets": {"f": fleet}}))
    with pytest.raises(ConfigError, match="events"):
        load_fleet_scaling(path, "f")
