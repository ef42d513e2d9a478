import math

import numpy as np
from analysis_worlds import samples

from greenlight.deploy.analysis import Sample, SampleSet
from greenlight.deploy.colours import Colour


def one(**values):
    sample = Sample(colour=Colour.GREEN, prompt=3, at_s=0.0, **values)
    return SampleSet([sample]).columns()


def test_a_failed_request_is_slower_than_every_limit_even_when_its_first_token_came():
    columns = one(ok=False, ttft_s=0.1, gap_s=0.01, total_s=0.3, tokens=4, finish="stop")
    assert columns.ttft[0] == columns.gap[0] == columns.total[0] == math.inf
    assert np.isnan([columns.tokens[0], columns.stop[0], columns.agrees[0]]).all()


def test_what_was_not_measured_is_not_a_number_and_not_zero():
    columns = one(ok=True, total_s=0.5)
    assert columns.total[0] == 0.5
    assert np.isnan([columns.ttft[0], columns.gap[0], columns.tokens[0], columns.stop[0]]).all()


def test_samples_added_later_are_seen_later_and_only_then():
    gathered = SampleSet(samples(10))
    first = gathered.columns()
    gathered.add(samples(11)[-1])
    second = gathered.columns()
    assert (first.n, second.n) == (10, 11)
    assert np.array_equal(first.ttft, second.ttft[:10])


def test_an_empty_set_has_columns_without_rows():
    assert SampleSet().columns().n == 0
