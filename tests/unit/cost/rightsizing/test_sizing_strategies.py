import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from rightsizing_worlds import A_DAY, moved, series, weeks

from greenlight.cost.rightsizing.advice import Advice, Finding, Floor, NotEnoughData, Sized
from greenlight.cost.rightsizing.rules import Sizing
from greenlight.cost.rightsizing.series import Resource
from greenlight.cost.rightsizing.strategies.compute_optimizer import ComputeOptimizerLike
from greenlight.cost.rightsizing.strategies.krr import Krr
from greenlight.cost.rightsizing.strategies.percentile_headroom import PercentileHeadroom
from greenlight.cost.rightsizing.strategies.vpa import Vpa

ALL = [Vpa(), Krr(), Krr(cpu_percentile=99), ComputeOptimizerLike(), PercentileHeadroom()]
EXACT = [rule for rule in ALL if not isinstance(rule, Vpa)]


def sized(rule, usage):
    found = rule.size(usage)
    assert isinstance(found, Sized)
    return found


def bucket_ends(first=0.01, ratio=1.05, count=400):
    """Return the bucket ends of `histogram_options.go`, one by one."""
    ends, end, width = [], 0.0, first
    for _ in range(count):
        end += width
        width *= ratio
        ends.append(end)
    return ends


def test_vpa_takes_the_end_of_the_bucket_that_holds_p90_and_adds_fifteen_percent():
    usage = series(np.linspace(0.0, 10.0, A_DAY))
    no_decay = Vpa(half_life_hours=1e9)
    p90 = next(end for end in bucket_ends() if end > 9.0)
    assert sized(no_decay, usage).capacity == pytest.approx(1.15 * p90)


def test_vpa_forgets_half_every_day():
    values = np.concatenate([np.full(3 * A_DAY, 1.0), np.full(A_DAY, 4.0)])
    assert sized(Vpa(), series(values)).capacity > 4.0
    long_ago = np.concatenate([np.full(A_DAY, 4.0), np.full(6 * A_DAY, 1.0)])
    assert sized(Vpa(), series(long_ago)).capacity < 1.3
    assert sized(Vpa(half_life_hours=1e9), series(long_ago)).capacity > 4.0


@pytest.mark.parametrize(("days", "upper"), [(1, 1 + 1 / 0.2), (8, 1 + 1 / 1.6)])
def test_vpa_widens_its_bounds_while_history_is_short(days, upper):
    found = sized(Vpa(), series(np.full(days * A_DAY, 2.0)))
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.capacity < found.high
    # five-minute samples: 288 a day, where the recommender counts on 1,440
    assert found.high / found.capacity == pytest.approx(upper)


def test_vpa_sizes_memory_by_the_peaks_of_days():
    peaks = np.ones(4 * A_DAY) * 1e9
    peaks[10::A_DAY] = 4e9
    memory = sized(Vpa(), series(peaks, resource=Resource.MEMORY))
    cpu = sized(Vpa(first_bucket=1e7), series(peaks))
    assert memory.capacity > 4e9
    assert cpu.capacity < 1.3e9


def test_krr_is_numpys_percentile_of_the_points_and_needs_a_hundred():
    values = np.arange(1.0, 101.0)
    assert sized(Krr(), series(values)).capacity == pytest.approx(np.percentile(values, 95))
    short = Krr().size(series(values[:99]))
    assert short == NotEnoughData(why="99 trusted samples, at least 100 are needed")


def test_krr_gives_memory_its_peak_and_fifteen_percent():
    values = np.append(np.ones(200), 8.0)
    found = sized(Krr(), series(values, resource=Resource.MEMORY))
    assert found.capacity == pytest.approx(8 * 1.15)


def test_compute_optimizers_rule_is_p99_5_and_a_fifth_over_two_weeks():
    values = np.arange(1.0, 20 * A_DAY + 1)
    recent = values[-14 * A_DAY :]
    found = sized(ComputeOptimizerLike(), series(values))
    assert found.capacity == pytest.approx(1.2 * np.quantile(recent, 0.995), rel=1e-3)


def test_compute_optimizers_rule_needs_thirty_hours_of_metrics():
    rule = ComputeOptimizerLike()
    assert isinstance(rule.size(series(np.ones(30 * 12))), Sized)
    assert isinstance(rule.size(series(np.ones(30 * 12 - 1))), NotEnoughData)


@pytest.mark.parametrize("rule", ALL, ids=lambda rule: rule.strategy)
@settings(max_examples=15, deadline=None)
@given(floor=st.floats(0, 100), seed=st.integers(0, 9), resource=st.sampled_from(Resource))
def test_advice_is_never_below_the_floor(rule, floor, seed, resource):
    usage = series(weeks(9, seed=seed), resource=resource)
    advice = rule.advise(usage, floor=Floor(amount=floor, made_of="weights"))
    assert isinstance(advice, Advice)
    bare = sized(rule, usage).capacity
    assert advice.capacity == max(bare, floor)
    assert ("raised to the floor" in advice.why) == (floor > bare)


def test_the_backtest_of_raised_advice_is_of_the_raised_size():
    usage = series(moved(weeks(9), at_day=8.5, factor=5.0))
    bare = Krr().advise(usage)
    raised = Krr().advise(usage, floor=Floor(amount=1000.0, made_of="weights"))
    assert isinstance(bare, Advice)
    assert isinstance(raised, Advice)
    assert bare.risk == 4
    assert (raised.backtest.over, raised.risk) == (0.0, 0)


@pytest.mark.parametrize("rule", EXACT, ids=lambda rule: rule.strategy)
@settings(max_examples=15, deadline=None)
@given(scale=st.floats(1e-3, 1e9), seed=st.integers(0, 9))
def test_scaling_the_series_scales_the_advice(rule, scale, seed):
    values = weeks(9, seed=seed)
    one, scaled = sized(rule, series(values)), sized(rule, series(scale * values))
    assert scaled.capacity == pytest.approx(scale * one.capacity)


@settings(max_examples=15, deadline=None)
@given(scale=st.floats(0.1, 1e6), seed=st.integers(0, 9))
def test_vpas_buckets_let_a_scaled_series_slip_by_two_buckets_at_most(scale, seed):
    values = weeks(9, seed=seed)
    one, scaled = sized(Vpa(), series(values)), sized(Vpa(), series(scale * values))
    assert scaled.capacity == pytest.approx(scale * one.capacity, rel=0.11)


@pytest.mark.parametrize("rule", ALL, ids=lambda rule: rule.strategy)
@pytest.mark.parametrize("values", [np.zeros(9 * A_DAY), np.full(9 * A_DAY, 3.0)])
def test_zeros_and_constants_are_usage_like_any_other(rule, values):
    advice = rule.advise(series(values), current=10.0)
    assert isinstance(advice, Advice)
    assert advice.finding is Finding.OVERPROVISIONED
    assert advice.capacity >= values[0]
    assert advice.backtest.over == 0.0


@pytest.mark.parametrize("rule", ALL, ids=lambda rule: rule.strategy)
@pytest.mark.parametrize("values", [[np.nan] * 9 * A_DAY, [np.nan]])
def test_nothing_measured_is_too_little(rule, values):
    assert isinstance(rule.advise(series(values)), NotEnoughData)


@pytest.mark.parametrize("rule", ALL, ids=lambda rule: rule.strategy)
def test_advice_carries_its_own_backtest_on_the_same_history(rule):
    usage = series(weeks(14))
    advice = rule.advise(usage, current=20.0)
    assert isinstance(advice, Advice)
    assert advice.backtest.held >= 7
    assert advice.backtest.over is not None
    assert 0 <= advice.backtest.over <= 0.1
    assert (advice.history.end, advice.history.measured) == (
        usage.end,
        usage.measured,
    ) or isinstance(rule, Vpa)


@pytest.mark.parametrize("rule", ALL, ids=lambda rule: rule.strategy)
def test_a_backtest_can_show_that_a_strategy_fails(rule):
    usage = series(moved(weeks(14, weekend=1.0, daily=0.0), at_day=13, factor=3.0))
    blind = rule
    if isinstance(rule, PercentileHeadroom):
        blind = rule.model_copy(
            update={"shifts": rule.shifts.model_copy(update={"before_days": 20})}
        )
    advice = blind.advise(usage)
    assert isinstance(advice, Advice)
    assert advice.backtest.over is not None
    assert advice.backtest.over > 0.05
    assert advice.risk == 4


def test_a_setting_chooses_a_strategy_and_a_wrong_one_is_refused():
    sizing = TypeAdapter(Sizing)
    assert sizing.validate_python({"strategy": "krr", "cpu_percentile": 99}) == ALL[2]
    for wrong in ({"strategy": "guess"}, {"strategy": "krr", "percentile": 99}):
        with pytest.raises(ValidationError):
            sizing.validate_python(wrong)


def test_a_lookback_that_could_never_be_enough_is_refused():
    with pytest.raises(ValidationError, match="lookback_days 3 is below min_days 7"):
        PercentileHeadroom(lookback_days=3)
