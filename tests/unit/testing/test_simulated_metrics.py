from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from greenlight.testing.simulated_metrics import EngineMetrics


def test_the_names_and_labels_are_vllms() -> None:
    text = EngineMetrics("m").render().decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert {
        "vllm:num_requests_running",
        "vllm:num_requests_waiting",
        "vllm:prompt_tokens",
        "vllm:generation_tokens",
        "vllm:request_success",
        "vllm:time_to_first_token_seconds",
        "vllm:inter_token_latency_seconds",
        "vllm:request_time_per_output_token_seconds",
        "vllm:e2e_request_latency_seconds",
    } <= set(families)
    for family in families.values():
        for sample in family.samples:
            assert (sample.labels["model_name"], sample.labels["engine"]) == ("m", "0")


def test_two_engines_do_not_share_their_numbers() -> None:
    one, other = EngineMetrics("m"), EngineMetrics("m")
    one.finished("stop")
    line = 'finished_reason="stop",model_name="m"} 1.0'
    assert line in one.render().decode()
    assert line not in other.render().decode()
