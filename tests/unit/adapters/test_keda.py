from datetime import UTC, datetime, timedelta

import pytest
import yaml

from greenlight.adapters.keda import MANAGED, KedaSettings, check, render, write
from greenlight.core.errors import ConfigError, InputError
from greenlight.scaling.schedule import (
    MINUTES_A_DAY,
    DatedEntry,
    Limits,
    Schedule,
    Size,
    WeeklyEntry,
)

NOW = datetime(2026, 3, 22, 12, tzinfo=UTC)  # a Sunday
ZONE = "Europe/London"


def size(hosts):
    return Size(minimum=hosts, desired=hosts, maximum=hosts + 2)


def entry(start, end, hosts):
    return WeeklyEntry(start=start, end=end, size=size(hosts), reason="x")


def schedule(*entries, dated=()):
    monday = (entry(0, 540, 2), entry(540, 1020, 8), entry(1020, 0, 2))
    return Schedule(
        fleet="chat",
        zone=ZONE,
        made_at=NOW,
        lead_s=300.0,
        gpus_per_host=1,
        basis="x",
        limits=Limits(floor=1, ceiling=20),
        weekly=entries or monday,
        dated=dated,
    )


def settings(**changes):
    values = {
        "name": "chat",
        "namespace": "serving",
        "workload": "chat-vllm",
        "prometheus": "http://prometheus:9090",
        "query": "sum(rate(tokens_total[1m]))",
        "target": 150,
    }
    return KedaSettings.model_validate(values | changes)


def rendered(asked=None, *, now=NOW, **changes):
    return yaml.safe_load(render(asked or schedule(), settings(**changes), now=now))


def crons(manifest):
    return [
        (t["metadata"]["start"], t["metadata"]["end"], t["metadata"]["desiredReplicas"])
        for t in manifest["spec"]["triggers"]
        if t["type"] == "cron"
    ]


def test_the_base_is_the_minimum_and_every_rush_is_a_cron_above_it():
    manifest = rendered()
    assert manifest["spec"]["minReplicaCount"] == 2
    assert manifest["spec"]["maxReplicaCount"] == 10
    assert crons(manifest) == [("0 9 * * 1", "0 17 * * 1", "8")]
    assert manifest["spec"]["triggers"][0]["metadata"]["timezone"] == ZONE


def test_a_rush_over_midnight_and_over_the_end_of_the_week_ends_on_the_next_day():
    night = 6 * MINUTES_A_DAY + 1380
    manifest = rendered(schedule(entry(60, night, 2), entry(night, 60, 5)))
    # from 23:00 on Sunday (0) until 01:00 on Monday (1)
    assert crons(manifest) == [("0 23 * * 0", "0 1 * * 1", "5")]


def test_a_holiday_takes_the_place_of_its_weekday():
    day = DatedEntry(
        start=datetime.fromisoformat("2026-03-23"),
        end=datetime.fromisoformat("2026-03-24"),
        size=size(2),
        reason="holiday",
    )
    assert crons(rendered(schedule(dated=(day,)))) == []
    after = rendered(schedule(dated=(day,)), now=NOW + timedelta(days=2))
    assert crons(after) == [("0 9 * * 1", "0 17 * * 1", "8")]


def test_without_an_answer_from_prometheus_nothing_is_scaled_down():
    manifest = rendered()
    assert manifest["spec"]["fallback"] == {
        "failureThreshold": 3,
        "replicas": 2,
        "behavior": "currentReplicasIfHigher",
    }
    trigger = manifest["spec"]["triggers"][-1]
    assert trigger["metricType"] == "AverageValue"
    assert trigger["metadata"]["threshold"] == "150"
    assert trigger["metadata"]["ignoreNullValues"] == "false"


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("spec.minReplicaCount", 0, "minimum"),
        ("spec.minReplicas", 2, "minReplicas"),
        ("spec.fallback.behavior", "hold", "hold"),
        ("spec.triggers", [], "non-empty"),
        ("kind", "HorizontalPodAutoscaler", "ScaledObject"),
    ],
)
def test_the_schema_refuses_what_keda_would_not_take(path, value, said):
    manifest = rendered()
    *parents, last = path.split(".")
    target = manifest
    for key in parents:
        target = target[key]
    target[last] = value
    with pytest.raises(InputError, match=said):
        check(manifest)


@pytest.mark.parametrize("cron", ["0 24 * * 1", "60 1 * * 1", "0 1 * * 7", "@daily"])
def test_the_schema_refuses_a_cron_that_is_none(cron):
    manifest = rendered()
    manifest["spec"]["triggers"][0]["metadata"]["start"] = cron
    with pytest.raises(InputError, match=r"triggers\.0"):
        check(manifest)


def test_a_schedule_of_no_hosts_at_all_is_refused():
    empty = WeeklyEntry(start=0, end=0, size=Size(minimum=0, desired=0, maximum=3), reason="x")
    none = Schedule(
        fleet="chat",
        zone=ZONE,
        made_at=NOW,
        lead_s=300.0,
        gpus_per_host=1,
        basis="x",
        limits=Limits(floor=0, ceiling=20),
        weekly=(empty,),
    )
    with pytest.raises(InputError, match="minReplicaCount"):
        render(none, settings(), now=NOW)


def test_writing_twice_changes_nothing(tmp_path):
    path = tmp_path / "a folder" / "scaled object.yaml"
    assert write(path, render(schedule(), settings(), now=NOW))
    assert not write(path, render(schedule(), settings(), now=NOW + timedelta(hours=1)))
    assert write(path, render(schedule(entry(0, 0, 3)), settings(), now=NOW))


@pytest.mark.parametrize("text", ["kind: ScaledObject", "a: [", ""])
def test_a_file_that_greenlight_did_not_write_is_left_alone(tmp_path, text):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=MANAGED):
        write(path, render(schedule(), settings(), now=NOW))
    assert path.read_text() == text
