"""How small a candidate is: every number of bytes beside a named baseline.

"80 % smaller" against FP32 is 60 % against BF16, so a ratio without its baseline means nothing.
"""

from __future__ import annotations

from greenlight.quantize.jobs import MeasureLoadResult
from greenlight.quantize.measurements import Metric
from greenlight.quantize.shapes import ModelShape
from greenlight.quantize.sizes import plain_bytes


def file_metrics(shape: ModelShape, *, weight_bytes: int) -> tuple[Metric, ...]:
    """Return the candidate's weight files beside the parent's, written in FP32 and in 16 bit."""
    return (
        _bytes("file_bytes", weight_bytes),
        _ratio("file_bytes_vs_fp32", weight_bytes, plain_bytes(shape, dtype="F32"), "parent FP32"),
        _ratio("file_bytes_vs_bf16", weight_bytes, plain_bytes(shape, dtype="BF16"), "parent BF16"),
    )


def memory_metrics(
    candidate: MeasureLoadResult, *, parent: MeasureLoadResult
) -> tuple[Metric, ...]:
    """Return memory, load time and speed of a fresh process, beside the parent's.

    `parent` was loaded in 16 bit, as it would be served. The peak holds the interpreter and its
    libraries too (`imports_rss_bytes`), which hide the saving of a small model.
    """
    named = f"parent {parent.dtype}"
    return (
        _bytes("weight_bytes", candidate.resident_weight_bytes),
        _ratio(
            "weight_bytes_vs_parent_bf16",
            candidate.resident_weight_bytes,
            parent.resident_weight_bytes,
            named,
        ),
        _bytes("imports_rss_bytes", candidate.imports_rss_bytes),
        _bytes("peak_rss_bytes", candidate.peak_rss_bytes),
        _ratio("peak_rss_vs_parent", candidate.peak_rss_bytes, parent.peak_rss_bytes, named),
        _once("load_seconds", candidate.load_seconds, "s"),
        _once("tokens_per_second", candidate.tokens_per_second, "tokens/s"),
        _once("parent_tokens_per_second", parent.tokens_per_second, "tokens/s"),
    )


def _bytes(name: str, value: int) -> Metric:
    return Metric(name=name, value=value, unit="bytes", n=1)


def _ratio(name: str, value: int, baseline: int, named: str) -> Metric:
    return Metric(name=name, value=value / baseline, unit="ratio", n=1, baseline=named)


def _once(name: str, value: float, unit: str) -> Metric:
    return Metric(name=name, value=value, unit=unit, n=1, method="one run, no interval")
