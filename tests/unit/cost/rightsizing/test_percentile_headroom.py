import numpy as np
import pytest
from rightsizing_worlds import A_DAY, day, moved, series, weeks

from greenlight.cost.rightsizing.advice import (
    Advice,
    NotEnoughData,
    Sized,
    Withdrawn,
    gpu_memory_floor,
)
from greenlight.cost.rightsizing.backtest import origins, replay, summarise
from greenlight.cost.rightsizing.series import DAY, Resource
from greenlight.cost.rightsizing.strategies.percentile_headroom import PercentileHeadroom

RULE = PercentileHeadroom()


def test_a_week_is_needed():
    short = RULE.size(series(weeks(7)[:-1]))
    assert short == NotEnoughData(why="7.0 days of history, at least 7 are needed")
    assert isinstance(RULE.size(series(weeks(7))), Sized)


def test_a_history_of_gaps_is_too_little():
    values = weeks(14)
    values[np.arange(values.size) % A_DAY < A_DAY // 3] = np.nan
    found = RULE.size(series(values))
    assert isinstance(found, NotEnoughData)
    assert "67% of 14.0 days measured, at least 75% are needed" in found.why


def test_a_third_of_the_samples_lost_here_and_there_costs_nothing():
    values = weeks(14)
    whole = RULE.size(series(values))
    values[np.random.default_rng(0).random(values.size) < 0.3] = np.nan
    found = RULE.size(series(values))
    assert isinstance(whole, Sized)
    assert isinstance(found, Sized)
    assert found.capacity == pytest.approx(whole.capacity, rel=0.03)


def test_samples_too_far_apart_to_see_a_shift_are_too_little():
    values = weeks(60)[::36]
    found = RULE.size(series(values, step=np.timedelta64(3, "h")))
    assert found == NotEnoughData(
        why="a sample every 3.0 h, at least one an hour is needed to see a shift"
    )


def test_a_steady_series_gets_its_percentile_and_little_headroom():
    values = weeks(14)
    found = RULE.size(series(values))
    assert isinstance(found, Sized)
    assert found.capacity == pytest.approx(1.03 * np.quantile(values, 0.995), rel=0.01)


def test_the_backtest_begins_when_there_is_a_week():
    advice = RULE.advise(series(weeks(14)))
    assert isinstance(advice, Advice)
    assert (advice.backtest.held, advice.backtest.not_enough) == (7, 0)


def test_headroom_grows_until_the_backtest_would_have_been_enough():
    growing = np.repeat(1.03 ** np.arange(14), A_DAY) * weeks(14, weekend=1.0)
    bare = PercentileHeadroom(max_headroom=0.03)
    found, least = RULE.size(series(growing)), bare.size(series(growing))
    assert isinstance(found, Sized)
    assert isinstance(least, Sized)
    assert found.capacity > 1.02 * least.capacity
    usage = series(growing)
    at = origins(usage, first=7 * DAY, every=DAY, hold=DAY)
    over = {
        rule.max_headroom: summarise(replay(rule.size, usage, at, hold=DAY), hold=DAY).over
        for rule in (RULE, bare)
    }
    assert over[RULE.max_headroom] < over[0.03]


def test_memory_is_sized_by_its_peak():
    values = weeks(14)
    values[100] = 50.0
    memory = RULE.size(series(values, resource=Resource.MEMORY))
    assert isinstance(memory, Sized)
    assert memory.capacity >= 1.15 * 50.0


def test_gpu_memory_never_goes_below_weights_and_kv_cache():
    idle = series(np.full(8 * A_DAY, 2.0), resource=Resource.GPU_MEMORY)
    advice = RULE.advise(idle, current=80.0, floor=gpu_memory_floor(weights=15.0, kv_cache=4.0))
    assert isinstance(advice, Advice)
    assert advice.capacity == 19.0
    assert "raised to the floor of 19 (weights 15 + KV cache 4)" in advice.why


@pytest.mark.parametrize("factor", [0.4, 2.0])
def test_after_a_shift_the_advice_is_withdrawn_until_the_new_level_showed_a_week(factor):
    values = moved(weeks(28), at_day=15, factor=factor)
    answers = {d: RULE.size(series(values[: int(d * A_DAY)])) for d in (15, 16, 18, 21, 23, 28)}
    assert isinstance(answers[15], Sized)
    for known in (16, 18, 21):
        withdrawn = answers[known]
        assert isinstance(withdrawn, Withdrawn)
        assert abs(withdrawn.shift.at - day(15)) <= np.timedelta64(6, "h")
        assert (withdrawn.shift.after > withdrawn.shift.before) == (factor > 1)
    new = values[15 * A_DAY :]
    for again in (23, 28):
        found = answers[again]
        assert isinstance(found, Sized)
        assert found.history.start >= day(15 - 0.25)
        assert found.capacity < 1.5 * np.quantile(new, 0.995)


def test_a_withdrawal_is_what_advise_answers_too():
    values = moved(weeks(14), at_day=12, factor=2.0)
    assert isinstance(RULE.advise(series(values[: 12 * A_DAY]), current=100.0), Advice)
    assert isinstance(RULE.advise(series(values), current=100.0), Withdrawn)


def test_the_target_is_kept_on_steady_series():
    for seed in range(4):
        usage = series(weeks(21, seed=seed, noise=0.15))
        at = origins(usage, first=7 * DAY, every=DAY, hold=DAY)
        found = summarise(replay(RULE.size, usage, at, hold=DAY), hold=DAY)
        assert found.over is not None
        assert found.slack is not None
        assert found.over <= 0.01
        assert found.slack <= 0.56
        assert found.withdrawn == 0
