import math

import pytest

from greenlight.deploy import bounds
from greenlight.deploy.sample_size import faultless_n, half_tail_n, settling_n


@pytest.mark.parametrize(("quantile", "n"), [(0.5, 27), (0.9, 239), (0.95, 505), (0.99, 2628)])
def test_a_quantile_is_read_from_enough_values_for_half_its_tail(quantile, n):
    assert half_tail_n(quantile) == n

    def margin(count):
        return 2.576 * math.sqrt(quantile * (1 - quantile) / count)

    assert margin(n) <= (1 - quantile) / 2 < margin(n - 1)


@pytest.mark.parametrize(("margin", "confidence"), [(0.01, 0.95), (0.01, 0.99), (0.05, 0.9875)])
def test_the_faultless_n_is_the_smallest_that_proves_the_margin(margin, confidence):
    n = faultless_n(margin, confidence=confidence)
    assert bounds.share(0, n, confidence).high <= margin
    assert bounds.share(0, n - 1, confidence).high > margin


def test_half_the_margin_takes_four_times_the_requests():
    assert settling_n(100, estimate=1.0, bound=1.4, limit=1.2) == pytest.approx(400, abs=1)
    assert settling_n(100, estimate=1.0, bound=0.6, limit=0.8) == pytest.approx(400, abs=1)


@pytest.mark.parametrize(
    ("estimate", "bound", "limit"),
    [(1.3, 1.4, 1.2), (1.2, 1.4, 1.2), (1.0, math.inf, 1.2), (math.inf, math.inf, 1.2)],
)
def test_nothing_settles_an_estimate_beyond_its_limit_or_without_a_bound(estimate, bound, limit):
    assert settling_n(100, estimate=estimate, bound=bound, limit=limit) is None
