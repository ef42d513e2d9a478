"""A tiny model, made once a session by the ML environment, and a text to calibrate on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from quantized_folders import LAYERS

from greenlight.adapters.ml_process import MlProcess
from greenlight.core.digest import digest_file
from greenlight.core.settings import Settings
from greenlight.quantize.jobs import Dataset, DatasetKind, QuantizeSpec
from greenlight.quantize.recipes import Recipe
from greenlight.testing.tiny_model import make_tiny


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(home=tmp_path_factory.mktemp("ml home"), job_timeout_s=300)


@pytest.fixture(scope="session")
def runner(settings: Settings) -> MlProcess:
    return MlProcess(settings)


@pytest.fixture(scope="session")
def tiny(settings: Settings) -> Path:
    return make_tiny(settings, settings.home / "tiny llama", layers=LAYERS)


@pytest.fixture(scope="session")
def calibration(settings: Settings) -> Dataset:
    from pydoc_data.topics import topics

    file = settings.home / "calibration.jsonl"
    rows = [{"id": key, "text": topics[key][:2000]} for key in sorted(topics)[:20]]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Dataset(
        name="topics",
        version="1",
        kind=DatasetKind.TEXT,
        licence="psf-2.0",
        source="pydoc_data.topics",
        rows=len(rows),
        digest=digest_file(file),
        path=file,
    )


@pytest.fixture(scope="session")
def make_spec(settings: Settings, tiny: Path, calibration: Dataset) -> Callable[..., QuantizeSpec]:
    """A maker of specs; keywords change the recipe, or whole fields of the spec."""

    def make(
        name: str, *, fields: dict[str, object] | None = None, **recipe: object
    ) -> QuantizeSpec:
        values = {"name": name, "bits": 4, "samples": 4, "sample_tokens": 64} | recipe
        spec = QuantizeSpec(
            model=tiny,
            output=settings.home / "out" / name,
            recipe=Recipe.model_validate(values),
            calibration=calibration,
        )
        return spec.model_copy(update=fields or {})

    return make
