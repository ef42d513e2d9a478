"""The whole pipeline without an ML environment: real decisions on made-up measurements."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from greenlight.adapters.bundled_sets import bundled_sets
from greenlight.adapters.dataset_store import DatasetStore
from greenlight.adapters.model_store import ModelStore
from greenlight.adapters.work_store import WorkStore
from greenlight.core.clock import SystemClock
from greenlight.core.errors import (
    ConfigError,
    GateError,
    InputError,
    ProcessDiedError,
    ResourceError,
    UnavailableError,
)
from greenlight.core.settings import Settings
from greenlight.entrypoints import models, quantize
from greenlight.entrypoints.evidence import show_evidence
from greenlight.entrypoints.workbench import Workbench
from greenlight.quantize.evidence import read_evidence, verify
from greenlight.quantize.jobs import DatasetKind, Job
from greenlight.quantize.measurements import Metric
from greenlight.quantize.serving import GoldenAnswer
from greenlight.registry.tags import EVIDENCE_FILE, Alias, Tag
from greenlight.testing.fake_jobs import FakeJobs
from greenlight.testing.memory_registry import MemoryRegistry
from greenlight.testing.model_folders import safetensors, write_llama

BAD, GOOD = "q4-g32", "q4-g32-gptaq-qkv16"
REQUEST = {"model": "m", "recipes": [BAD, GOOD], "evaluation": ["prose", "wiki", "quiz", "tasks"],
           "calibration": "calibration"}  # fmt: skip
SERVED = [
    Metric(name="served_answer_accuracy_change", value=0, low=-0.01, high=0.01, unit="share", n=60),
    Metric(name="served_length_ratio", value=1, low=0.97, high=1.03, unit="ratio", n=60),
    Metric(name="served_repeat_equal", value=1, low=0.99, unit="share", n=60),
    Metric(name="served_tokens_per_second_ratio.1", value=1, low=0.9, high=1.1, unit="ratio", n=9),
]


def a_model(folder: Path, *, fill: int = 7) -> Path:
    write_llama(folder)
    tensors = {"model.embed_tokens.weight": ("F32", (16, 64))}
    for layer in range(2):
        for name, shape in {
            "self_attn.q_proj": (64, 64),
            "self_attn.k_proj": (32, 64),
            "self_attn.v_proj": (32, 64),
            "self_attn.o_proj": (64, 64),
            "mlp.gate_proj": (128, 64),
            "mlp.up_proj": (128, 64),
            "mlp.down_proj": (64, 128),
        }.items():
            tensors[f"model.layers.{layer}.{name}.weight"] = ("F32", shape)
    folder.joinpath("model.safetensors").write_bytes(safetensors(tensors, fill=fill))
    return folder


@pytest.fixture(scope="module")
def bundled():
    return {made.name: made for made in bundled_sets()}


GOLDEN = GoldenAnswer(id="instructions/1", prompt="Two and two?", max_tokens=8, text="Four.")


def served_json(metrics):
    return {
        "metrics": [m.model_dump(mode="json") for m in metrics],
        "golden": [GOLDEN.model_dump(mode="json")],
    }


class World:
    """One machine: a registry with an imported model, data sets, and a fake ML environment."""

    def __init__(self, tmp_path, bundled, **loss):
        self.settings = Settings(home=tmp_path / "home")
        self.registry = MemoryRegistry()
        self.jobs = FakeJobs(loss=loss or {BAD: 0.2, GOOD: 0.01, "rtn-4bit": 0.5})
        store = DatasetStore(self.settings.datasets)
        for name, source in {
            "calibration": "calibration-default",
            "prose": "handbook-heldout",
            "wiki": "python-heldout",
            "quiz": "wordnet-choice",
            "tasks": "instructions-default",
        }.items():
            made = bundled[source]
            store.add(name, kind=made.kind, licence="mit", source="test", rows=made.rows)
        self.ref = models.import_model(
            self.settings, str(a_model(tmp_path / "source")), name="m", registry=self.registry
        )
        self.steps = quantize.Steps(
            settings=self.settings,
            bench=Workbench(
                settings=self.settings,
                jobs=self.jobs,
                work=WorkStore(root=self.settings.work),
            ),
            registry=self.registry,
            models=ModelStore(self.settings.models),
            datasets=store,
            clock=SystemClock(),
        )

    def until_chosen(self, **changes):
        do = self.steps
        source = do.resolve_source(REQUEST | changes)
        data = do.validate_data(source)
        parent = do.measure_parent(source, data)
        plan = do.plan_recipes(source, data)
        control = do.measure_control(source, data, parent, plan)
        trials = [do.prove_recipe(source, data, parent, planned) for planned in plan]
        winner = do.choose(source, parent, control, trials)
        return source, data, parent, control, winner, trials

    def run(self, served=SERVED, **changes):
        source, data, parent, control, winner, _ = self.until_chosen(**changes)
        return self.steps.register(source, data, parent, control, winner, served_json(served))

    def quantized(self):
        return [v for v in self.registry.versions("m") if v.tag(Tag.KIND) == "quantized"]


@pytest.fixture
def world(tmp_path, bundled):
    return World(tmp_path, bundled)


def test_the_smallest_recipe_that_passes_becomes_the_candidate(world, tmp_path):
    candidate = world.run()
    found = world.registry.find("m", tags={}, alias=Alias.CANDIDATE)
    assert (found.version, found.digest) == (candidate["version"], candidate["digest"])
    assert found.tag(Tag.RECIPE) == GOOD
    assert found.tag(Tag.PARENT_DIGEST) == world.ref.digest
    assert found.description.startswith("- **Evidence**: [`")
    file = world.registry.download_artifact(
        "m", version=found.version, path=EVIDENCE_FILE, target=tmp_path / "e"
    )
    evidence = read_evidence(json.loads(file.read_text()))
    assert evidence.digest == candidate["evidence_digest"]
    assert verify(evidence, candidate_digest=found.digest) == ()
    assert evidence.control.verdict == "fail"


def test_a_recipe_that_fails_on_text_is_not_asked_questions(world):
    *_, trials = world.until_chosen()
    bad, good = trials
    assert (bad["verdict"], good["verdict"]) == ("fail", "pass")
    assert not any(m["name"].startswith("choice_") for m in bad["metrics"])
    assert any(m["name"].startswith("choice_") for m in good["metrics"])


def test_a_larger_recipe_is_not_tried_once_a_smaller_one_passed(tmp_path, bundled):
    world = World(tmp_path, bundled, **{"rtn-4bit": 0.5})
    *_, trials = world.until_chosen()
    assert [t["verdict"] for t in trials] == ["pass", quantize.NOT_NEEDED]
    assert world.jobs.asked.count(Job.QUANTIZE) == 1


def test_when_none_passes_the_run_fails_with_the_nearest_miss_and_registers_nothing(
    tmp_path, bundled
):
    world = World(tmp_path, bundled, **{BAD: 0.5, GOOD: 0.08, "rtn-4bit": 0.9})
    with pytest.raises(GateError, match=f"nearest is {GOOD}") as raised:
        world.until_chosen()
    assert "recipe" in str(raised.value)
    assert "PPL ratio" in str(raised.value)
    assert world.quantized() == []
    assert any(key.startswith("search/") for key in world.registry.runs), "the search is kept"


def test_running_again_does_no_work_and_finds_the_same_version(world):
    first = world.run()
    asked = len(world.jobs.asked)
    assert world.run() == first
    assert len(world.jobs.asked) == asked
    assert len(world.quantized()) == 1


def test_a_job_that_died_is_the_only_work_done_again(world):
    world.jobs.errors[Job.QUANTIZE] = ProcessDiedError("killed")
    with pytest.raises(ProcessDiedError):
        world.run()
    assert world.quantized() == []
    world.run()
    assert world.jobs.asked.count(Job.COUNT_TOKENS) == 1
    assert world.jobs.asked.count(Job.QUANTIZE) == 3


def test_a_winner_that_fails_when_served_is_not_registered(world):
    slow = SERVED[3].model_copy(update={"value": 0.1, "low": 0.09, "high": 0.11})
    with pytest.raises(GateError, match="served-speed"):
        world.run(served=[*SERVED[:3], slow])
    assert world.quantized() == []


def test_served_metrics_that_could_not_be_measured_are_not_a_pass(world):
    with pytest.raises(GateError, match="could not measure"):
        world.run(served=[])
    assert world.quantized() == []


def test_the_evidence_keeps_what_the_served_model_answered(world):
    found = world.run()
    evidence = show_evidence(world.settings, "m", found["version"], registry=world.registry)
    assert evidence["golden"] == [GOLDEN.model_dump(mode="json")]


def test_a_file_that_changed_after_it_was_measured_is_not_registered(world):
    source, data, parent, control, winner, _ = world.until_chosen()
    weights = Path(winner["path"], "model.safetensors")
    weights.write_bytes(b"\xff" + weights.read_bytes()[1:])
    with pytest.raises(InputError, match="was measured"):
        world.steps.register(source, data, parent, control, winner, served_json(SERVED))
    assert world.quantized() == []


def test_a_flipped_byte_in_the_parent_is_found_before_any_work(world):
    weights = world.settings.models / world.ref.digest / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x00")
    with pytest.raises(InputError, match=r"model.safetensors changed"):
        world.run()
    assert world.jobs.asked == []


def test_a_tokenizer_that_quantizing_changed_is_refused(world, monkeypatch):
    made = world.jobs.run

    def and_edit(job, spec, **options):
        outcome = made(job, spec, **options)
        if job is Job.QUANTIZE:
            Path(spec.output, "tokenizer.json").write_text("{}")
        return outcome

    edited = replace(world.steps.bench, jobs=type("Edits", (), {"run": staticmethod(and_edit)})())
    world.steps = replace(world.steps, bench=edited)
    with pytest.raises(GateError, match="interface fail"):
        world.run()
    assert world.quantized() == []


def test_evaluation_text_that_was_calibrated_on_is_refused(world):
    with pytest.raises(InputError, match=r"calibration_overlap\.prose"):
        world.run(calibration="prose")
    assert Job.QUANTIZE not in world.jobs.asked


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"model": "absent"}, InputError, "no imported version of model 'absent'; there are m"),
        ({"version": 9}, InputError, "9"),
        ({"recipe": "q4"}, ConfigError, "unknown key 'recipe'"),
        ({"recipes": ["q5"]}, ConfigError, "no recipe named q5"),
        ({"recipes": ["q8-g32"]}, ConfigError, "vllm-cpu does not serve 8-bit"),
        ({"recipes": ["q4-g128"]}, ConfigError, "group size 128 does not divide 64 inputs"),
        ({"backend": "auto-gptq"}, ConfigError, f"{GOOD}: auto-gptq has no gptaq"),
        ({"backend": "auto-gptq", "recipes": [BAD], "search": True}, ConfigError, "search: false"),
        ({"gates": "loose"}, ConfigError, "no gate preset 'loose'"),
        ({"calibration": "absent"}, InputError, "absent"),
        ({"device": "tpu"}, ConfigError, "tpu"),
    ],
)
def test_bad_input_is_named_and_registers_nothing(world, changes, error, says):
    with pytest.raises(error, match=says):
        world.run(**changes)
    assert world.quantized() == []


@pytest.mark.parametrize("error", [ResourceError("needs 900 MB"), ResourceError("out of memory")])
def test_a_machine_that_is_too_small_says_so_and_registers_nothing(world, error):
    world.jobs.errors[Job.QUANTIZE] = error
    with pytest.raises(ResourceError, match=str(error)):
        world.run()
    assert world.quantized() == []


def test_mlflow_that_is_away_is_worth_a_retry_and_registers_nothing(world):
    *given, winner, _ = world.until_chosen()
    world.registry.away = True
    with pytest.raises(UnavailableError):
        world.steps.register(*given, winner, served_json(SERVED))
    world.registry.away = False
    assert world.quantized() == []
    assert world.steps.register(*given, winner, served_json(SERVED))


def test_an_empty_calibration_set_is_refused(world):
    with pytest.raises(InputError, match="no row"):
        DatasetStore(world.settings.datasets).add(
            "empty", kind=DatasetKind.TEXT, licence="mit", source="test", rows=b""
        )


def test_search_adds_recipes_and_keeps_the_order_of_size(world):
    source = world.steps.resolve_source(REQUEST | {"search": True})
    data = world.steps.validate_data(source)
    plan = world.steps.plan_recipes(source, data)
    sizes = [planned["predicted_bytes"] for planned in plan]
    assert len(plan) > 2
    assert sizes == sorted(sizes)
