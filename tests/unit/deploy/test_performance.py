import math

import numpy as np
import pytest
from pydantic import ValidationError

from greenlight.core.errors import ConfigError
from greenlight.core.settings import PROJECT
from greenlight.deploy.colours import Colour
from greenlight.deploy.performance import (
    Level,
    Number,
    PerformanceSettings,
    load_performance,
    numbers_of,
)
from greenlight.deploy.samples import Sample

EXAMPLE = PROJECT / "include/config/performance.example.yaml"
SETTINGS = PerformanceSettings(levels=(Level(concurrency=4, requests=60),))


def answered(number, *, ttft=0.2, gap=0.02, tokens=64, **changes):
    values = {
        "colour": Colour.BLUE, "prompt": number, "at_s": 0.0, "ok": True, "ttft_s": ttft,
        "gap_s": gap, "total_s": ttft + (gap or 0) * (tokens - 1), "tokens": tokens,
        "finish": "length",
    }  # fmt: skip
    return Sample(**(values | changes))


def failed(number):
    return Sample(colour=Colour.BLUE, prompt=number, at_s=0.0, ok=False, reason="HTTP 500")


def measured(level, at_rate=None):
    numbers = numbers_of({4: level}, at_rate or [answered(0)], SETTINGS)
    return {number.name: number for number in numbers}


def test_every_number_has_its_n_and_bounds_around_it():
    draw = np.random.default_rng(1)
    found = measured([answered(n, ttft=draw.lognormal(-2, 0.3)) for n in range(60)])
    assert {"ttft_p50.4", "ttft_p90.4", "gap_p50.4", "total_p50.4", "tokens_per_second.4"} < set(
        found
    )
    for name in ("ttft_p50.4", "gap_p50.4", "total_p50.4", "tokens_per_second.4"):
        number = found[name]
        assert number.n == 60
        assert number.low <= number.value <= number.high
    assert found["ttft_p50.4"].low < found["ttft_p50.4"].value < found["ttft_p50.4"].high


def test_the_speed_is_that_of_all_who_are_busy():
    found = measured([answered(n) for n in range(60)])
    assert found["tokens_per_second.4"].value == pytest.approx(4 * 64 / (0.2 + 63 * 0.02))


def test_a_failed_request_is_slower_than_every_time():
    found = measured([answered(n) for n in range(29)] + [failed(n) for n in range(31)])
    assert found["ttft_p50.4"].value is None
    assert found["ttft_p50.4"].bounds.value == math.inf
    assert found["failed"].value == pytest.approx(31 / 61)


def test_nothing_answered_gives_a_number_without_a_value():
    found = measured([failed(n) for n in range(30)])
    assert (found["tokens_per_second.4"].value, found["tokens_per_second.4"].n) == (None, 0)


def test_goodput_counts_who_keeps_the_whole_objective():
    kept, late, slow = answered(0), answered(1, ttft=2.1), answered(2, gap=0.11)
    one_token = answered(3, gap=None, tokens=1)
    found = measured([answered(0)] * 30, [kept, late, slow, one_token, failed(4)])
    assert found["goodput"].value == pytest.approx(2 / 5)
    assert found["goodput"].n == 5


def test_each_level_tells_how_many_of_its_own_requests_kept_the_objective():
    found = measured([answered(0)] * 57 + [answered(1, ttft=2.1)] * 2 + [failed(2)], [failed(3)])
    assert found["goodput.4"].value == pytest.approx(57 / 60)
    assert (found["goodput.4"].n, found["goodput"].value) == (60, 0.0)


def test_limits_are_no_part_of_the_load():
    assert PerformanceSettings(slower=0.5, fewer=0.2).load_digest == (
        PerformanceSettings().load_digest
    )
    assert PerformanceSettings(rate=3).load_digest != PerformanceSettings().load_digest


def test_more_comparisons_make_each_one_stricter():
    assert SETTINGS.each_confidence < PerformanceSettings().each_confidence < 1


def test_a_level_too_small_for_a_median_is_refused():
    with pytest.raises(ValidationError, match="27"):
        Level(concurrency=1, requests=26)


def test_the_example_file_is_valid_and_its_default_is_the_default():
    assert load_performance(EXAMPLE, "any") == PerformanceSettings()
    assert load_performance(EXAMPLE, "demo").rate == 1.0


def test_an_unknown_key_of_the_file_is_refused(tmp_path):
    file = tmp_path / "performance.yaml"
    file.write_text("default: {rate: 1, speed: 2}")
    with pytest.raises(ConfigError, match="speed"):
        load_performance(file, "any")


def test_a_missing_bound_is_no_bound():
    bounds = Number(name="x", value=1.0, low=None, high=None, n=1).bounds
    assert (bounds.low, bounds.high) == (-math.inf, math.inf)
