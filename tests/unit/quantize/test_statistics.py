import math

import numpy as np
import pytest

from greenlight.core.errors import InputError
from greenlight.quantize.statistics import (
    block_sums,
    bootstrap_quantile,
    bootstrap_ratio,
)


def rng(seed=0):
    return np.random.default_rng(seed)


def blocks(n=32, tokens=64):
    return np.repeat(np.arange(n), tokens)


def test_block_sums_add_up_to_the_whole():
    values, block = rng().normal(size=300), rng(1).integers(0, 7, 300)
    sums, counts = block_sums(values, block)
    assert sums.sum() == pytest.approx(values.sum())
    assert counts.sum() == 300


def test_values_without_their_blocks_are_refused():
    with pytest.raises(InputError, match="5 values with 4 block numbers"):
        block_sums(np.ones(5), np.zeros(4, dtype=int))


def test_the_mean_lies_between_its_bounds_and_n_counts_blocks_not_tokens():
    sums, counts = block_sums(rng().gamma(1.0, 0.1, 32 * 64), blocks())
    found = bootstrap_ratio(sums, counts, rng=rng())
    assert found.low < found.value < found.high
    assert found.n == 32
    assert found.value == pytest.approx(sums.sum() / counts.sum())


def test_the_same_seed_gives_the_same_bounds():
    sums, counts = block_sums(rng().gamma(1.0, 0.1, 32 * 64), blocks())
    first = bootstrap_ratio(sums, counts, rng=rng(7), resamples=500)
    again = bootstrap_ratio(sums, counts, rng=rng(7), resamples=500)
    assert first == again


def test_tokens_of_one_block_do_not_pass_for_independent_ones():
    per_block = rng().normal(0, 0.1, 32)
    alike = np.repeat(per_block, 64)
    sums, counts = block_sums(alike, blocks())
    by_block = bootstrap_ratio(sums, counts, rng=rng())
    by_token = bootstrap_ratio(alike, np.ones(alike.size), rng=rng(), resamples=1000)
    assert by_block.high - by_block.low > 5 * (by_token.high - by_token.low)


def test_one_block_bounds_nothing():
    sums, counts = block_sums(np.ones(10), np.zeros(10, dtype=int))
    found = bootstrap_ratio(sums, counts, rng=rng())
    assert (found.low, found.high) == (None, None)


def test_blocks_that_do_not_vary_are_known_exactly():
    sums, counts = block_sums(np.full(320, 0.3), blocks(32, 10))
    found = bootstrap_ratio(sums, counts, rng=rng(), resamples=200)
    assert found.low == pytest.approx(0.3)
    assert found.high == pytest.approx(0.3)


def test_a_single_differing_block_is_not_bounded_by_wishful_thinking():
    values = np.zeros(32)
    values[3] = 1.0
    found = bootstrap_ratio(values, np.ones(32), rng=rng(), resamples=2000)
    assert found.high is None or found.high > found.value


def test_one_sided_bounds_of_a_skewed_mean_hold_about_as_often_as_they_say():
    generator, missed_low, missed_high, rounds = rng(3), 0, 0, 400
    for _ in range(rounds):
        tokens = generator.integers(300, 512, 32).astype(float)
        sums = generator.gamma(4.0, 0.01, 32) * tokens
        found = bootstrap_ratio(sums, tokens, rng=generator, resamples=400)
        missed_low += found.low > 0.04
        missed_high += found.high < 0.04
    assert missed_low / rounds < 0.09
    assert missed_high / rounds < 0.09


def test_the_side_of_the_long_tail_is_the_wider_one():
    # A sample of a right-skewed quantity mostly misses its rare large values, so its mean is
    # mostly too small: the truth lies further above than below.
    sums = rng(5).gamma(0.4, 1.0, 30)
    found = bootstrap_ratio(sums, np.ones(30), rng=rng())
    assert found.high - found.value > 1.3 * (found.value - found.low)


def test_the_deviation_is_that_of_a_sample():
    sums = rng().normal(1.0, 0.2, 6)
    found = bootstrap_ratio(sums, np.ones(6), rng=rng(), resamples=200)
    assert found.deviation == pytest.approx(sums.std(ddof=1))


def test_a_quantile_is_the_one_numpy_finds():
    values = rng().gamma(0.3, 0.3, 32 * 64)
    found = bootstrap_quantile(values, blocks(), q=0.99, rng=rng(), resamples=500)
    assert found.value == np.quantile(values, 0.99, method="inverted_cdf")
    assert found.low <= found.value <= found.high


def test_a_quantile_follows_the_weights_of_a_resample():
    # Only block 0 holds large values: resamples with and without it must differ.
    values = np.concatenate([np.full(64, 5.0), np.zeros(64 * 7)])
    found = bootstrap_quantile(values, blocks(8), q=0.9, rng=rng(), resamples=2000)
    assert found.low == 0.0
    assert found.high == 5.0


def test_a_tail_of_few_tokens_reaches_up_to_its_maximum():
    values = rng().gamma(0.3, 0.3, 32 * 64)
    found = bootstrap_quantile(values, blocks(), q=0.999, rng=rng(), resamples=500)
    assert found.high <= values.max()
    assert math.isfinite(found.high)
