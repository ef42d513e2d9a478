import json
from datetime import UTC, datetime

import numpy as np
import pytest

from greenlight.deploy.colours import Colour
from greenlight.deploy.performance import Benchmark, Level, PerformanceSettings, numbers_of
from greenlight.deploy.regression import Result, compare, table
from greenlight.deploy.samples import Sample

SETTINGS = PerformanceSettings(levels=(Level(concurrency=1, requests=60),))


def a_benchmark(seed=1, *, n=60, slower=1.0, fails=0, misses=0, **changes):
    draw = np.random.default_rng(seed)

    def sample(number):
        ttft, gap = draw.lognormal(-2, 0.2) * slower, draw.lognormal(-4, 0.1) * slower
        if number < misses:
            ttft = 5.0
        return Sample(
            colour=Colour.BLUE, prompt=number, at_s=0.0, ok=number >= fails, ttft_s=ttft,
            gap_s=gap, total_s=ttft + 63 * gap, tokens=64, finish="length",
        )  # fmt: skip

    numbers = numbers_of(
        {1: [sample(1000 + i) for i in range(n)]}, [sample(i) for i in range(200)], SETTINGS
    )
    values = {
        "fleet": "f", "model": "m", "version": 1, "digest": "d", "flags_digest": "flags",
        "load_digest": "load", "hosts": 2, "rollout_id": "r", "measured_at": datetime.now(UTC),
        "requests": n + 200, "other_requests": 0, "confidence": SETTINGS.each_confidence,
        "numbers": numbers,
    }  # fmt: skip
    return Benchmark(**(values | changes))


def test_without_a_benchmark_before_that_is_the_result():
    assert compare(None, a_benchmark(), SETTINGS).result is Result.NO_EARLIER


@pytest.mark.parametrize(
    ("before", "word"),
    [({"flags_digest": "x"}, "flags"), ({"load_digest": "x"}, "load"), ({"hosts": 1}, "1 hosts")],
)
def test_what_was_measured_otherwise_is_not_compared(before, word):
    found = compare(a_benchmark(**before), a_benchmark(2), SETTINGS)
    assert found.result is Result.NO_EARLIER
    assert word in found.reason


def test_an_equal_version_is_no_regression():
    found = compare(a_benchmark(1), a_benchmark(2), SETTINGS)
    assert found.result is Result.SAME
    assert {row.result for row in found.rows} == {Result.SAME}


def test_a_slower_version_is_a_regression_and_the_reason_has_the_numbers():
    found = compare(a_benchmark(1), a_benchmark(2, slower=1.6), SETTINGS)
    assert found.result is Result.REGRESSION
    for name in ("ttft_p50.1", "gap_p50.1", "total_p50.1", "tokens_per_second.1"):
        assert name in found.reason
    row = next(row for row in found.rows if row.name == "tokens_per_second.1")
    assert row.low > row.limit == 1.3


def test_a_faster_version_is_no_regression():
    assert compare(a_benchmark(1), a_benchmark(2, slower=0.5), SETTINGS).result is Result.SAME


def test_a_version_at_the_limit_is_proven_neither_way():
    found = compare(a_benchmark(1), a_benchmark(2, slower=1.3), SETTINGS)
    assert found.result is Result.NOT_ENOUGH


@pytest.mark.parametrize("worse", [{"fails": 60}, {"misses": 60}])
def test_failures_and_missed_objectives_are_a_regression(worse):
    found = compare(a_benchmark(1), a_benchmark(2, **worse), SETTINGS)
    assert found.result is Result.REGRESSION
    assert "points worse" in found.reason


def test_too_few_requests_decide_nothing():
    found = compare(a_benchmark(1, n=20), a_benchmark(2, n=20, slower=2.0), SETTINGS)
    assert found.result is Result.NOT_ENOUGH
    assert "takes 27" in found.reason


@pytest.mark.parametrize("others", [10_000, None])
def test_traffic_of_clients_makes_a_comparison_void(others):
    found = compare(a_benchmark(1), a_benchmark(2, slower=2, other_requests=others), SETTINGS)
    assert found.result is Result.NOT_ENOUGH


def test_half_of_the_requests_failing_is_slower_than_anything():
    level = a_benchmark(2)
    lost = [
        n if n.name != "ttft_p50.1" else n.model_copy(update={"value": None, "high": None})
        for n in level.numbers
    ]
    found = compare(a_benchmark(1), level.model_copy(update={"numbers": tuple(lost)}), SETTINGS)
    assert found.to_json()["rows"][0]["worse"] is None
    back = compare(level.model_copy(update={"numbers": tuple(lost)}), a_benchmark(1), SETTINGS)
    assert back.result is Result.NOT_ENOUGH


def test_equal_versions_are_rarely_called_slower():
    wrong = sum(
        compare(a_benchmark(seed), a_benchmark(10_000 + seed), SETTINGS).result is Result.REGRESSION
        for seed in range(100)
    )
    assert wrong == 0


def test_a_benchmark_survives_being_kept_as_text():
    kept = a_benchmark(1)
    assert Benchmark.model_validate_json(kept.model_dump_json()) == kept


def test_results_are_plain_json_and_a_table():
    now = a_benchmark(2, slower=1.6)
    found = compare(a_benchmark(1), now, SETTINGS)
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["before"] == 1
    lines = table(now, found).splitlines()
    assert len(lines) == 1 + len(now.numbers)
    assert "ttft_p90.1" in table(now, compare(None, now, SETTINGS))
