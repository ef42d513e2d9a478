"""What is measured of one colour: requests of the seeded load."""

from __future__ import annotations

import math
from array import array
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from greenlight.deploy.colours import Colour

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One request of the seeded load. Times in seconds from sending it; `None`: never came.

    `ok`: it was answered to its end with status 200: a stream with its terminal event. `reason`
    says why not. `gap_s`: the mean time between one token and the next. `agrees`: whether a golden
    prompt's text is the one that the evidence recorded; `None` where none was recorded, or for
    another version.
    """

    colour: Colour
    prompt: int
    at_s: float
    ok: bool
    ttft_s: float | None = None
    gap_s: float | None = None
    total_s: float | None = None
    tokens: int | None = None
    finish: str | None = None
    agrees: bool | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Requests as arrays of one length. NaN: there is no such value.

    A request that failed has no latency. Left out, it would make the rest look faster, so its
    times are +inf: slower than every limit. An `ok` request that was not streamed has no first
    token; its times are NaN, and no rule on them counts it.
    """

    prompt: Floats
    ok: npt.NDArray[np.bool_]
    ttft: Floats
    gap: Floats
    total: Floats
    tokens: Floats
    stop: Floats
    agrees: Floats

    @property
    def n(self) -> int:
        """How many requests there are, failed ones too."""
        return int(self.ok.size)


class SampleSet:
    """Samples of one colour, gathered while they arrive.

    One thread may add while another reads. A sample is converted once, so that looking every
    second at tens of thousands costs milliseconds.
    """

    _FIELDS = 8

    def __init__(self, samples: Iterable[Sample] = ()) -> None:
        self._new = deque(samples)
        self._rows = array("d")

    def add(self, sample: Sample) -> None:
        """Keep one more."""
        self._new.append(sample)

    def columns(self) -> Columns:
        """Return everything added so far; later additions leave what was returned as it is."""
        for _ in range(len(self._new)):
            self._rows.extend(_row(self._new.popleft()))
        table: npt.NDArray[Any] = np.array(self._rows, dtype=np.float64)
        prompt, ok, ttft, gap, total, tokens, stop, agrees = table.reshape(-1, self._FIELDS).T
        return Columns(
            prompt=prompt,
            ok=ok > 0,
            ttft=ttft,
            gap=gap,
            total=total,
            tokens=tokens,
            stop=stop,
            agrees=agrees,
        )


def _row(sample: Sample) -> tuple[float, ...]:
    missing = math.nan
    if not sample.ok:
        return (sample.prompt, 0.0, math.inf, math.inf, math.inf, missing, missing, missing)
    return (
        sample.prompt,
        1.0,
        missing if sample.ttft_s is None else sample.ttft_s,
        missing if sample.gap_s is None else sample.gap_s,
        missing if sample.total_s is None else sample.total_s,
        missing if sample.tokens is None else sample.tokens,
        missing if sample.finish is None else float(sample.finish == "stop"),
        missing if sample.agrees is None else float(sample.agrees),
    )
