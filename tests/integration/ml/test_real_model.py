"""The real model through the steps of the pipeline: what passes, and what has to be refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from greenlight.adapters.dataset_store import DatasetStore
from greenlight.adapters.ml_process import MlProcess
from greenlight.adapters.model_store import ModelStore
from greenlight.adapters.work_store import WorkStore
from greenlight.core.clock import SystemClock
from greenlight.core.digest import manifest_of
from greenlight.core.errors import InputError
from greenlight.core.settings import Settings
from greenlight.core.types import JsonDict, Value
from greenlight.entrypoints import data, models
from greenlight.entrypoints.quantize import Steps
from greenlight.entrypoints.workbench import Workbench
from greenlight.quantize.jobs import Backend, Job, Outcome, QuantizeSpec
from greenlight.quantize.recipes import Recipe
from greenlight.registry.tags import Tag
from greenlight.testing.memory_registry import MemoryRegistry

pytestmark = [pytest.mark.slow, pytest.mark.ml, pytest.mark.timeout(3600)]

MODEL = "smollm2"
PROTOCOL = {"max_choice_items": 300, "max_answers": 64}
GATE_UP = {
    "bits": 4,
    "act_order": True,
    "samples": 8,
    "modules": [{"match": ["qkv", "o", "down"], "bits": 16}],
}
Spoil = Callable[[Path], None]


class SpoilingJobs(MlProcess):
    """Quantizes by copying `source` and spoiling the copy; everything else is the real thing."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.source: Path | None = None
        self.spoil: Spoil | None = None
        self.made: Outcome | None = None

    def run(self, job: Job, spec: Value, **how: object) -> Outcome:
        if self.spoil is None or not isinstance(spec, QuantizeSpec):
            outcome = super().run(job, spec, **how)
            if job is Job.QUANTIZE:
                self.made = outcome
            return outcome
        assert self.source is not None
        assert self.made is not None
        shutil.copytree(self.source, spec.output, dirs_exist_ok=True)
        self.spoil(spec.output)
        return self.made


class World:
    """A machine with the demo's model, the bundled data, and a registry in memory."""

    def __init__(self, home: Path) -> None:
        self.settings = Settings(home=home)
        self.registry = MemoryRegistry()
        self.jobs = SpoilingJobs(self.settings)
        data.build_bundle(self.settings)
        models.import_model(self.settings, "demo", name=MODEL, registry=self.registry)
        self.steps = Steps(
            settings=self.settings,
            bench=Workbench(
                settings=self.settings, jobs=self.jobs, work=WorkStore(root=self.settings.work)
            ),
            registry=self.registry,
            models=ModelStore(self.settings.models),
            datasets=DatasetStore(self.settings.datasets),
            clock=SystemClock(),
        )
        self.source = self.steps.resolve_source({"model": MODEL, "protocol": PROTOCOL})
        self.data = self.steps.validate_data(self.source)
        self.parent = self.steps.measure_parent(self.source, self.data)

    def prove(
        self, name: str, *, backend: Backend = Backend.GPTQMODEL, **fields: object
    ) -> JsonDict:
        """Quantize, measure and judge one recipe."""
        request = self.source["request"] | {"backend": backend}
        return self.steps.prove_recipe(
            self.source | {"request": request}, self.data, self.parent, planned(name, **fields)
        )

    def prove_spoiled(self, name: str, spoil: Spoil, *, seed: int) -> JsonDict:
        """Judge a copy of the good candidate that was damaged after it was quantized.

        `seed`: makes it another recipe, else the good candidate would be found as finished work.
        """
        self.jobs.spoil = spoil
        try:
            return self.prove(name, seed=seed, **GATE_UP)
        finally:
            self.jobs.spoil = None


def planned(name: str, **fields: object) -> JsonDict:
    recipe = Recipe.model_validate({"name": name, **fields})
    return {"plan": name, "position": 0, "recipe": recipe.model_dump(mode="json")}


def ratio(measured: JsonDict, *, of: str = "handbook-heldout") -> float:
    return float(
        next(m["value"] for m in measured["metrics"] if m["name"] == f"perplexity_ratio.{of}")
    )


def failed(trial: JsonDict) -> set[str]:
    return {result["gate"] for result in trial["results"] if result["verdict"] == "fail"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("real model"))


@pytest.fixture(scope="module")
def good(world: World) -> JsonDict:
    trial = world.prove("gate-up", **GATE_UP)
    world.jobs.source = Path(trial["path"])
    return trial


def test_gptqmodel_keeps_a_models_answers_when_only_gate_and_up_have_four_bits(
    good: JsonDict,
) -> None:
    assert failed(good) == set()
    assert 1.0 < ratio(good) < 1.05
    assert 1.0 < ratio(good, of="python-heldout") < 1.06
    assert good["bytes"] < 200e6
    assert manifest_of(Path(good["path"])).digest == good["digest"]


def test_auto_gptq_quantizes_it_too(world: World) -> None:
    trial = world.prove("auto", backend=Backend.AUTO_GPTQ, bits=4, samples=2, sample_tokens=256)
    assert 1.05 < ratio(trial) < 1.6
    assert trial["bytes"] < 120e6
    assert "perplexity" in failed(trial)
    assert trial["tools"]["auto-gptq"] == "0.7.1"


def test_rounding_to_three_bits_is_refused(world: World) -> None:
    control = world.steps.measure_control(
        world.source, world.data, world.parent, [planned("q3", bits=3)]
    )
    assert control["verdict"] == "fail"
    assert ratio(control) > 1.5


def test_a_corrupted_layer_is_refused(world: World, good: JsonDict) -> None:
    trial = world.prove_spoiled("corrupted", corrupt_a_layer, seed=1)
    assert trial["verdict"] == "fail"
    assert "perplexity" in failed(trial)


def corrupt_a_layer(folder: Path) -> None:
    """Turn the bytes of one quantized matrix round, in place."""
    file = folder / "model.safetensors"
    content = bytearray(file.read_bytes())
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    first, end = header["model.layers.12.mlp.up_proj.qweight"]["data_offsets"]
    content[start + first : start + end] = content[start + first : start + end][::-1]
    file.write_bytes(content)


def test_a_swapped_tokenizer_is_refused(world: World, good: JsonDict) -> None:
    trial = world.prove_spoiled("tokenizer", swap_two_tokens, seed=2)
    assert trial["verdict"] == "fail"
    assert failed(trial) == {"interface"}


def swap_two_tokens(folder: Path) -> None:
    file = folder / "tokenizer.json"
    tokenizer = json.loads(file.read_text(encoding="utf-8"))
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["the"], vocabulary["a"] = vocabulary["a"], vocabulary["the"]
    file.write_text(json.dumps(tokenizer, ensure_ascii=False), encoding="utf-8")


def test_an_edited_chat_template_is_refused(world: World, good: JsonDict) -> None:
    trial = world.prove_spoiled("template", edit_the_template, seed=3)
    assert trial["verdict"] == "fail"
    assert failed(trial) == {"interface"}


def edit_the_template(folder: Path) -> None:
    file = folder / "chat_template.jinja"
    file.write_text(file.read_text(encoding="utf-8").replace("helpful", "terse"), encoding="utf-8")


def test_text_that_was_calibrated_on_is_refused(world: World) -> None:
    request = {"model": MODEL, "evaluation": ["calibration-default", "python-heldout"]}
    with pytest.raises(InputError, match=r"calibration_overlap\.calibration-default"):
        world.steps.validate_data(world.steps.resolve_source(request))


def test_nothing_was_registered_by_all_this(world: World) -> None:
    kinds = {version.tag(Tag.KIND) for version in world.registry.versions(MODEL)}
    assert kinds == {"imported"}
