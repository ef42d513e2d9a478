import numpy as np
import pytest
from scipy import optimize, special, stats

from greenlight.core.errors import InputError
from greenlight.quantize.proportions import (
    Flips,
    count_flips,
    difference_scores,
    paired_difference,
    paired_ratio,
    proportion,
    ratio_score,
    ratio_scores,
)
from greenlight.quantize.sample_size import n_needed, paired_n_needed

Z = stats.norm.ppf(0.95)


def flips(lost=70, gained=50, *, n=1000, kept=660):
    return Flips(kept=kept, lost=lost, gained=gained, n=n)


def outcome_grid(n, p_lost, p_gained):
    """Every likely (lost, gained) with its probability."""
    most = [int(n * p + 8 * np.sqrt(n * p) + 8) for p in (p_lost, p_gained)]
    lost, gained = np.meshgrid(np.arange(most[0] + 1.0), np.arange(most[1] + 1.0), indexing="ij")
    log_p = (
        special.gammaln(n + 1)
        - special.gammaln(lost + 1)
        - special.gammaln(gained + 1)
        - special.gammaln(n - lost - gained + 1)
        + lost * np.log(p_lost)
        + gained * np.log(p_gained)
        + (n - lost - gained) * np.log(1 - p_lost - p_gained)
    )
    return lost, gained, np.exp(log_p)


def test_flips_are_counted_by_who_was_right():
    parent = np.array([1, 1, 1, 0, 0], dtype=bool)
    candidate = np.array([1, 0, 0, 1, 0], dtype=bool)
    assert count_flips(parent, candidate) == Flips(kept=1, lost=2, gained=1, n=5)


def test_unequal_numbers_of_answers_are_refused():
    with pytest.raises(InputError, match="3 answers of the parent and 2"):
        count_flips(np.ones(3), np.ones(2))


@pytest.mark.parametrize(("lost", "gained"), [(70, 50), (10, 0), (0, 10), (120, 20)])
def test_the_difference_score_uses_the_constrained_likelihood(lost, gained):
    n, difference = 1000, -0.05

    def negative(p_lost):
        cells = (p_lost, p_lost + difference, 1 - 2 * p_lost - difference)
        counts = (lost, gained, n - lost - gained)
        return -sum(c * np.log(max(p, 1e-300)) for c, p in zip(counts, cells, strict=True) if c)

    best = optimize.minimize_scalar(
        negative, bounds=(-difference, 0.5), method="bounded", options={"xatol": 1e-12}
    ).x
    variance = n * (2 * best + difference * (1 - difference))
    expected = (gained - lost - n * difference) / np.sqrt(variance)
    scores = difference_scores(
        np.array([float(lost)]), np.array([float(gained)]), n=n, difference=difference
    )
    assert scores[0] == pytest.approx(expected, rel=1e-4)


def test_swapping_the_models_mirrors_the_interval():
    there, back = paired_difference(flips(70, 50)), paired_difference(flips(50, 70))
    assert there.low == pytest.approx(-back.high, abs=1e-9)
    ratio, inverse = paired_ratio(flips(70, 50)), paired_ratio(flips(50, 70, kept=660))
    assert ratio.low == pytest.approx(1 / inverse.high, rel=1e-6)


def test_no_flips_at_all_still_leave_room_for_doubt():
    found = paired_difference(flips(0, 0, n=400, kept=300))
    assert -0.02 < found.low < 0
    assert paired_ratio(flips(0, 0, n=400, kept=300)).low < 1


def test_more_items_narrow_the_interval():
    few = paired_difference(flips(7, 5, n=100, kept=66))
    assert paired_difference(flips()).low > few.low


def test_recovery_of_a_parent_that_was_never_right_is_not_a_number():
    assert paired_ratio(flips(0, 3, n=10, kept=0)) is None


@pytest.mark.parametrize(("lost", "gained"), [(70, 50), (10, 0), (0, 10), (120, 20)])
def test_the_ratio_score_uses_the_constrained_likelihood(lost, gained):
    data, ratio = flips(lost, gained), 0.93

    def only_parent_likelihood(p_lost):
        # p_kept + p_gained = ratio * (p_kept + p_lost); maximize over p_kept for a given p_lost.
        def negative(p_kept):
            p_gained = ratio * (p_kept + p_lost) - p_kept
            rest = 1 - p_kept - p_lost - p_gained
            counts = (data.kept, lost, gained, data.n - data.kept - lost - gained)
            cells = (p_kept, p_lost, p_gained, rest)
            return -sum(c * np.log(max(p, 1e-300)) for c, p in zip(counts, cells, strict=True) if c)

        top = min(ratio * p_lost / (1 - ratio), 1 - p_lost)
        return optimize.minimize_scalar(
            negative, bounds=(0, top), method="bounded", options={"xatol": 1e-13}
        ).fun

    best = optimize.minimize_scalar(
        only_parent_likelihood, bounds=(1e-9, 0.5), method="bounded", options={"xatol": 1e-10}
    ).x
    some = data.kept + gained + lost
    variance = data.n * (1 + ratio) * best + some * (ratio - 1)
    expected = (data.kept + gained - ratio * (data.kept + lost)) / np.sqrt(variance)
    assert ratio_score(data, ratio) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("n", [300, 1000])
@pytest.mark.parametrize("flip_rate", [0.06, 0.12, 0.18])
def test_a_model_exactly_at_the_margin_is_accepted_at_most_5_times_in_100(n, flip_rate):
    margin = 0.05
    lost, gained, p = outcome_grid(n, (flip_rate + margin) / 2, (flip_rate - margin) / 2)
    accepted = difference_scores(lost, gained, n=n, difference=-margin) >= Z
    assert p.sum() == pytest.approx(1, abs=1e-6)
    assert 0.035 < p[accepted].sum() < 0.052


@pytest.mark.parametrize("n", [300, 1000])
def test_a_recovery_exactly_at_the_margin_is_accepted_at_most_5_times_in_100(n):
    parent, ratio, flip_rate = 0.75, 0.95, 0.10
    p_lost = (flip_rate + parent * (1 - ratio)) / 2
    p_gained = flip_rate - p_lost
    drawn = np.random.default_rng(0).multinomial(
        n, [parent - p_lost, p_lost, p_gained, 1 - parent - p_gained], size=100_000
    )
    kept, lost, gained = drawn[:, 0].astype(float), *drawn[:, 1:3].T.astype(float)
    accepted = ratio_scores(kept, lost, gained, n=n, ratio=ratio) >= Z
    assert 0.04 < accepted.mean() < 0.053


def test_the_bounds_are_where_the_score_says():
    found = paired_difference(flips())
    scores = difference_scores(np.array([70.0]), np.array([50.0]), n=1000, difference=found.low)
    assert scores[0] == pytest.approx(Z, abs=1e-6)
    assert ratio_score(flips(), paired_ratio(flips()).low) == pytest.approx(Z, abs=1e-6)


def test_a_proportion_is_bounded_exactly():
    found = proportion(0, 59)
    assert found.low == 0.0
    assert found.high == pytest.approx(0.0495, abs=1e-3)
    assert proportion(59, 59).high == 1.0


def test_the_items_needed_give_the_power_they_promise():
    n = paired_n_needed(flip_rate=0.12, margin=0.05, true_loss=0.02)
    p_lost, p_gained = (0.12 + 0.02) / 2, (0.12 - 0.02) / 2
    lost, gained, p = outcome_grid(n, p_lost, p_gained)
    accepted = difference_scores(lost, gained, n=n, difference=-0.05) >= Z
    assert p[accepted].sum() == pytest.approx(0.95, abs=0.01)


def test_no_number_of_items_settles_a_value_on_the_limit():
    assert n_needed(gap=0.0, deviation=1.0) is None
    assert paired_n_needed(flip_rate=0.1, margin=0.05, true_loss=0.05) is None
