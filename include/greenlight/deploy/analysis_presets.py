"""Two analyses, fixed before any rollout was looked at.

A rollout file names one, and may override its keys. How the numbers of requests were chosen, and
how often each preset errs, is measured by `benchmarks/analysis.py`.
"""

from __future__ import annotations

from greenlight.core.types import JsonDict

STANDARD: JsonDict = {
    "interval_s": 1.0,
    "step_min_s": 60.0,
    "extension_s": 60.0,
    "max_extensions": 4,
    "confidence": 0.95,
    "times_up_to_share": 50.0,
    "rules": (
        {
            "name": "errors",
            "strategy": "errors",
            "margin": 0.01,
            "alone": 0.01,
            "why": "Half of the two points that must be caught. Half a point would take more than "
            "4,000 requests a step.",
        },
        {
            "name": "live-errors",
            "strategy": "live_errors",
            "margin": 0.01,
            "alone": 0.02,
            "why": "The same for clients, who ask what the golden load does not contain. Alone, "
            "without blue's to compare with, their own mistakes count as well.",
        },
        {
            "name": "live-ttft",
            "strategy": "live_ttft",
            "ttft_s": 2.5,
            "margin": 0.05,
            "why": "Goodput's two seconds, or what vLLM's histogram has next to them, for clients, "
            "whose prompts may be longer than golden ones.",
        },
        {
            "name": "ttft-p50",
            "strategy": "time_ratio",
            "metric": "ttft",
            "quantile": 0.5,
            "margin": 0.20,
            "why": "Below half of the fifty percent that must be caught, so that it still shows "
            "when blue carries nine tenths of the traffic and is slower for it.",
        },
        {
            "name": "ttft-p95",
            "strategy": "time_ratio",
            "metric": "ttft",
            "quantile": 0.95,
            "margin": 0.35,
            "why": "Read from a twentieth of the requests, so twice as uncertain as the middle.",
        },
        {
            "name": "gap-p50",
            "strategy": "time_ratio",
            "metric": "gap",
            "quantile": 0.5,
            "margin": 0.25,
            "why": "Gaps are so alike that chance hardly widens their bounds: the margin is for a "
            "host that is slower for a while, whatever version it runs.",
        },
        {
            "name": "total-p50",
            "strategy": "time_ratio",
            "metric": "total",
            "quantile": 0.5,
            "margin": 0.25,
            "why": "First token and gaps together; as for the gaps.",
        },
        {
            "name": "goodput",
            "strategy": "goodput",
            "ttft_s": 2.0,
            "gap_s": 0.1,
            "margin": 0.05,
            "why": "Two seconds to the first token and ten tokens a second keep a reader reading; "
            "one stream in twenty may lose that.",
        },
        {
            "name": "length",
            "strategy": "length_ratio",
            "margin": 0.20,
            "why": "A broken chat template or stop token makes answers much longer or shorter.",
        },
        {
            "name": "stops",
            "strategy": "stops",
            "margin": 0.05,
            "why": "A lost stop token lets nearly every answer run into its limit.",
        },
        {
            "name": "golden",
            "strategy": "agreement",
            "margin": 0.15,
            "required": False,
            "why": "Greedy answers change where two tokens are nearly as likely. Of the forty that "
            "are recorded, twenty-nine unchanged ones prove this, and sixteen changed ones break "
            "it. A version registered elsewhere has none.",
        },
    ),
}

SMALL: JsonDict = {
    **STANDARD,
    "step_min_s": 120.0,
    "extension_s": 60.0,
    "max_extensions": 3,
    "rules": (
        {
            "name": "errors",
            "strategy": "errors",
            "margin": 0.05,
            "alone": 0.05,
            "why": "What a few hundred requests can tell from none; one percent they cannot.",
        },
        {
            "name": "live-errors",
            "strategy": "live_errors",
            "margin": 0.05,
            "alone": 0.05,
            "why": "As for the golden load.",
        },
        {
            "name": "live-ttft",
            "strategy": "live_ttft",
            "ttft_s": 2.5,
            "margin": 0.10,
            "why": "As in the preset `standard`, but a slow engine is near it anyway.",
        },
        {
            "name": "ttft-p50",
            "strategy": "time_ratio",
            "metric": "ttft",
            "quantile": 0.5,
            "margin": 0.35,
            "why": "Below the fifty percent that must be caught, and wide enough for the bounds of "
            "a few hundred requests. No tail is read from so few.",
        },
        {
            "name": "gap-p50",
            "strategy": "time_ratio",
            "metric": "gap",
            "quantile": 0.5,
            "margin": 0.35,
            "why": "As for the first token.",
        },
        {
            "name": "length",
            "strategy": "length_ratio",
            "margin": 0.35,
            "why": "Wide enough for the bounds of a few hundred answers.",
        },
        {
            "name": "golden",
            "strategy": "agreement",
            "margin": 0.15,
            "required": False,
            "why": "The prompts count here, not the requests; as in the preset `standard`.",
        },
    ),
}

PRESETS: dict[str, JsonDict] = {"standard": STANDARD, "small": SMALL}
