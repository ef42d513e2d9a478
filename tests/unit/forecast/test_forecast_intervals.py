import numpy as np
import pytest

from greenlight.forecast.intervals import LEAST_ERRORS, bands, total

LEVELS = (0.5, 0.8, 0.95)


def errors_of(rows, steps, *, seed=1, spread=1.0, mean=0.0):
    return np.random.default_rng(seed).normal(mean, spread, (rows, steps))


def test_bands_cover_what_they_say_on_errors_of_the_same_kind():
    points = np.zeros(24)
    found = bands(points, errors_of(60, 24), levels=LEVELS, pooled=2)
    fresh = errors_of(400, 24, seed=2)
    for band in found:
        inside = ((fresh >= band.low) & (fresh <= band.high)).mean()
        assert inside == pytest.approx(band.level, abs=0.04)


def test_errors_that_grow_with_the_lead_make_bands_that_grow():
    errors = errors_of(60, 48) * np.linspace(0.2, 3, 48)
    band = bands(np.zeros(48), errors, levels=(0.8,), pooled=2)[0]
    width = band.high - band.low
    assert width[40:].mean() > 4 * width[:8].mean()


def test_a_lasting_error_moves_the_band_and_not_only_widens_it():
    band = bands(np.zeros(5), errors_of(60, 5, mean=10), levels=(0.8,), pooled=2)[0]
    assert (band.low > 5).all()


def test_too_few_errors_have_no_band():
    band = bands(np.zeros(3), errors_of(LEAST_ERRORS - 1, 3), levels=(0.8,), pooled=0)[0]
    assert np.isnan(band.low).all()
    assert np.isnan(band.high).all()


def test_a_total_is_narrower_than_the_sum_of_bounds_when_errors_cancel_out():
    points = np.full(24, 10.0)
    errors = errors_of(40, 24)
    found = total(points, errors, np.arange(40) * 24, levels=(0.8,), floor=0.0)
    band = bands(points, errors, levels=(0.8,), pooled=2)[0]
    width = found.intervals[0].high - found.intervals[0].low
    assert width < 0.5 * (band.high - band.low).sum()


def test_a_total_is_as_wide_as_the_bounds_when_errors_pile_up():
    shared = np.random.default_rng(1).normal(0, 1, (40, 1))
    errors = np.repeat(shared, 24, axis=1)
    found = total(np.full(24, 10.0), errors, np.arange(40) * 24, levels=(0.8,), floor=None)
    assert found.intervals[0].high - found.intervals[0].low > 24 * 2


def test_totals_cover_what_they_say():
    inside = []
    for seed in range(300):
        errors = errors_of(11, 24, seed=seed)
        found = total(np.zeros(24), errors[:-1], np.arange(10) * 24, levels=(0.8,), floor=None)
        inside.append(found.intervals[0].low <= errors[-1].sum() <= found.intervals[0].high)
    assert np.mean(inside) == pytest.approx(0.8, abs=0.05)


def test_a_forecast_that_is_always_below_is_put_right_in_the_total():
    errors = errors_of(20, 24, mean=2.0)
    found = total(np.full(24, 10.0), errors, np.arange(20) * 24, levels=(0.8,), floor=0.0)
    assert found.point == pytest.approx(288, rel=0.02)


def test_chance_does_not_move_the_total():
    found = total(np.full(24, 10.0), errors_of(20, 24), np.arange(20) * 24, levels=(), floor=0.0)
    assert found.point == pytest.approx(240)


def test_a_total_beyond_what_was_tried_scales_the_error_up_and_says_so():
    errors = errors_of(10, 240)
    for row in range(10):
        errors[row, 240 - 24 * row :] = np.nan
    origins = np.arange(10) * 24
    found = total(np.full(240, 10.0), errors, origins, levels=(0.8,), floor=0.0)
    assert 0 < found.horizon < 240
    near = total(np.full(24, 10.0), errors[:, :24], origins, levels=(0.8,), floor=0.0)
    assert found.intervals[0].high - found.point > near.intervals[0].high - near.point


def test_a_total_without_whole_horizons_has_no_interval():
    found = total(np.full(24, 10.0), errors_of(3, 24), np.arange(3), levels=(0.8,), floor=0.0)
    assert found.point == pytest.approx(240)
    assert found.intervals == ()
    assert found.horizon == 0
