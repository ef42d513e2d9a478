import pytest
from scaling_plan_worlds import DIGEST, MEASURED, a_benchmark, a_journal, number

from greenlight.entrypoints.scaling_facts import NEWEST, capacity_now, cold_starts, lead_of
from greenlight.scaling.capacity import CapacitySettings, HostCapacity, LeadTime, Unknown
from greenlight.scaling.scaling_file import FleetScaling

SCALING = FleetScaling(ceiling=9)


def capacity(benchmark, journal=None, **settings):
    return capacity_now(
        journal or a_journal(), "f", benchmark_of=lambda version: benchmark,
        measured_with=MEASURED, settings=CapacitySettings(**settings),
    )  # fmt: skip


def test_a_host_takes_its_part_of_the_fastest_level_that_kept_the_objective():
    found = capacity(a_benchmark())
    assert isinstance(found, HostCapacity)
    assert found.tokens_per_second == pytest.approx(200 / 2)
    assert "benchmark of version 7 on f" in found.source


def test_the_open_loops_goodput_is_no_level():
    numbers = (number("tokens_per_second.4", 200.0), number("goodput", 1.0))
    found = capacity(a_benchmark(numbers=numbers))
    assert isinstance(found, Unknown)
    assert "no level with 99% within the objective" in found.why


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"digest": "e" * 64}, "not of dddd"),
        ({"flags_digest": "e" * 64}, "others are live"),
        ({"load_digest": "e" * 64}, "another load or objective"),
        ({"other_requests": 100}, "33% of the requests meanwhile was clients'"),
        ({"other_requests": None}, "an unknown part"),
    ],
)
def test_a_benchmark_of_something_else_is_not_known(changes, why):
    found = capacity(a_benchmark(**changes))
    assert isinstance(found, Unknown)
    assert why in found.why
    assert found.measure


def test_nothing_live_and_nothing_measured_say_what_to_do():
    assert "nothing is live" in capacity(a_benchmark(), a_journal(live=False)).why
    assert DIGEST[:19] in capacity(None).why


def test_the_lead_is_a_high_quantile_of_what_rollouts_took():
    found = lead_of(a_journal(200, 240, 250, 260, 300), "f", SCALING)
    assert (found.seconds, found.source) == (300, "P90 of 5 starts in rollouts of f")


def test_too_few_starts_are_not_known_even_with_the_machines_part():
    found = lead_of(a_journal(200, 240), "f", FleetScaling(ceiling=9, machine_start_s=100))
    assert isinstance(found, Unknown)
    assert "2 cold starts" in found.why


def test_a_machine_that_is_ordered_comes_before_its_engine():
    found = lead_of(a_journal(*[60] * 5), "f", FleetScaling(ceiling=9, machine_start_s=190))
    assert isinstance(found, LeadTime)
    assert found.seconds == 250
    assert found.source.startswith("190 s for the machine, as set")


def test_old_starts_are_forgotten():
    assert len(cold_starts(a_journal(*[60] * (NEWEST + 9)), "f")) == NEWEST
    assert cold_starts(a_journal(), "other") == ()
