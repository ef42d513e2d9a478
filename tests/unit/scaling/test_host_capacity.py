import pytest

from greenlight.scaling.capacity import (
    CapacitySettings,
    HostCapacity,
    LeadTime,
    SpeedLevel,
    SpeedRecord,
    Unknown,
    host_capacity,
    lead_time,
)

DIGEST = "sha256:abc"


def record(*levels, hosts=2, digest=DIGEST):
    made = tuple(
        SpeedLevel(concurrency=c, tokens_per_second=t, within_objective=w) for c, t, w in levels
    )
    return SpeedRecord(
        model="chat", version=3, digest=digest, source="run 12", hosts=hosts, levels=made
    )


def capacity(found, **settings):
    return host_capacity(found, digest=DIGEST, settings=CapacitySettings(**settings))


def test_the_fastest_level_within_the_objective_counts_for_one_host():
    found = capacity(record((1, 100, 1.0), (8, 400, 0.995), (16, 600, 0.8)))
    assert found == HostCapacity(tokens_per_second=200, source="run 12")


def test_a_fill_below_one_keeps_some_of_it_back():
    assert capacity(record((8, 400, 1.0)), fill=0.8).tokens_per_second == pytest.approx(160)


@pytest.mark.parametrize(
    "found",
    [
        None,
        record((8, 400, 1.0), digest="sha256:other"),
        record((8, 400, 0.9)),
        record((8, 400, None)),
        record((8, None, 1.0)),
        record(),
    ],
    ids=["none", "another model", "misses the objective", "objective unknown", "no speed", "empty"],
)
def test_what_was_not_measured_is_unknown_and_says_what_to_measure(found):
    answer = capacity(found)
    assert isinstance(answer, Unknown)
    assert "run" in answer.measure


def test_the_lead_is_a_high_quantile_of_measured_starts():
    starts = [60, 70, 80, 90, 100, 110, 120, 130, 140, 400]
    found = lead_time(starts, source="the journal", settings=CapacitySettings())
    assert found == LeadTime(seconds=140, source="P90 of 10 starts in the journal")


def test_few_starts_take_the_longest():
    assert lead_time([60, 70, 300, 80, 90], source="x", settings=CapacitySettings()).seconds == 300


def test_too_few_starts_are_unknown_and_broken_ones_do_not_count():
    found = lead_time([60, 70, float("nan"), -1, 80, 90], source="x", settings=CapacitySettings())
    assert isinstance(found, Unknown)
    assert "4 cold starts" in found.why
