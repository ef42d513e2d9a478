"""Small worlds for the rollout analysis: samples of a colour, seeded."""

import dataclasses

import numpy as np

from greenlight.deploy.analysis import (
    AnalysisSettings,
    LiveCounts,
    Look,
    Sample,
    SampleSet,
    judge,
)
from greenlight.deploy.colours import Colour
from greenlight.deploy.rules import Levels, Observed, Side

LEVELS = Levels(to_pass=0.99, to_fail=0.999)
QUIET = dict.fromkeys(Colour, LiveCounts(requests=0, errors=0))


def samples(n=1200, *, slow=1.0, failing=0.001, seed=1, colour=Colour.GREEN, **fixed):
    """Return n requests; `slow` times as slow as usual, every 1/`failing`-th of them failed."""
    rng = np.random.default_rng(seed)
    ttft = rng.lognormal(-2, 0.5, n) * slow
    gap = rng.lognormal(-4, 0.1, n) * slow
    tokens = rng.integers(8, 33, n)
    failed = round(n * failing)
    return [
        Sample(
            colour=colour,
            prompt=i % 50,
            at_s=i / 20,
            ok=i >= failed,
            **{
                "ttft_s": float(ttft[i]),
                "gap_s": float(gap[i]),
                "total_s": float(ttft[i] + gap[i] * tokens[i]),
                "tokens": int(tokens[i]),
                "finish": "stop",
            }
            | fixed,
        )
        for i in range(n)
    ]


def seen(blue, green, *, live=(None, None), **more):
    """Return one look at two lists of samples; `blue` may be `None`."""
    return Observed(
        blue=None if blue is None else Side(columns=SampleSet(blue).columns(), live=live[0]),
        green=Side(columns=SampleSet(green).columns(), live=live[1]),
        **more,
    )


def golden(agreeing, n, *, times=3, colour=Colour.GREEN):
    """Return `times` answers to each of n golden prompts, of which the first `agreeing` agree."""
    return [
        Sample(colour=colour, prompt=i, at_s=0.0, ok=True, agrees=i < agreeing)
        for i in range(n)
        for _ in range(times)
    ]


def analysed(blue, green, *, live=QUIET, settings=None, at_s=60.0, previous_s=59.0, **more):
    """Judge two lists of samples at a look; the first checkpoint by default."""
    return judge(
        None if blue is None else SampleSet(blue),
        SampleSet(green),
        live,
        settings or AnalysisSettings.of(),
        look=Look(elapsed_s=at_s, previous_s=previous_s),
        **more,
    )


def slower(sample, by_s):
    """Return the same request, answered later."""
    return dataclasses.replace(sample, ttft_s=sample.ttft_s + by_s, total_s=sample.total_s + by_s)
