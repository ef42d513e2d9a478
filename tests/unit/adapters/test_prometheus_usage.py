"""A real Prometheus, backfilled: what it says of gaps and restarts isn't to be guessed."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest

from greenlight.adapters.prometheus_api import PrometheusApi
from greenlight.adapters.prometheus_usage import Labels, PrometheusUsage
from greenlight.core.errors import ConfigError, UnavailableError
from greenlight.cost.inventory import HostPlan, SlotPlan
from greenlight.cost.rightsizing.series import Resource
from greenlight.cost.usage import Mark, Unmeasured
from greenlight.testing.prometheus_servers import (
    open_metrics,
    prometheus_program,
    prometheus_server,
)
from greenlight.testing.servers import free_port

HOUR = datetime(2026, 11, 24, 10, tzinfo=UTC)
STEP = 30
needs_prometheus = pytest.mark.skipif(
    prometheus_program() is None, reason="Prometheus is not installed"
)
PLAN = HostPlan(
    name="gpu 1",
    gpus=1,
    slots=(SlotPlan(slot="green", model="chat", version="7", is_warm=False, reserved=0.5),),
)
ENGINE = {"host": "gpu 1", "colour": "green"}


def at(value, *, first=-20, last=120, gap=()):
    """Return samples of a value, or of a function of the sample's number."""
    made = value if callable(value) else lambda _: value
    start = HOUR.timestamp()
    return [(start + n * STEP, made(n)) for n in range(first, last + 1) if n not in gap]


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    folder = tmp_path_factory.mktemp("a folder with spaces")
    restarted = at(lambda n: 10.0 * (n + 20) if n < 60 else 10.0 * (n - 60))
    text = open_metrics(
        [
            ("up", ENGINE, at(1.0)),
            ("vllm:num_requests_running", ENGINE, at(2.0)),
            ("vllm:prompt_tokens_total", ENGINE, restarted),
            ("vllm:generation_tokens_total", ENGINE, at(lambda n: 5.0 * (n + 20))),
            ("DCGM_FI_PROF_GR_ENGINE_ACTIVE", {"host": "gpu 1", "gpu": "0"},
             at(0.5, gap=range(30, 60))),
            ("DCGM_FI_DEV_GPU_UTIL", {"host": "gpu 1", "gpu": "0"}, at(55)),
            ("node_cpu_seconds_total", {"host": "gpu 1", "cpu": "0", "mode": "idle"},
             at(lambda n: 15.0 * (n + 20))),
            ("node_cpu_seconds_total", {"host": "gpu 1", "cpu": "0", "mode": "user"}, at(7.0)),
            ("node_memory_MemTotal_bytes", {"host": "gpu 1"}, at(1000)),
            ("node_memory_MemAvailable_bytes", {"host": "gpu 1"},
             at(lambda n: 100 if n == 3 else 600)),
        ]
    )  # fmt: skip
    with prometheus_server(folder, text) as address:
        yield address


@pytest.fixture
def source(url):
    with PrometheusApi(url) as api:
        yield PrometheusUsage(api, labels=Labels(step_s=STEP))


@needs_prometheus
def test_an_hour_of_a_host_is_measured_from_raw_samples(source):
    host = source.hour([PLAN], HOUR)["gpu 1"]
    assert host.cpu.mean == pytest.approx(0.5)
    assert host.gpu.mean == pytest.approx(0.5)
    assert host.gpu.coverage == pytest.approx(1 - 30 / 120)
    assert host.gpu.marks == (Mark.GAP,)
    (slot,) = host.slots
    assert slot.output_tokens.total == pytest.approx(600)
    assert slot.input_tokens.total == pytest.approx(590 + 600)
    assert slot.input_tokens.marks == (Mark.RESET,)
    assert slot.memory.mean == pytest.approx(0.5)


@needs_prometheus
def test_an_hour_without_samples_is_unmeasured(source):
    host = source.hour([PLAN], HOUR - timedelta(days=3))["gpu 1"]
    assert isinstance(host.gpu, Unmeasured)
    assert isinstance(host.slots[0].input_tokens, Unmeasured)


@needs_prometheus
def test_history_is_shares_with_gaps_where_nothing_was_scraped(source):
    end = HOUR + timedelta(hours=1)
    step = timedelta(minutes=5)
    gpu = source.history(Resource.GPU, end=end, days=1, step=step)["gpu 1"]
    assert gpu.measured < gpu.span
    assert gpu.quantile(0.5) == pytest.approx(0.5)
    cpu = source.history(Resource.CPU, end=end, days=1, step=step)["gpu 1"]
    assert cpu.quantile(0.5) == pytest.approx(0.5)
    memory = source.history(Resource.MEMORY, end=end, days=1, step=step)["gpu 1"]
    assert memory.values.max() == pytest.approx(0.9)
    assert source.history(Resource.GPU_MEMORY, end=end, days=1, step=step) == {}


@needs_prometheus
def test_a_query_that_makes_no_sense_is_ours_to_mend(url):
    with PrometheusApi(url) as api, pytest.raises(ConfigError, match="refuses the query"):
        api.samples("up{", start=HOUR, end=HOUR + timedelta(hours=1))


def asked(handler):
    api = PrometheusApi("http://prometheus.test/", transport=httpx.MockTransport(handler))
    return api.samples("up", start=HOUR, end=HOUR + timedelta(hours=1))


def test_a_window_is_asked_for_as_a_range_up_to_its_end():
    seen = []

    def answer(request):
        seen.append(dict(httpx.QueryParams(request.content.decode())))
        return httpx.Response(
            200, json={"status": "success", "data": {"resultType": "matrix", "result": []}}
        )

    assert asked(answer) == ()
    assert seen == [{"query": "up[3600s]", "time": f"{HOUR.timestamp() + 3600:.3f}"}]


@pytest.mark.parametrize(
    ("answer", "error", "says"),
    [
        (httpx.Response(503, text="starting"), UnavailableError, "503.*isn't JSON"),
        (httpx.Response(500, json={"status": "error", "error": "oops"}), UnavailableError, "oops"),
        (httpx.Response(401, text=""), ConfigError, "does not let us in"),
        (httpx.Response(400, json={"status": "error", "error": "bad"}), ConfigError, "bad"),
        (httpx.Response(200, json=[1]), UnavailableError, "HTTP 200"),
        (
            httpx.Response(
                200,
                json={
                    "status": "success",
                    "warnings": ["Partial response: store away"],
                    "data": {"resultType": "matrix", "result": []},
                },
            ),
            UnavailableError,
            "in part only",
        ),
        (
            httpx.Response(
                200, json={"status": "success", "data": {"resultType": "scalar", "result": []}}
            ),
            ConfigError,
            "returned a scalar",
        ),
    ],
)
def test_an_answer_that_is_none_is_told_apart_from_no_samples(answer, error, says):
    with pytest.raises(error, match=says):
        asked(lambda _: answer)


def test_a_server_that_is_away_can_be_tried_again():
    with (
        PrometheusApi(f"http://127.0.0.1:{free_port()}") as api,
        pytest.raises(UnavailableError, match="does not answer"),
    ):
        api.samples("up", start=HOUR, end=HOUR + timedelta(hours=1))
