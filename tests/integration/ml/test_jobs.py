"""The smaller jobs, and what can be proven about the ML code only where torch is."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from greenlight.adapters.ml_process import MlProcess, child_environment
from greenlight.core.digest import digest_file
from greenlight.core.errors import InputError
from greenlight.core.settings import Settings
from greenlight.quantize.jobs import (
    CountTokensSpec,
    Dataset,
    DatasetKind,
    Job,
    SensitivitySpec,
    VerifyModelSpec,
)

pytestmark = pytest.mark.ml
INSIDE = Path(__file__).parent / "inside"


def test_the_checks_inside_the_ml_environment_pass(settings: Settings, tiny: Path) -> None:
    environment = child_environment({"PATH": "/usr/bin:/bin"}, temporary=settings.home)
    command = [str(settings.ml_python), "-m", "unittest", "discover", "-p", "check_*.py"]
    done = subprocess.run(
        command,
        cwd=INSIDE,
        env=environment | {"TINY_LLAMA": str(tiny)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Ran 0 tests" not in done.stderr


def test_a_model_is_described_by_loading_it(runner: MlProcess, tiny: Path) -> None:
    outcome = runner.run(Job.VERIFY_MODEL, VerifyModelSpec(model=tiny))
    assert outcome.result["dtype"] == "float32"
    assert outcome.result["vocabulary"] == outcome.result["context"] == 512
    assert outcome.usage.peak_rss_bytes > 100_000_000


def test_tokens_are_counted_by_row(runner: MlProcess, tiny: Path, calibration: Dataset) -> None:
    spec = CountTokensSpec(model=tiny, datasets=(calibration,))
    lengths = runner.run(Job.COUNT_TOKENS, spec).result["lengths"]["topics"]
    assert len(lengths) == calibration.rows
    assert all(length > 10 for length in lengths)


def test_an_instruction_needs_no_input(runner: MlProcess, tiny: Path, tmp_path: Path) -> None:
    file = tmp_path / "own.jsonl"
    rows = [
        {"id": "a", "instruction": "Say one.", "output": "one"},
        {"id": "b", "instruction": "Say", "input": "two words more", "output": "two"},
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    own = Dataset(
        name="own", version="1", kind=DatasetKind.INSTRUCT, licence="mit", source="a test",
        rows=2, digest=digest_file(file), path=file,
    )  # fmt: skip
    outcome = runner.run(Job.COUNT_TOKENS, CountTokensSpec(model=tiny, datasets=(own,)))
    short, long = outcome.result["lengths"]["own"]
    assert 0 < short < long


def test_a_data_set_that_changed_is_refused(
    runner: MlProcess, tiny: Path, calibration: Dataset
) -> None:
    spec = CountTokensSpec(
        model=tiny, datasets=(calibration.model_copy(update={"digest": "0" * 64}),)
    )
    with pytest.raises(InputError, match="expected 0000"):
        runner.run(Job.COUNT_TOKENS, spec)


def test_every_group_moves_the_answers_by_something(
    runner: MlProcess, tiny: Path, calibration: Dataset
) -> None:
    spec = SensitivitySpec(model=tiny, calibration=calibration, tokens=512)
    kl = runner.run(Job.SENSITIVITY, spec).result["kl"]
    assert set(kl) == {"qkv", "o", "gate_up", "down"}
    assert all(value > 0 for value in kl.values())
