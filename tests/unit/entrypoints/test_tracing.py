import pytest

from greenlight.adapters.otlp import OtlpTracer
from greenlight.core.errors import ConfigError
from greenlight.core.traces import Untraced
from greenlight.entrypoints.tracing import open_lenient_tracer, open_tracer, otlp_endpoint

URL = "http://127.0.0.1:4318"


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": " "},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": URL, "OTEL_SDK_DISABLED": "TRUE"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": URL, "OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_SERVICE_NAME": "mine"},
    ],
)
def test_nothing_is_told_unless_a_collector_is_named(environment):
    assert otlp_endpoint(environment) is None
    assert isinstance(open_tracer("x", environment), Untraced)


def test_the_address_for_traces_comes_before_the_one_for_everything():
    general = {"OTEL_EXPORTER_OTLP_ENDPOINT": URL}
    assert otlp_endpoint(general) == URL
    own = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://traces:1/v1/traces"}
    assert otlp_endpoint(general | own) == "https://traces:1/v1/traces"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4317"}, "must begin with http://"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "http/protobuf only"),
        ({"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json"}, "http/protobuf only"),
    ],
)
def test_what_is_not_done_here_is_refused_by_its_name(changes, said):
    with pytest.raises(ConfigError, match=said) as caught:
        otlp_endpoint({"OTEL_EXPORTER_OTLP_ENDPOINT": URL} | changes)
    assert next(iter(changes)) in str(caught.value)


def test_no_deploy_fails_for_variables_that_are_meant_for_others():
    others = {"OTEL_EXPORTER_OTLP_ENDPOINT": URL, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    with pytest.raises(ConfigError):
        open_tracer("x", others)
    assert isinstance(open_lenient_tracer("x", others), Untraced)


def test_a_process_has_one_tracer_for_a_service():
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": URL}
    first = open_tracer("one", environment)
    assert isinstance(first, OtlpTracer)
    assert open_tracer("one", environment) is first
    renamed = open_tracer("two", environment | {"OTEL_SERVICE_NAME": "one"})
    assert renamed is first
    first.close()
