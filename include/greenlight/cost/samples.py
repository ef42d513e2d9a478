"""From samples to what an hour's usage was: means, increases, and what can't be trusted.

A sample stands for the time until the next one, at most for `LONGEST_STEPS` steps. Counters grow
across a gap too, unless they began anew in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from greenlight.core.errors import InputError
from greenlight.cost.usage import Count, Counter, Gauge, Level, Mark, Unmeasured, marks_of

HOUR_S = 3600.0
LONGEST_STEPS = 2.5
"""One lost scrape is bridged, two are a gap."""
MOST_APART = 0.25
"""GPU utilisation counts any kernel, engine-active the share of time: means further apart than this
are not of the same GPU."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Samples:
    """Values at seconds since 1970, oldest first, one every `step_s` seconds where none is lost."""

    seconds: Floats
    values: Floats
    step_s: float

    @classmethod
    def of(cls, pairs: Sequence[tuple[float, float]], *, step_s: float) -> Samples:
        """Return samples in any order.

        Raises:
            InputError: two have the same time, or the step isn't above 0.
        """
        if step_s <= 0:
            raise InputError(f"step_s is {step_s}: must be above 0")
        table = np.array(sorted(pairs), dtype=np.float64).reshape(-1, 2)
        seconds, values = table[:, 0], table[:, 1]
        if (np.diff(seconds) == 0).any():
            raise InputError("two samples have the same time: keep one of them")
        return cls(seconds=seconds, values=values, step_s=step_s)

    def where(self, kept: npt.NDArray[np.bool_]) -> Samples:
        """Return some of them."""
        return Samples(seconds=self.seconds[kept], values=self.values[kept], step_s=self.step_s)


def at_rest(samples: Samples, spans: Sequence[tuple[float, float]]) -> Samples:
    """Return the samples with a 0 at every step of the spans that has none of them near."""
    made = np.concatenate([np.arange(*span, samples.step_s) for span in spans] or [np.empty(0)])
    apart = np.abs(made[:, np.newaxis] - samples.seconds).min(axis=1, initial=np.inf)
    made = made[apart >= samples.step_s]
    seconds = np.concatenate([samples.seconds, made])
    values = np.concatenate([samples.values, np.zeros(made.size)])
    order = np.argsort(seconds)
    return Samples(seconds=seconds[order], values=values[order], step_s=samples.step_s)


def gauge(
    samples: Samples, *, start_s: float, low: float = 0.0, high: float = np.inf, what: str
) -> Gauge:
    """Return a gauge over the hour that begins at `start_s`.

    Values outside `[low, high]`, and NaN, are left out and marked. Samples before the hour count
    for the time that they stand for in it.
    """
    return gauges(samples, start_s=start_s, hours=1, low=low, high=high, what=what)[0]


def gauges(
    samples: Samples,
    *,
    start_s: float,
    hours: int,
    low: float = 0.0,
    high: float = np.inf,
    what: str,
) -> list[Gauge]:
    """Return a gauge over each of the hours that begin at `start_s`, as `gauge` does."""
    pieces = _pieces(samples, start_s, hours)
    values = samples.values[pieces.sample]
    trusted = (values >= low) & (values <= high)
    hour, weights = pieces.hour[trusted], pieces.seconds[trusted]
    values = values[trusted]
    total = np.bincount(hour, weights, minlength=hours)
    mean = np.bincount(hour, values * weights, minlength=hours) / np.maximum(total, 1e-300)
    peak, least = np.full(hours, -np.inf), np.full(hours, np.inf)
    np.maximum.at(peak, hour, values)
    np.minimum.at(least, hour, values)
    mean = np.clip(mean, least, peak)
    first_wrong = dict(zip(pieces.hour[~trusted][::-1], pieces.sample[~trusted][::-1], strict=True))
    step_s = samples.step_s
    found: list[Gauge] = []
    for i in range(hours):
        odd = (Mark.UNTRUSTED,) if i in first_wrong else ()
        if not total[i]:
            said = "no sample"
            if odd:
                said = f"{samples.values[first_wrong[i]]:g} is not in {low:g} to {high:g}"
            found.append(Unmeasured(why=f"{what}: {said}", marks=odd or (Mark.GAP,)))
            continue
        coverage = min(1.0, float(total[i]) / HOUR_S)
        found.append(
            Level(
                mean=float(mean[i]),
                peak=float(peak[i]),
                coverage=coverage,
                marks=(*_gap(coverage, step_s), *odd),
            )
        )
    return found


def count(samples: Samples, *, start_s: float, what: str) -> Counter:
    """Return what a counter grew by in the hour that begins at `start_s`.

    The last sample at or before the hour's start is its base, so that hours that follow each other
    add up. A value below the one before is a restart: what it shows then was counted since.
    """
    inside = samples.seconds <= start_s + HOUR_S
    trusted = inside & (samples.values >= 0) & np.isfinite(samples.values)
    recent = inside & (samples.seconds > start_s)
    odd = (Mark.UNTRUSTED,) if (recent & ~trusted).any() else ()
    kept = samples.where(trusted)
    base = max(0, int((kept.seconds <= start_s).sum()) - 1)
    kept = kept.where(np.arange(kept.values.size) >= base)
    if kept.values.size < 2:
        return Unmeasured(
            why=f"{what}: {kept.values.size} samples, 2 are needed", marks=(*odd, Mark.GAP)
        )
    grown = np.diff(kept.values)
    restarted = grown < 0
    lost = restarted & (np.diff(kept.seconds) > LONGEST_STEPS * samples.step_s)
    coverage = _covered(kept, lost, start_s) / HOUR_S
    marks = (
        *_gap(coverage, samples.step_s),
        *((Mark.RESET,) if restarted.any() else ()),
        *((Mark.LOST,) if lost.any() else ()),
        *odd,
    )
    total = np.where(restarted, kept.values[1:], grown).sum()
    return Count(total=float(total), coverage=coverage, marks=marks)


def gpu_use(engine_active: Gauge, utilisation: Gauge) -> Gauge:
    """Return the GPU's use: engine-active, where utilisation doesn't contradict it.

    DCGM's `GR_ENGINE_ACTIVE` is the share of time that the engine worked. `GPU_UTIL` is what
    `nvidia-smi` shows, and stands in where a GPU has no profiling metrics.
    """
    if isinstance(engine_active, Unmeasured):
        if isinstance(utilisation, Unmeasured):
            return engine_active
        marks = marks_of([utilisation, Unmeasured(why="", marks=(Mark.SECOND_CHOICE,))])
        return Level(
            mean=utilisation.mean,
            peak=utilisation.peak,
            coverage=utilisation.coverage,
            marks=marks,
        )
    if isinstance(utilisation, Level) and abs(engine_active.mean - utilisation.mean) > MOST_APART:
        return Unmeasured(
            why=f"engine-active says {engine_active.mean:.0%} and utilisation "
            f"{utilisation.mean:.0%}, more than {MOST_APART:.0%} apart",
            marks=marks_of([engine_active, Unmeasured(why="", marks=(Mark.UNTRUSTED,))]),
        )
    return engine_active


def mean_of(levels: Sequence[Gauge], *, what: str) -> Gauge:
    """Return the mean over several devices, such as a host's GPUs; one unmeasured: not measured.

    The others' mean would stand for a device that may do something else.
    """
    known = [level for level in levels if isinstance(level, Level)]
    if not known or len(known) < len(levels):
        whys = [level.why for level in levels if isinstance(level, Unmeasured)]
        return Unmeasured(
            why=whys[0] if whys else f"{what}: there is none", marks=marks_of(levels) or (Mark.GAP,)
        )
    return Level(
        mean=float(np.mean([level.mean for level in known])),
        peak=max(level.peak for level in known),
        coverage=min(level.coverage for level in known),
        marks=marks_of(known),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Pieces:
    """The parts of hours that samples stand for: which sample, which hour, how many seconds."""

    sample: npt.NDArray[np.int64]
    hour: npt.NDArray[np.int64]
    seconds: Floats


def _pieces(samples: Samples, start_s: float, hours: int) -> _Pieces:
    """Cut the time that samples stand for at full hours; none stands for more than one of them."""
    longest = min(LONGEST_STEPS * samples.step_s, HOUR_S)
    begins = samples.seconds
    ends = np.append(begins[1:], begins[-1:] + samples.step_s)
    ends = np.where(ends - begins > longest, begins + min(samples.step_s, HOUR_S), ends)
    first = np.floor((begins - start_s) / HOUR_S).astype(np.int64)
    border = start_s + (first + 1) * HOUR_S
    number = np.arange(begins.size)
    sample = np.concatenate([number, number])
    hour = np.concatenate([first, first + 1])
    seconds = np.concatenate([np.minimum(ends, border) - begins, np.maximum(ends - border, 0.0)])
    inside = (hour >= 0) & (hour < hours) & (seconds > 0)
    return _Pieces(sample=sample[inside], hour=hour[inside], seconds=seconds[inside])


def _covered(samples: Samples, lost: npt.NDArray[np.bool_], start_s: float) -> float:
    """Return the seconds of the hour between first and last sample, without what was lost."""
    end_s = start_s + HOUR_S
    edges = np.clip(samples.seconds, start_s, end_s)
    tail = min(samples.step_s, end_s - float(edges[-1]))
    return float(np.diff(edges)[~lost].sum()) + tail


def _gap(coverage: float, step_s: float) -> tuple[Mark, ...]:
    return (Mark.GAP,) if (1 - coverage) * HOUR_S > LONGEST_STEPS * step_s else ()
