from datetime import UTC, datetime

import pytest
import yaml

from greenlight.core.errors import ConfigError, GateError, RefusedError
from greenlight.entrypoints.scaling_apply import ToManifest, ToScaler, ToSlots
from greenlight.entrypoints.scaling_tools import open_applier
from greenlight.scaling.capacity import HostCapacity, Unknown
from greenlight.scaling.scaling_file import FleetScaling
from greenlight.scaling.schedule import Limits, Schedule, Size, WeeklyEntry
from greenlight.testing.manual_clock import ManualClock
from greenlight.testing.memory_schedule_target import MemoryScheduleTarget

NOW = datetime(2026, 11, 24, 3, 20, tzinfo=UTC)
CAPACITY = HostCapacity(tokens_per_second=100.0, source="benchmark")
UNKNOWN = Unknown(why="no benchmark", measure="run one")
KEDA = {
    "kind": "keda", "name": "chat", "namespace": "serving", "workload": "vllm",
    "prometheus": "http://prometheus:9090", "query": "sum(rate(tokens[2m]))",
}  # fmt: skip


def schedule(hosts=3):
    size = Size(minimum=hosts, desired=hosts, maximum=hosts + 2)
    return Schedule(
        fleet="chat", zone="UTC", made_at=NOW, lead_s=300.0, gpus_per_host=1, basis="b",
        limits=Limits(floor=1, ceiling=9),
        weekly=(WeeklyEntry(start=0, end=0, size=size, reason="always"),),
    )  # fmt: skip


def to_scaler(target, *, has_loop=True):
    return ToScaler(target=target, utilisation=0.85, drain_s=600, has_loop=has_loop)


def test_a_scaler_gets_rules_bounds_draining_and_a_loop_for_a_measured_host():
    target = MemoryScheduleTarget()
    to_scaler(target).apply(schedule(), CAPACITY, now=NOW)
    found = target.read()
    assert (found.bounds, found.drain_s) == ((3, 5), 600)
    assert (found.loop.target, found.loop.warm_up_s) == (85.0, 300)


def test_a_dry_run_says_the_same_lines_and_changes_nothing():
    target = MemoryScheduleTarget(foreign=["by hand"])
    planned = to_scaler(target).plan(schedule(), CAPACITY, now=NOW)
    assert target.calls == 0
    assert planned[-1] == "left alone: by hand"
    assert to_scaler(target).apply(schedule(), CAPACITY, now=NOW) == planned


def test_while_a_hosts_speed_is_not_known_the_loop_stays_as_it_was():
    target = MemoryScheduleTarget()
    to_scaler(target).apply(schedule(), CAPACITY, now=NOW)
    to_scaler(target).apply(schedule(4), UNKNOWN, now=NOW)
    assert target.read().loop.target == 85.0
    assert target.read().bounds == (4, 6)
    to_scaler(target, has_loop=False).apply(schedule(4), CAPACITY, now=NOW)
    assert target.read().loop is None


def test_a_fleet_that_is_not_marked_is_refused():
    with pytest.raises(RefusedError):
        to_scaler(MemoryScheduleTarget(managed=False)).apply(schedule(), CAPACITY, now=NOW)


@pytest.fixture
def manifest(tmp_path):
    path = tmp_path / "a folder" / "chat.yaml"
    path.parent.mkdir()
    scaling = FleetScaling(
        ceiling=9, machine_start_s=60, target=KEDA | {"path": path}, down_window_s=600
    )
    found = open_applier("chat", scaling, clock=ManualClock(NOW))
    assert isinstance(found, ToManifest)
    return found


def test_a_manifest_has_the_target_of_a_measured_host_and_the_settings(manifest):
    assert "+++" in "\n".join(manifest.plan(schedule(), CAPACITY, now=NOW))
    assert not manifest.path.exists()
    manifest.apply(schedule(), CAPACITY, now=NOW)
    spec = yaml.safe_load(manifest.path.read_text())["spec"]
    assert spec["triggers"][-1]["metadata"]["threshold"] == "85"
    behaviour = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert behaviour["scaleDown"]["stabilizationWindowSeconds"] == 600
    assert manifest.apply(schedule(), CAPACITY, now=NOW) == ("nothing to change",)
    assert manifest.plan(schedule(), CAPACITY, now=NOW) == ("nothing to change",)


def test_a_manifest_without_a_measured_host_is_not_written(manifest):
    with pytest.raises(GateError, match="no benchmark; run one"):
        manifest.apply(schedule(), UNKNOWN, now=NOW)
    assert not manifest.path.exists()


def test_a_manifest_of_somebody_else_is_left_alone(manifest):
    manifest.path.write_text("kind: ScaledObject\n")
    with pytest.raises(ConfigError, match="Greenlight didn't write it"):
        manifest.apply(schedule(), CAPACITY, now=NOW)


def test_slots_are_told_what_the_loop_finds_and_none_has_no_target():
    slots = open_applier(
        "f", FleetScaling(ceiling=9, target={"kind": "slots"}), clock=ManualClock()
    )
    assert isinstance(slots, ToSlots)
    (line,) = slots.apply(schedule(), UNKNOWN, now=NOW)
    assert "keeps 3 to 5 hosts now" in line
    assert open_applier("f", FleetScaling(ceiling=9), clock=ManualClock()) is None


@pytest.mark.parametrize(
    "target",
    [{"kind": "aws_autoscaling", "group": "g", "region": "eu-west-2"}, KEDA | {"path": "x"}],
)
def test_what_orders_machines_must_say_how_long_they_take(target):
    with pytest.raises(ValueError, match="machine_start_s is missing"):
        FleetScaling(ceiling=9, target=target)
