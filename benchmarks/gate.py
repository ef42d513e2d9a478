"""How often the gate errs, beside the rounded point estimate that today's tools gate on.

Run it with `make bench-gate`. The peer is the usual recovery threshold: candidate accuracy over
parent accuracy, rounded to two digits, at least 0.95. Ours is the paired one-sided 95 % bound on
the same recovery with the same margin. Both see the same simulated answers.

Assumed: items are independent; both models answer the same items; the parent is right on 75 %; on
a share of items (the flips) exactly one of the two is right. For published 4-bit models flips of 5
to 15 % are usual. The last line is one JSON object.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from scipy import special

from greenlight.quantize.proportions import difference_scores, ratio_scores
from greenlight.quantize.statistics import bootstrap_ratio

PARENT = 0.75
MARGIN = 0.05
TRUE_LOSS = 0.02
FLIP_RATES = (0.08, 0.12, 0.16)
USUAL_FLIPS = 0.12
CONFIDENCE, POWER = 0.95, 0.95
SIMULATIONS = 200_000
SEED = 20_240_229
Z = NormalDist().inv_cdf(CONFIDENCE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The share of simulated candidates that each rule accepts."""

    ours: float
    point_estimate: float


def simulate(*, loss: float, flip_rate: float, n: int, parent: float = PARENT) -> Accepted:
    """Draw candidates that truly lose `loss` of the parent's accuracy, and gate them both ways."""
    lost = (flip_rate + parent * loss) / 2
    gained = flip_rate - lost
    rng = np.random.default_rng([SEED, n, round(loss * 1e4), round(flip_rate * 1e4)])
    cells = [parent - lost, lost, gained, 1 - parent - gained]
    drawn = rng.multinomial(n, cells, size=SIMULATIONS).astype(float)
    kept, lost_n, gained_n = drawn[:, 0], drawn[:, 1], drawn[:, 2]
    scores = ratio_scores(kept, lost_n, gained_n, n=n, ratio=1 - MARGIN)
    recovery = (kept + gained_n) / (kept + lost_n)
    return Accepted(
        ours=float((scores >= Z).mean()),
        point_estimate=float((np.round(recovery, 2) >= 1 - MARGIN).mean()),
    )


def items_for_power(flip_rate: float) -> int:
    """Return the smallest n, in steps of 50, that accepts a true 2 % loss with the power asked."""
    low, high = 2, 400
    while low < high:
        middle = (low + high) // 2
        found = simulate(loss=TRUE_LOSS, flip_rate=flip_rate, n=middle * 50)
        low, high = (low, middle) if found.ours >= POWER else (middle + 1, high)
    return low * 50


def exact_errors(*, n: int, margin: float, flip_rate: float) -> tuple[float, float]:
    """Return the exact false accept at a margin in points: Tango's score bound, and Wald's.

    Every outcome is enumerated with its probability; nothing is simulated.
    """
    p_lost, p_gained = (flip_rate + margin) / 2, (flip_rate - margin) / 2
    most = [int(n * p + 8 * np.sqrt(n * p) + 8) for p in (p_lost, p_gained)]
    lost, gained = np.meshgrid(np.arange(most[0] + 1.0), np.arange(most[1] + 1.0), indexing="ij")
    rest = n - lost - gained
    log_p = (
        special.gammaln(n + 1)
        - special.gammaln(lost + 1)
        - special.gammaln(gained + 1)
        - special.gammaln(np.maximum(rest, 0) + 1)
        + lost * np.log(p_lost)
        + gained * np.log(p_gained)
        + rest * np.log(1 - flip_rate)
    )
    p = np.where(rest >= 0, np.exp(log_p), 0.0)
    change = (gained - lost) / n
    wald = change - Z * np.sqrt(np.maximum((lost + gained) / n - change**2, 0) / n)
    score = difference_scores(lost, gained, n=n, difference=-margin)
    return float(p[score >= Z].sum()), float(p[wald >= -margin].sum())


def perplexity_errors(*, windows: int, skewed: bool, rounds: int = 20_000) -> tuple[float, float]:
    """Return how often a true +5 % perplexity passes: our bound, and the measured ratio alone.

    A window's mean log-ratio varies by 0.03 around log 1.05, normally or (skewed) as a gamma.
    """
    rng = np.random.default_rng([SEED, windows, int(skewed)])
    limit, spread = np.log(1 + MARGIN), 0.03
    ours = point = 0
    for _ in range(rounds):
        tokens = rng.integers(256, 513, windows).astype(float)
        if skewed:
            means = rng.gamma((limit / spread) ** 2, spread**2 / limit, windows)
        else:
            means = rng.normal(limit, spread, windows)
        found = bootstrap_ratio(means * tokens, tokens, rng=rng, resamples=400)
        ours += found.high is not None and found.high <= limit
        point += found.value <= limit
    return ours / rounds, point / rounds


def print_accuracies(n_by_flips: dict[float, int]) -> float:
    """Print accepted shares by n; return the worst false accept of ours."""
    worst = 0.0
    print(f"\nmultiple choice: recovery ≥ {1 - MARGIN}, parent right on {PARENT:.0%}, ", end="")
    print(f"{SIMULATIONS:,} simulations a cell")
    print("flips     n | accepts a true 5 % loss       | accepts a true 2 % loss       | no loss")
    print("            | ours     rounded point est.   | ours     rounded point est.   | ours")
    for flips in FLIP_RATES:
        for n in sorted({300, 1000, 2000, 3000, n_by_flips[flips]}):
            bad = simulate(loss=MARGIN, flip_rate=flips, n=n)
            good = simulate(loss=TRUE_LOSS, flip_rate=flips, n=n)
            same = simulate(loss=0.0, flip_rate=flips, n=n)
            worst = max(worst, bad.ours)
            print(
                f"{flips:4.0%} {n:6,} | {bad.ours:7.2%} {bad.point_estimate:11.1%} {'':10} "
                f"| {good.ours:7.2%} {good.point_estimate:11.1%} {'':10} | {same.ours:7.2%}"
            )
    return worst


def print_exact() -> float:
    """Print the exact false accept of the difference's bounds; return the worst of ours."""
    print("\ndifference of accuracies: exact false accept at the margin, all outcomes enumerated")
    print("margin  flips     n | score bound   Wald bound")
    worst = 0.0
    for margin in (0.02, 0.05, 0.10):
        for flips in (0.06, 0.12, 0.18):
            if flips > margin:
                for n in (100, 300, 1000, 3000):
                    score, wald = exact_errors(n=n, margin=margin, flip_rate=flips)
                    worst = max(worst, score)
                    print(f"{margin:6.2f} {flips:6.0%} {n:5} | {score:11.2%} {wald:12.2%}")
    return worst


def print_perplexities() -> float:
    """Print the false accept of the perplexity bound; return the worst of ours."""
    print("\nperplexity: a true +5 % against a margin of 5 %, 20,000 simulations a cell")
    print("windows  spread  | ours     measured ratio alone")
    worst = 0.0
    for windows in (20, 32, 64):
        for skewed in (False, True):
            ours, point = perplexity_errors(windows=windows, skewed=skewed)
            worst = max(worst, ours)
            kind = "gamma" if skewed else "normal"
            print(f"{windows:7}  {kind:7} | {ours:7.2%} {point:14.1%}")
    return worst


def main() -> None:
    """Simulate, print the tables, and end with one JSON object."""
    start = time.monotonic()
    n_by_flips = {flips: items_for_power(flips) for flips in FLIP_RATES}
    worst = print_accuracies(n_by_flips)
    exact_worst = print_exact()
    perplexity_worst = print_perplexities()
    print("\nsearching: chance that one of k recipes that are all exactly at the margin passes")
    for k in (1, 3, 6):
        print(f"k={k}: ≤{1 - CONFIDENCE**k:.1%} at 95 % each, ≤5.0% at {1 - 0.05 / k:.2%} each")
    n = n_by_flips[USUAL_FLIPS]
    at_n = simulate(loss=MARGIN, flip_rate=USUAL_FLIPS, n=n)
    print(f"\nitems for a power of {POWER:.0%} at a true 2 % loss, by flips: {n_by_flips}")
    print(f"took {time.monotonic() - start:.0f} s")
    print(
        json.dumps(
            {
                "false_accept": round(at_n.ours, 4),
                "power": round(simulate(loss=TRUE_LOSS, flip_rate=USUAL_FLIPS, n=n).ours, 4),
                "n": n,
                "point_estimate_false_accept": round(
                    simulate(loss=MARGIN, flip_rate=USUAL_FLIPS, n=1000).point_estimate, 4
                ),
                "false_accept_worst": round(worst, 4),
                "exact_difference_false_accept_worst": round(exact_worst, 4),
                "perplexity_false_accept_worst": round(perplexity_worst, 4),
                "n_by_flip_rate": {f"{flips:.2f}": n for flips, n in n_by_flips.items()},
            }
        )
    )


if __name__ == "__main__":
    main()
