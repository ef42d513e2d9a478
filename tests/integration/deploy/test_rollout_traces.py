"""One trace shows a deploy: its steps as spans, and the requests they sent to real engines."""

import shutil
from dataclasses import replace
from datetime import UTC, datetime

import httpx
import pytest

from greenlight.adapters.otlp import OtlpTracer
from greenlight.core.errors import GateError
from greenlight.core.traces import read_trace, trace_of
from greenlight.deploy.request import DeployRequest
from greenlight.entrypoints.deploy import Deploy
from greenlight.testing.local_fleet import FLEET, local_fleet
from greenlight.testing.memory_rollouts import MemoryJournal, MemoryLeases
from greenlight.testing.otlp_sink import otlp_sink
from greenlight.testing.simulation import Simulation

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.skipif(shutil.which("haproxy") is None, reason="HAProxy is not installed"),
]
BROKEN = Simulation(first_token_s=0.01, token_s=0.001, tokens=8, error_rate=1.0, start_after_s=3)


@pytest.fixture
def sink():
    with otlp_sink() as found:
        yield found


@pytest.fixture
def tracer(sink, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", sink.url)
    made = OtlpTracer("greenlight-deploy")
    yield made
    made.close()


@pytest.fixture
def fleet(tmp_path):
    with local_fleet(tmp_path / "a home with spaces", hosts=1) as found:
        yield found


@pytest.fixture
def deploy(fleet, tracer):
    leases = MemoryLeases(lambda: datetime.now(UTC))
    made = fleet.deploy(leases=leases, journal=MemoryJournal(leases))
    return Deploy(replace(made.tools, tracer=tracer), rollout_file=fleet.root / "rollout.yaml")


def run(deploy, version):
    request = DeployRequest(fleet=FLEET, version=version)
    return deploy.run(request, rollout_id=f"to-{version}", by="test")


def asked(fleet):
    """The traces that requests to the engines that run were in."""
    found = []
    for host in fleet.fleet.hosts:
        for port in (host.slots.blue.port, host.slots.green.port):
            try:
                answer = httpx.get(f"http://127.0.0.1:{port}/simulation/traceparents")
            except httpx.TransportError:
                continue
            found += [read_trace(one) for one in answer.json()]
    return found


def test_every_step_and_every_request_it_sent_is_in_the_rollouts_trace(fleet, deploy, sink):
    fleet.add_version(1)
    run(deploy, 1)
    root = trace_of("rollout", "to-1")
    assert {span.trace_id for span in sink.spans} == {root.trace_id}
    (whole,) = [span for span in sink.spans if span.name == "rollout"]
    steps = [span for span in sink.spans if span is not whole]
    assert (whole.span_id, whole.parent_id) == (root.span_id, "")
    assert {span.parent_id for span in steps} == {root.span_id}
    names = {span.name for span in steps}
    assert {"rollout: prepare", "rollout: smoke", "rollout: warm up", "rollout: shift"} <= names
    assert not any(span.failed for span in sink.spans)
    assert whole.facts["greenlight.rollout.outcome"] == "live"
    requests = asked(fleet)
    assert requests
    assert {one.trace_id for one in requests} == {root.trace_id}
    sent_by = {span.name for span in steps if span.span_id in {one.span_id for one in requests}}
    assert {"rollout: smoke", "rollout: warm up"} <= sent_by


def test_a_rollout_that_goes_back_says_which_step_failed(fleet, deploy, sink):
    fleet.add_version(1)
    run(deploy, 1)
    fleet.add_version(2, BROKEN)
    with pytest.raises(GateError):
        run(deploy, 2)
    spans = [s for s in sink.spans if s.trace_id == trace_of("rollout", "to-2").trace_id]
    (whole,) = [span for span in spans if span.name == "rollout"]
    assert whole.failed
    assert whole.facts["greenlight.rollout.outcome"] == "rolled back"
    broken = [span for span in spans if span.failed and span is not whole]
    assert {span.facts["error.type"] for span in broken} == {"GateError"}
    (back,) = [span for span in spans if span.name == "rollout: roll back"]
    assert not back.failed
