import pytest
from cost_worlds import HOUR

from greenlight.cost.inventory import HostPlan, SlotPlan
from greenlight.cost.observed import hour_of
from greenlight.cost.samples import Samples
from greenlight.cost.scrapes import Metric, Scrape, Series
from greenlight.cost.usage import Level, Mark, Unmeasured

START = HOUR.timestamp()
STEP = 15.0
N = 281  # ten minutes before, the hour, and its end


def series(values, **labels):
    if not hasattr(values, "__iter__"):
        values = [values] * N
    pairs = [(START - 600 + i * STEP, v) for i, v in enumerate(values) if v is not None]
    return Series(labels=labels, samples=Samples.of(pairs, step_s=STEP))


def growing(a_second, *, first=0.0):
    return [first + i * STEP * a_second for i in range(N)]


def plan(*slots, gpus=1, **more):
    return HostPlan(name="gpu-1", gpus=gpus, slots=slots, **more)


def engine(slot="green", **changes):
    fields = {"slot": slot, "model": "chat", "version": "7", "is_warm": False, "reserved": 0.4}
    return SlotPlan(**fields | changes)


def of(slot, host="gpu-1"):
    return {"host": host, "colour": slot}


def scraped(**changes):
    """One GPU host with a live green engine and a warm blue one."""
    found = {
        Metric.UP: [series(1, **of("green")), series(1, **of("blue"))],
        Metric.CPU_SECONDS: [
            series(growing(0.9), host="gpu-1", mode="idle", cpu="0"),
            series(growing(0.5), host="gpu-1", mode="idle", cpu="1"),
        ],
        Metric.MEMORY_AVAILABLE: [series(6e9, host="gpu-1")],
        Metric.MEMORY_TOTAL: [series(8e9, host="gpu-1")],
        Metric.ENGINE_ACTIVE: [series(0.6, host="gpu-1", gpu="0")],
        Metric.GPU_UTILISATION: [series(70, host="gpu-1", gpu="0")],
        Metric.GPU_MEMORY_USED: [series(18000, host="gpu-1", gpu="0")],
        Metric.GPU_MEMORY_FREE: [series(6000, host="gpu-1", gpu="0")],
        Metric.RUNNING: [series(3, **of("green")), series(0, **of("blue"))],
        Metric.WAITING: [series(2, **of("green"))],
        Metric.KV_CACHE: [series(0.25, **of("green"))],
        Metric.REQUESTS: [
            series(growing(0.1), finished_reason="stop", **of("green")),
            series(growing(0.1), finished_reason="length", **of("green")),
        ],
        Metric.INPUT_TOKENS: [series(growing(10), **of("green")), series(5, **of("blue"))],
        Metric.OUTPUT_TOKENS: [series(growing(2), **of("green")), series(5, **of("blue"))],
    }
    return Scrape({**found, **{Metric[name.upper()]: value for name, value in changes.items()}})


def used(plans=None, **changes):
    plans = plans or [plan(engine(), engine("blue", version="6", is_warm=True))]
    return hour_of(plans, scraped(**changes), HOUR)["gpu-1"]


def test_a_host_is_what_its_exporters_say():
    host = used()
    assert host.cpu.mean == pytest.approx(0.3)
    assert host.memory.mean == pytest.approx(0.25)
    assert host.gpu.mean == pytest.approx(0.6)
    assert host.gpu_memory.mean == pytest.approx(0.75)
    assert host.computation.coverage == 1.0


def test_the_gpus_time_goes_to_the_engine_that_answers_and_memory_to_who_holds_it():
    green, blue = used().slots
    assert (green.time.mean, green.memory.mean) == (pytest.approx(0.6), 0.4)
    assert (blue.time.mean, blue.memory.mean, blue.is_warm) == (0.0, 0.4, True)
    assert green.requests.total == pytest.approx(720)
    assert green.input_tokens.total == pytest.approx(36_000)
    assert blue.output_tokens.total == 0
    assert (green.queue.mean, green.kv_cache.mean) == (2, 0.25)


def test_an_engines_own_word_about_its_memory_counts_before_the_plan():
    info = [series(1, gpu_memory_utilization="0.85", **of("green"))]
    green, blue = used(cache_config=info).slots
    assert (green.memory.mean, blue.memory.mean) == (0.85, 0.4)


def test_an_engine_without_any_word_about_its_memory_is_not_measured():
    (slot,) = used([plan(engine(reserved=None))]).slots
    assert isinstance(slot.memory, Unmeasured)
    assert "nobody says how much memory" in slot.memory.why


def test_an_engine_that_was_down_all_along_takes_nothing():
    (slot,) = used(up=[series(1, **of("green")), series(0, **of("blue"))]).slots
    assert slot.slot == "green"


def test_an_engine_that_was_up_for_a_part_of_the_hour_held_memory_for_that_part():
    half = [0] * 160 + [1] * 121
    _, blue = used(up=[series(1, **of("green")), series(half, **of("blue"))]).slots
    assert blue.memory.mean == pytest.approx(0.2)
    assert blue.memory.coverage == 1.0


@pytest.mark.parametrize("first", [160, 162], ids=["asked at once", "asked half a minute later"])
def test_a_slot_at_rest_is_not_asked_and_was_down(first):
    began = START - 600 + 160 * STEP
    values = [None] * first + [1] * (N - first)
    plans = [plan(engine(), engine("blue", rests=((START, began),)))]
    _, blue = used(plans, up=[series(1, **of("green")), series(values, **of("blue"))]).slots
    assert blue.memory.mean == pytest.approx(0.2, rel=0.02)
    assert blue.memory.coverage > 0.99
    assert blue.memory.marks == ()


def test_a_slot_that_rests_all_the_hour_takes_nothing_though_nobody_asked_it():
    plans = [plan(engine(), engine("blue", rests=((START, START + 3600),)))]
    (slot,) = used(plans, up=[series(1, **of("green"))]).slots
    assert slot.slot == "green"


def test_a_slot_that_was_not_asked_when_it_should_have_run_is_unmeasured():
    plans = [plan(engine(), engine("blue", rests=((START, START + 1800),)))]
    _, blue = used(plans, up=[series(1, **of("green"))]).slots
    assert isinstance(blue.memory, Unmeasured)


def test_an_engine_that_nobody_scraped_is_unmeasured_and_not_stopped():
    _, blue = used(up=[series(1, **of("green"))]).slots
    assert isinstance(blue.memory, Unmeasured)


def test_gpu_metrics_that_contradict_each_other_measure_nothing():
    host = used(engine_active=[series(0.01, host="gpu-1", gpu="0")])
    assert isinstance(host.gpu, Unmeasured)
    assert isinstance(host.slots[0].time, Unmeasured)


def test_utilisation_stands_in_and_is_marked():
    host = used(engine_active=[])
    assert host.gpu.mean == pytest.approx(0.7)
    assert Mark.SECOND_CHOICE in host.gpu.marks


def test_a_host_without_gpus_is_measured_by_its_processors():
    host = used([plan(engine(), gpus=0)])
    assert host.gpu is None
    assert host.slots[0].time.mean == pytest.approx(0.3)


def test_this_machines_exporter_has_no_host_label():
    idle = [series(growing(0.25), mode="idle", cpu="0")]
    host = used([plan(engine(), gpus=0, node="")], cpu_seconds=idle)
    assert host.cpu.mean == pytest.approx(0.75)


def test_a_host_that_nobody_scraped_is_unmeasured_throughout():
    host = hour_of([plan(engine())], Scrape({}), HOUR)["gpu-1"]
    assert isinstance(host.computation, Unmeasured)
    assert isinstance(host.memory, Unmeasured)
    assert isinstance(host.slots[0].input_tokens, Unmeasured)
    assert host.slots[0].tenants == ()


def tokens(tenant, direction, a_second):
    labels = {"model": "chat", "colour": "green", "tenant": tenant, "direction": direction}
    return series(growing(a_second), **labels)


def test_tenants_tokens_go_to_the_engines_that_made_them():
    plans = [
        plan(engine()),
        HostPlan(name="gpu-2", gpus=0, slots=(engine(),)),
    ]
    made = [series(growing(9), **of("green")), series(growing(3), **of("green", "gpu-2"))]
    out = [series(growing(1), **of("green")), series(growing(1), **of("green", "gpu-2"))]
    counted = [
        tokens("a", "input", 4), tokens("a", "output", 1),
        tokens("b", "input", 2), tokens("b", "input", 2), tokens("b", "output", 0),
    ]  # fmt: skip
    counted[3] = Series(labels=counted[3].labels | {"pid": "2"}, samples=counted[3].samples)
    hosts = hour_of(
        plans,
        scraped(input_tokens=made, output_tokens=out, gateway_tokens=counted),
        HOUR,
    )
    first = {t.tenant: t for t in hosts["gpu-1"].slots[0].tenants}
    second = {t.tenant: t for t in hosts["gpu-2"].slots[0].tenants}
    assert first["a"].input_tokens.total == pytest.approx(4 * 3600 * 0.75)
    assert second["b"].input_tokens.total == pytest.approx(4 * 3600 * 0.25)
    assert first["a"].output_tokens.total == pytest.approx(1800)
    assert isinstance(first["a"].requests, Unmeasured)


def test_a_restart_leaves_two_series_that_follow_each_other():
    early = [1.0] * 160 + [None] * 121
    late = [None] * 160 + [3.0] * 121
    both = [series(early, pid="1", **of("green")), series(late, pid="2", **of("green"))]
    green = used([plan(engine())], waiting=both).slots[0]
    assert green.queue.mean == pytest.approx(2.0)
    assert isinstance(green.queue, Level)
    assert green.queue.coverage == 1.0
