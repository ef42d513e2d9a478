from greenlight.quantize.footprint import file_metrics, memory_metrics
from greenlight.quantize.jobs import MeasureLoadResult
from greenlight.quantize.shapes import EMBEDDING, ModelShape, Tensor


def a_load(*, weights: int, peak: int) -> MeasureLoadResult:
    return MeasureLoadResult(
        dtype="bfloat16",
        load_seconds=1.0,
        resident_weight_bytes=weights,
        imports_rss_bytes=400,
        peak_rss_bytes=peak,
        tokens_per_second=30.0,
    )


def test_every_ratio_names_its_baseline_with_the_dtype():
    shape = ModelShape(
        architecture="LlamaForCausalLM",
        dtype="F32",
        layers=0,
        linears=(),
        others=(Tensor(name=EMBEDDING, shape=(1000, 1000)),),
        tied=True,
        context_length=8,
    )
    metrics = {m.name: m for m in file_metrics(shape, weight_bytes=1_000_000)}
    assert metrics["file_bytes"].value == 1_000_000
    assert round(metrics["file_bytes_vs_fp32"].value, 3) == 0.25
    assert round(metrics["file_bytes_vs_bf16"].value, 3) == 0.5
    assert metrics["file_bytes_vs_fp32"].baseline == "parent FP32"


def test_memory_is_held_against_the_parent_as_it_would_be_served():
    found = memory_metrics(a_load(weights=50, peak=900), parent=a_load(weights=100, peak=1000))
    metrics = {m.name: m for m in found}
    assert metrics["weight_bytes_vs_parent_bf16"].value == 0.5
    assert metrics["peak_rss_vs_parent"].value == 0.9
    assert metrics["peak_rss_vs_parent"].baseline == "parent bfloat16"
    assert metrics["imports_rss_bytes"].value == 400
