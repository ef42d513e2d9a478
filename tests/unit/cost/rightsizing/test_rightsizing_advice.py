from datetime import timedelta

import pytest
from rightsizing_worlds import day

from greenlight.cost.rightsizing.advice import (
    Backtest,
    Finding,
    History,
    Reason,
    Withdrawn,
    find,
    gpu_memory_floor,
    risk_of,
)
from greenlight.cost.rightsizing.series import DAY, Resource
from greenlight.cost.rightsizing.shifts import LevelShift


def backtest(over):
    return Backtest(over=over, slack=0.5, held=7, withdrawn=0, not_enough=0, hold=DAY)


@pytest.mark.parametrize(
    ("capacity", "current", "finding"),
    [
        (5.0, 10.0, Finding.OVERPROVISIONED),
        (9.5, 10.0, Finding.OPTIMIZED),  # half a core isn't worth a move
        (10.0, 10.0, Finding.OPTIMIZED),
        (10.1, 10.0, Finding.UNDERPROVISIONED),
    ],
)
def test_the_finding_compares_with_what_is_there(capacity, current, finding):
    assert find(Resource.CPU, capacity=capacity, current=current, tolerance=0.1)[0] is finding


def test_without_knowing_what_is_there_nothing_is_found():
    assert find(Resource.CPU, capacity=5.0, current=None, tolerance=0.1) == (None, ())


@pytest.mark.parametrize("resource", list(Resource))
def test_every_resource_has_compute_optimizers_reasons_for_too_much_and_too_little(resource):
    (over,) = find(resource, capacity=1.0, current=10.0, tolerance=0.1)[1]
    (under,) = find(resource, capacity=10.0, current=1.0, tolerance=0.1)[1]
    stem = {"cpu": "CPU", "memory": "Memory", "gpu": "GPU", "gpu_memory": "GPUMemory"}[resource]
    assert (over, under) == (Reason(f"{stem}Overprovisioned"), Reason(f"{stem}Underprovisioned"))


@pytest.mark.parametrize(
    ("over", "risk"),
    [(0.0, 0), (0.005, 1), (0.01, 2), (0.02, 3), (0.05, 3), (0.06, 4), (1.0, 4), (None, 3)],
)
def test_risk_grows_with_the_time_above_and_is_high_where_none_could_be_tried(over, risk):
    assert risk_of(backtest(over), target=0.01) == risk


def test_the_floor_of_gpu_memory_is_weights_and_kv_cache():
    floor = gpu_memory_floor(weights=14.5, kv_cache=3.5)
    assert floor.amount == 18.0
    assert floor.made_of == "weights 14.5 + KV cache 3.5"


def test_a_withdrawal_says_when_from_what_and_to_what():
    shift = LevelShift(at=day(3.5), before=2.0, after=5.25, of="usual level")
    withdrawn = Withdrawn(
        shift=shift, history=History(start=day(3.5), end=day(5), measured=timedelta(days=1.5))
    )
    assert withdrawn.why == (
        "the usual level went from 2 to 5.25 about 2026-03-05 12:00 UTC and stayed there"
    )
