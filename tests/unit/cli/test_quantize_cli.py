import json

import pytest
from typer.testing import CliRunner

from greenlight.cli.console import WIDTH, console
from greenlight.cli.evaluate import gate_table, metric_table
from greenlight.cli.main import build
from greenlight.core.errors import ConfigError, GateError, InputError, RefusedError
from greenlight.quantize.measurements import GateResult, Metric, Verdict

RUNNER = CliRunner()
ONE = Metric(name="file_bytes_vs_fp32", value=0.9, unit="ratio", n=1, baseline="parent FP32")


def run(*words):
    return RUNNER.invoke(build(), [str(word) for word in words])


@pytest.mark.parametrize(
    "words", [["quantize", "plan"], ["quantize", "run"], ["evaluate"], ["gate"], ["demo"]]
)
def test_every_command_explains_itself(words):
    result = run(*words, "--help")
    assert result.exit_code == 0
    assert "Usage" in result.output


def test_a_value_that_is_not_allowed_is_named_before_anything_is_done():
    error = run("quantize", "run", "m", "--device", "tpu", "--dry-run").exception
    assert isinstance(error, ConfigError)
    assert "device" in str(error)
    assert "tpu" in str(error)


def test_options_that_are_left_out_have_their_defaults():
    error = run("quantize", "plan", "m").exception
    assert isinstance(error, RefusedError)  # past the request: only the stack is missing
    assert "make up" in str(error)


def test_metrics_that_do_not_pass_end_with_the_gates_error(tmp_path):
    file = tmp_path / "metrics.json"
    file.write_text(json.dumps([ONE.model_dump(mode="json")]))
    result = run("gate", file, "--json")
    assert isinstance(result.exception, GateError)
    assert json.loads(result.output)["verdict"] == "fail"
    assert run("gate", file, "--dry-run").exit_code == 0


def test_a_file_that_holds_no_metrics_is_refused_with_its_name(tmp_path):
    file = tmp_path / "metrics.json"
    file.write_text('[{"name": "x"}]')
    error = run("gate", file).exception
    assert isinstance(error, InputError)
    assert "metrics.json" in str(error)
    assert "value" in str(error)


def test_a_folder_that_is_no_model_is_refused_before_anything_is_measured(tmp_path):
    error = run("evaluate", tmp_path, "--parent", tmp_path, "--dry-run").exception
    assert isinstance(error, InputError)


def test_tables_show_bounds_and_reasons():
    metric = Metric(name="kl", value=0.1, low=0.05, high=0.2, unit="nats", n=24)
    assert metric_table((metric, ONE)).row_count == 2
    result = GateResult(gate="kl", metric="kl", verdict=Verdict.FAIL, reason="too far")
    assert gate_table((result,)).row_count == 1


def test_a_pipe_is_wide_enough_for_a_table():
    assert console.width == WIDTH
