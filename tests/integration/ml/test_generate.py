"""A model says the same in another process, and a changed one doesn't: plain and quantized."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from greenlight.adapters.ml_process import MlProcess
from greenlight.core.digest import manifest_of
from greenlight.core.errors import InputError
from greenlight.core.settings import Settings
from greenlight.entrypoints.recorded_tokens import NEW_TOKENS, compare, record
from greenlight.quantize.jobs import Job, QuantizeSpec

pytestmark = pytest.mark.ml


@pytest.fixture(scope="module", params=["plain", "quantized"])
def model(
    request: pytest.FixtureRequest,
    runner: MlProcess,
    tiny: Path,
    make_spec: Callable[..., QuantizeSpec],
) -> Path:
    if request.param == "plain":
        return tiny
    spec = make_spec("says-the-same")
    runner.run(Job.QUANTIZE, spec)
    return spec.output


def test_a_copy_says_the_same_in_another_process_with_other_cores_until_a_weight_changes(
    settings: Settings, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = manifest_of(model).digest
    recorded = record(settings, model="tiny", version=1, digest=digest, folder=model)
    assert len(recorded.tokens) == NEW_TOKENS
    assert len(set(recorded.tokens)) > 4, "a model that repeats itself would prove little"
    restored = Path(shutil.copytree(model, tmp_path / "a copy"))
    for cores in ("1", "5"):
        monkeypatch.setenv("OMP_NUM_THREADS", cores)
        assert compare(settings, recorded, restored) is None

    change_a_weight(restored)
    reason = compare(settings, recorded, restored)
    assert reason is not None
    assert str(list(recorded.tokens)) in reason


def test_half_a_folder_is_no_other_answer(settings: Settings, tiny: Path, tmp_path: Path) -> None:
    digest = manifest_of(tiny).digest
    recorded = record(settings, model="tiny", version=1, digest=digest, folder=tiny)
    restored = Path(shutil.copytree(tiny, tmp_path / "half"))
    file = restored / "model.safetensors"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(InputError, match="not a readable safetensors file"):
        compare(settings, recorded, restored)


def change_a_weight(folder: Path) -> None:
    """Set one number of the last norm, which every token passes, to 100; in place."""
    file = folder / "model.safetensors"
    content = bytearray(file.read_bytes())
    start = 8 + int.from_bytes(content[:8], "little")
    norm = json.loads(content[8:start])["model.norm.weight"]
    first = start + norm["data_offsets"][0]
    hundred = {"F32": bytes.fromhex("0000c842"), "BF16": bytes.fromhex("c842")}[norm["dtype"]]
    assert content[first : first + len(hundred)] != hundred
    content[first : first + len(hundred)] = hundred
    file.write_bytes(content)
