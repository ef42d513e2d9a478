"""How often the rollout analysis errs: equal versions sent back, bad ones let through.

Run it with `make bench-analysis`. Whole rollouts (10, 50, 100 % of traffic) are simulated second by
second and judged by the shipped code, a look every second, until the new colour is live or sent
back. In an A/A rollout both colours are the same version, and every roll-back is a false one. A bad
version is missed when it ends up live.

Assumed: a seeded open-loop load of 20 requests/s to each colour (`standard`; 2 for `small`), four
in five streamed; lognormal times; queueing bursts that both colours share, in which requests wait
and fail more often; a slow wobble of each colour's own; times that grow with the share of traffic a
colour carries; one or two requests in a thousand fail anyway; clients who send 50 requests/s, by
share. A request is seen when it is answered, not when it is sent. The last line is one JSON object.

Two rows change an assumption: how unsteady hosts are, and how much times depend on the load. In one
only clients wait, for what the load does not ask. The presets were written, and the simulation
developed, with other seeds than the default one.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial

import numpy as np
from scipy import stats

from analysis_world import (
    LOAD_EFFECT,
    OWN_WOBBLE,
    SHARES,
    Ended,
    Floats,
    Side,
    World,
    rollout,
    weather,
)
from greenlight.deploy import bounds
from greenlight.deploy.analysis import (
    AnalysisSettings,
    LiveCounts,
    Look,
    SampleSet,
    Verdict,
    judge,
)
from greenlight.deploy.colours import Colour

SEED = 20_261_124


def print_rollouts(name: str, ended: Sequence[Ended], *, bad_is_live: bool) -> float:
    """Print one scenario; return its error rate."""
    wrong = sum(end.live is bad_is_live for end in ended)
    rate = bounds.share(wrong, len(ended), 0.975)
    back = [end for end in ended if not end.live]
    reached = ", ".join(f"{share} %: {sum(e.share == share for e in back)}" for share in SHARES)
    undecided = sum(not end.failed for end in back)
    times = [end.seconds for end in (back if bad_is_live else ended)]
    p50, p95 = np.quantile(times, (0.5, 0.95)) if times else (np.nan, np.nan)
    rules = Counter(rule for end in back for rule in end.failed)
    print(
        f"{name:34} {len(ended):5,} | {rate.value:6.2%} ({rate.low:.2%} to {rate.high:.2%}) "
        f"| {p50:5.0f} s {p95:5.0f} s | back at {reached}; undecided {undecided}"
        + (f"; {dict(rules.most_common(3))}" if rules else "")
    )
    return rate.value


def print_scenarios(
    preset: str, scenarios: dict[str, World], *, count: int, seed: int
) -> list[float]:
    """Simulate scenarios of one preset; return their error rates. The first is A/A."""
    settings = AnalysisSettings.of(preset)
    rate = next(iter(scenarios.values())).rate
    print(f"\npreset {preset}, {rate:g} requests/s and colour, a look every "
          f"{settings.interval_s:g} s, steps of {settings.step_min_s:g} to "
          f"{settings.step_max_s:g} s")  # fmt: skip
    print(f"{'scenario':34} {'n':>5} | wrong  (95 % Clopper-Pearson) | time p50, p95 |")
    rates = []
    for number, (name, world) in enumerate(scenarios.items()):
        many = max(1, count // (1, 2, 2, 4, 4, 4, 4)[number])
        ended = [rollout((seed, number, i), world, settings) for i in range(many)]
        aa = (world.ttft_factor, world.extra_errors, world.live_late) == (1, 0, 0)
        rates.append(print_rollouts(name, ended, bad_is_live=not aa))
    return rates


def print_power(*, count: int, seed: int, rate: float) -> None:
    """Print how likely one look at n requests passes: an equal version, and bad ones."""
    print(f"\none checkpoint at 50 % of traffic, n requests of each colour, {count} each: passes")
    print("     n | equal    TTFT +50 %  errors +2 points")
    for n in (300, 600, 900, 1200, 1800, 2400, 3600):
        settings = AnalysisSettings.of().lasting(n / rate)
        passed = [
            sum(one_look((seed, 99, n, k, i), world, settings) for i in range(count)) / count
            for k, world in enumerate(
                (World(rate=rate), World(rate=rate, ttft_factor=1.5),
                 World(rate=rate, extra_errors=0.02))
            )
        ]  # fmt: skip
        print(f"{n:6,} | {passed[0]:6.1%} {passed[1]:10.1%} {passed[2]:14.1%}")


def one_look(seed: Sequence[int], world: World, settings: AnalysisSettings) -> bool:
    """Return whether a step that is looked at once, at its first checkpoint, passes."""
    rng = np.random.default_rng(seed)
    seen = weather(rng, world, settings.step_min_s)
    blue, green = (
        SampleSet(sample for _, sample in Side(rng, seen, world, colour, 0.5).samples)
        for colour in (Colour.BLUE, Colour.GREEN)
    )
    nobody = dict.fromkeys(Colour, LiveCounts(requests=0, errors=0))
    look = Look(elapsed_s=settings.step_min_s)
    return judge(blue, green, nobody, settings, look=look, share=50).verdict is Verdict.PASS


def print_bounds() -> float:
    """Print how often bounds err at the limit itself, against what they promise; return the worst.

    Shares: every outcome enumerated. Quantiles: simulated, independent lognormal times.
    """
    levels = AnalysisSettings.of().levels
    print("\ngreen exactly at its limit: a look errs (promised: pass "
          f"{1 - levels.to_pass:.2%}, fail {1 - levels.to_fail:.3%})")  # fmt: skip
    worst = 0.0
    for n in (100, 500, 1200, 3000):
        passed, failed = share_errors(n, blue=0.0015, margin=0.01)
        worst = max(worst, passed / (1 - levels.to_pass), failed / (1 - levels.to_fail))
        print(f"errors 0.15 % and 1.15 %, n {n:5,}: pass {passed:.3%}, fail {failed:.4%}")
    for p, n in ((0.5, 100), (0.5, 1000), (0.95, 600), (0.95, 2000)):
        passed, failed = ratio_errors(n, p, margin=0.2)
        worst = max(worst, passed / (1 - levels.to_pass))
        print(f"p{p * 100:g} at 1.2 times,       n {n:5,}: pass {passed:.2%}, fail {failed:.3%} "
              "(10,000 simulations)")  # fmt: skip
    return worst


def share_errors(n: int, *, blue: float, margin: float) -> tuple[float, float]:
    """Return the exact chance that a look passes, and fails, green exactly at the margin."""
    levels = AnalysisSettings.of().levels
    counts = [np.arange(stats.binom.isf(1e-9, n, p) + 1) for p in (blue, blue + margin)]
    chances = [stats.binom.pmf(k, n, p) for k, p in zip(counts, (blue, blue + margin), strict=True)]
    passed = failed = 0.0
    for of_blue, k_blue in zip(chances[0], counts[0], strict=True):
        for of_green, k_green in zip(chances[1], counts[1], strict=True):

            def at(confidence: float, g: float = k_green, b: float = k_blue) -> bounds.Bounds:
                each = (bounds.share(float(k), n, confidence) for k in (g, b))
                return bounds.difference(*each)

            passed += of_blue * of_green * (at(levels.to_pass).high <= margin)
            failed += of_blue * of_green * (at(levels.to_fail).low > margin)
    return float(passed), float(failed)


def ratio_errors(n: int, p: float, *, margin: float, count: int = 10_000) -> tuple[float, float]:
    """Return how often a look passes, and fails, times exactly `1 + margin` times as long."""
    levels = AnalysisSettings.of().levels
    rng = np.random.default_rng([SEED, n, round(p * 100)])
    passed = failed = 0
    for _ in range(count):
        blue = rng.lognormal(0, 0.5, n)
        green = rng.lognormal(0, 0.5, n) * (1 + margin)
        at = partial(_ratio, green, blue, p)
        passed += at(levels.to_pass).high <= 1 + margin
        failed += at(levels.to_fail).low > 1 + margin
    return passed / count, failed / count


def _ratio(green: Floats, blue: Floats, p: float, confidence: float) -> bounds.Bounds:
    return bounds.ratio(*(bounds.quantile(values, p, confidence) for values in (green, blue)))


def main() -> None:
    """Simulate, print the tables, and end with one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--rollouts",
        type=int,
        default=400,
        help="A/A rollouts (%(default)s); half as many of each fault",
    )
    parser.add_argument("--seed", type=int, default=SEED, help="%(default)s")
    chosen = parser.parse_args()
    start = time.monotonic()
    worst = print_bounds()
    rate = 20.0
    print_power(count=max(20, chosen.rollouts // 5), seed=chosen.seed, rate=rate)
    aa, ttft, errors, *_, live = print_scenarios(
        "standard",
        {
            "A/A": World(rate=rate),
            "TTFT +50 %": World(rate=rate, ttft_factor=1.5),
            "errors +2 points": World(rate=rate, extra_errors=0.02),
            "A/A, wobble doubled": World(rate=rate, own_wobble=2 * OWN_WOBBLE),
            "TTFT +50 %, no effect of load": World(rate=rate, ttft_factor=1.5, load_effect=0.0),
            "TTFT +50 %, effect of load doubled": World(
                rate=rate, ttft_factor=1.5, load_effect=2 * LOAD_EFFECT
            ),
            "a fifth of clients wait 4 s": World(rate=rate, live_late=0.2),
        },
        count=chosen.rollouts,
        seed=chosen.seed,
    )
    small_aa, small_ttft, small_errors = print_scenarios(
        "small",
        {
            "A/A": World(rate=2.0),
            "TTFT +50 %": World(rate=2.0, ttft_factor=1.5),
            "errors +10 points": World(rate=2.0, extra_errors=0.1),
        },
        count=max(1, chosen.rollouts // 2),
        seed=chosen.seed,
    )
    print(f"\ntook {time.monotonic() - start:.0f} s")
    print(
        json.dumps(
            {
                "aa_false_rollback": aa,
                "missed_ttft": ttft,
                "missed_errors": errors,
                "missed_live_ttft": live,
                "n_per_step": int(rate * AnalysisSettings.of().step_min_s),
                "n_per_step_most": int(rate * AnalysisSettings.of().step_max_s),
                "rollouts": chosen.rollouts,
                "seed": chosen.seed,
                "small_aa_false_rollback": small_aa,
                "small_missed_ttft": small_ttft,
                "small_missed_errors_10_points": small_errors,
                "bound_error_over_promised_worst": round(worst, 3),
            }
        )
    )


if __name__ == "__main__":
    main()
