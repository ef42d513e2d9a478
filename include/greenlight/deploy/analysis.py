"""Whether green is as good as blue: samples of both, taken at the same time, judged by rules.

(The rules, verdicts and sample sizes follow; this file first says what a sample is.)
"""

from __future__ import annotations

from dataclasses import dataclass

from greenlight.deploy.colours import Colour


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One request of the seeded load. Times in seconds from sending it; `None`: never came.

    `ok`: it was answered to its end with status 200: a stream with its terminal event. `reason`
    says why not. `gap_s`: the mean time between one token and the next. `agrees`: whether a golden
    prompt's text is the one that the evidence recorded; `None` where none was recorded.
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
