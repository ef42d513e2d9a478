from datetime import UTC, datetime

import pytest

from greenlight.core.digest import manifest_of
from greenlight.core.errors import UnavailableError
from greenlight.deploy.colours import Colour
from greenlight.deploy.performance import Benchmark, Number, PerformanceSettings
from greenlight.deploy.regression import Comparison, Result
from greenlight.deploy.samples import Sample
from greenlight.entrypoints.performance_record import PerformanceRecord
from greenlight.registry.ports import Registration, RunLog
from greenlight.testing.memory_registry import MemoryRegistry

SAMPLES = (Sample(colour=Colour.BLUE, prompt=0, at_s=0.0, ok=False, reason="HTTP 500"),)
FIRST = Comparison(result=Result.NO_EARLIER, reason="nothing before")


def a_benchmark(fleet="f"):
    return Benchmark(
        fleet=fleet, model="m", version=1, digest="d", flags_digest="x", load_digest="l", hosts=1,
        rollout_id="r", measured_at=datetime.now(UTC), requests=30, other_requests=None,
        confidence=0.99,
        numbers=(Number(name="ttft_p50.1", value=None, low=0.1, high=None, n=30),
                 Number(name="tokens_per_second.8", value=80.0, low=70.0, high=None, n=30)),
    )  # fmt: skip


@pytest.fixture
def registry(tmp_path):
    (tmp_path / "model.safetensors").write_text("w")
    found = MemoryRegistry()
    run = RunLog(key="", name="import")
    found.register(
        Registration(
            model="m", folder=tmp_path, manifest=manifest_of(tmp_path), run=run, tags={"kept": "1"}
        )
    )
    return found


def keep(registry, benchmark):
    record = PerformanceRecord(registry, model="m", fleet=benchmark.fleet)
    record.keep(benchmark, SAMPLES, FIRST, settings=PerformanceSettings())
    return record


def test_what_is_kept_is_read_back(registry):
    benchmark = a_benchmark()
    assert keep(registry, benchmark).benchmark(1) == benchmark
    assert registry.get("m", 1).tags["kept"] == "1"


def test_fleets_do_not_overwrite_each_other(registry):
    one, other = a_benchmark("one"), a_benchmark("other")
    keep(registry, one)
    keep(registry, other)
    assert PerformanceRecord(registry, model="m", fleet="one").benchmark(1) == one
    assert PerformanceRecord(registry, model="m", fleet="third").benchmark(1) is None


def test_a_number_without_a_value_is_no_metric(registry):
    keep(registry, a_benchmark())
    run = next(r for r in registry.runs.values() if r.log.key.startswith("performance/"))
    assert run.log.metrics == {
        "requests": 30.0, "ttft_p50.1_low": 0.1, "tokens_per_second.8": 80.0,
        "tokens_per_second.8_low": 70.0,
    }  # fmt: skip


def test_without_a_registry_nothing_is_said_to_be_kept(registry):
    registry.away = True
    with pytest.raises(UnavailableError):
        keep(registry, a_benchmark())
