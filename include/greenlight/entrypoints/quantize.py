"""The steps of `quantize_and_validate`: what its tasks and `greenlight quantize` call.

Every step takes and returns plain JSON, small enough for XCom; folders stay in `GREENLIGHT_HOME`
and are named by path. Expensive work is looked up by the digest of its inputs, so a step can run
twice, and a step that was killed is finished by running it again.
"""

from __future__ import annotations

import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from greenlight.core.clock import Clock, SystemClock
from greenlight.core.digest import digest_json, short
from greenlight.core.errors import GateError, InputError
from greenlight.core.settings import Settings, load_settings
from greenlight.core.types import JsonDict
from greenlight.entrypoints import recipe_plan
from greenlight.entrypoints.workbench import Model, Workbench, instruction_sets, open_bench
from greenlight.quantize import leak, search
from greenlight.quantize.compare import compare
from greenlight.quantize.datasets import read_dataset
from greenlight.quantize.footprint import file_metrics, memory_metrics
from greenlight.quantize.gates import GateSettings, Stage, judge, load_gates
from greenlight.quantize.interface import interface_metric
from greenlight.quantize.items import read_items
from greenlight.quantize.jobs import Dataset, DatasetKind, MeasureLoadResult
from greenlight.quantize.measurements import Metric, Verdict, overall
from greenlight.quantize.recipe_file import RecipesFile, load_recipes_file
from greenlight.quantize.recipes import Recipe
from greenlight.quantize.request import QuantizeRequest, parse_request
from greenlight.quantize.serving import GoldenAnswer, ServingPlan
from greenlight.quantize.shapes import read_shape
from greenlight.quantize.sizes import predict_bytes
from greenlight.registry.ports import ModelRegistry, Version
from greenlight.registry.tags import Tag

if TYPE_CHECKING:
    from greenlight.adapters.dataset_store import DatasetStore
    from greenlight.adapters.model_store import ModelStore

log = logging.getLogger(__name__)

NOT_NEEDED = "not needed"
"""The verdict on a recipe that was not tried, because a smaller one passed."""
SEED = 20260101
"""Of every bootstrap: the same items give the same interval."""
SERVED_DTYPE = "bfloat16"
Part = Literal["text", "tasks"]
"""What a candidate is measured on, the cheaper first: one that has failed is not measured on."""
PARTS: tuple[Part, ...] = ("text", "tasks")


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """The steps, in the order of the runbook."""

    settings: Settings
    bench: Workbench
    registry: ModelRegistry
    models: ModelStore
    datasets: DatasetStore
    clock: Clock

    def resolve_source(self, params: JsonDict) -> JsonDict:
        """Pin the version that is asked for and make sure that its files are here and unchanged.

        Raises:
            ConfigError: the request has an unknown key or a bad value.
            InputError: there is no such version, or a file of it is damaged.
        """
        request = parse_request(params)
        self._load_gates(request)
        version = self._find(request)
        if not self.models.has(version.digest):
            self._fetch(version)
        self.models.verify(version.digest)
        shape = read_shape(self.models.path(version.digest))
        log.info(
            "%s version %d is %s: %s, %d parameters",
            version.model,
            version.version,
            short(version.digest),
            shape.architecture,
            shape.parameters,
        )
        pinned = request.model_copy(update={"version": version.version})
        return {
            "request": pinned.model_dump(mode="json"),
            "model": version.model,
            "version": version.version,
            "digest": version.digest,
            "path": str(self.models.path(version.digest)),
            "licence": version.tag(Tag.LICENCE) or "",
            "dtype": version.tag(Tag.DTYPE) or shape.dtype,
        }

    def validate_data(self, source: JsonDict) -> JsonDict:
        """Check the data sets, and that no evaluation text was calibrated on.

        Raises:
            InputError: a set is missing, damaged, fails its suite, or leaks; the message says which
                rows.
        """
        from greenlight.adapters import expectations

        request, parent = _request(source), _parent(source)
        calibration = self.datasets.load(request.calibration)
        evaluation = tuple(self.datasets.load(name) for name in request.evaluation)
        everything = (calibration, *evaluation)
        lengths = self.bench.token_lengths(parent, everything)
        docs = self.settings.work / "data-docs" / digest_json([d.digest for d in everything])[:32]
        problems = []
        for dataset in everything:
            report = expectations.validate(
                dataset, lengths=lengths[dataset.name], docs=docs / dataset.name
            )
            problems += [f"{dataset.name}: {problem}" for problem in report.problems]
            for warning in report.warnings:
                log.warning("%s: %s", dataset.name, warning)
        overlaps = self._overlaps(calibration, evaluation)
        problems += self._leaks(overlaps, request)
        if problems:
            raise InputError("the data cannot be used: " + "; ".join(problems))
        return {
            "calibration": calibration.model_dump(mode="json"),
            "evaluation": [d.model_dump(mode="json") for d in evaluation],
            "overlaps": [m.model_dump(mode="json") for m in overlaps],
            "docs": str(docs),
        }

    def measure_parent(self, source: JsonDict, data: JsonDict) -> JsonDict:
        """Measure the parent's quality, memory and speed: what every candidate is held against."""
        request, parent = _request(source), _parent(source)
        measured = {part: self._evaluate(parent, source, data, part=part) for part in PARTS}
        load = self.bench.load(parent, dtype=SERVED_DTYPE, device=request.device)
        return measured | {"load": load.model_dump(mode="json")}

    def plan_recipes(self, source: JsonDict, data: JsonDict) -> list[JsonDict]:
        """List the recipes to try, the smallest result first.

        Raises:
            ConfigError: a recipe is unknown, or the serving engine doesn't serve it.
        """
        parent = _parent(source)
        shape = read_shape(parent.path)
        ordered = recipe_plan.in_order(
            self._recipes_file(),
            shape,
            _request(source),
            bench=self.bench,
            parent=parent,
            calibration=Dataset.model_validate(data["calibration"]),
        )
        plan = digest_json([source["digest"], data, [recipe.digest for recipe in ordered]])
        for recipe in ordered:
            log.info("%s: about %.1f MB", recipe.name, predict_bytes(recipe, shape) / 1e6)
        return [
            {
                "plan": plan,
                "position": position,
                "recipe": recipe.model_dump(mode="json"),
                "predicted_bytes": predict_bytes(recipe, shape),
            }
            for position, recipe in enumerate(ordered)
        ]

    def measure_control(
        self, source: JsonDict, data: JsonDict, parent: JsonDict, plan: list[JsonDict]
    ) -> JsonDict:
        """Judge rounding to nearest at the first recipe's bits, on text: the floor of quality."""
        request = _request(source)
        first = Recipe.model_validate(plan[0]["recipe"])
        recipe = Recipe(name=f"rtn-{first.bits}bit", bits=first.bits, group_size=first.group_size)
        measured = self._evaluate(
            _parent(source), source, data, part="text", parent=parent, round_to=recipe
        )
        metrics = (
            *self._quality(parent, measured, source, part="text"),
            *_metrics(data["overlaps"]),
        )
        shape = read_shape(_parent(source).path)
        verdict = overall(judge(metrics, self._load_gates(request), stage=Stage.CANDIDATE))
        return {
            "recipe": recipe.model_dump(mode="json"),
            "metrics": [m.model_dump(mode="json") for m in metrics],
            "verdict": verdict,
            "bytes": predict_bytes(recipe, shape),
        }

    def prove_recipe(
        self, source: JsonDict, data: JsonDict, parent: JsonDict, planned: JsonDict
    ) -> JsonDict:
        """Quantize, measure and judge one recipe, unless a smaller one has passed already."""
        request = _request(source)
        gates = self._load_gates(request)
        recipe = Recipe.model_validate(planned["recipe"])
        smaller = self._passed_before(planned, request, gates)
        if smaller:
            return {
                "recipe": planned["recipe"],
                "verdict": NOT_NEEDED,
                "reason": f"{smaller} is smaller and passed",
            }
        trial = self._try(source, data, parent, recipe, gates)
        self.bench.work.once(
            "trials",
            _trial_inputs(planned["plan"], planned["position"], request, gates),
            lambda _: {"name": recipe.name, "verdict": trial["verdict"]},
        )
        return trial

    def _try(
        self,
        source: JsonDict,
        data: JsonDict,
        parent: JsonDict,
        recipe: Recipe,
        gates: GateSettings,
    ) -> JsonDict:
        request, base = _request(source), _parent(source)
        calibration = Dataset.model_validate(data["calibration"])
        made = self.bench.quantize(
            base, recipe, calibration, backend=request.backend, device=request.device
        )
        candidate = Model(path=Path(made["path"]), digest=made["digest"])
        metrics: tuple[Metric, ...] = (
            *_metrics(data["overlaps"]),
            interface_metric(base.path, candidate.path),
            *file_metrics(read_shape(base.path), weight_bytes=made["result"]["weight_bytes"]),
        )
        results = judge(metrics, gates, stage=Stage.CANDIDATE)
        for part in PARTS:
            if overall(results) is Verdict.FAIL:
                log.info("%s has failed already; its %s is not measured", recipe.name, part)
                break
            metrics += self._measured(candidate, source, data, parent, part=part)
            results = judge(metrics, gates, stage=Stage.CANDIDATE)
        else:
            load = self.bench.load(candidate, dtype=SERVED_DTYPE, device=request.device)
            metrics += memory_metrics(load, parent=MeasureLoadResult.model_validate(parent["load"]))
        verdict = overall(results)
        for result in results:
            log.info("%s: %s %s: %s", recipe.name, result.gate, result.verdict, result.reason)
        log.info("%s: %s", recipe.name, verdict)
        return {
            "recipe": recipe.model_dump(mode="json"),
            "verdict": verdict,
            "path": str(candidate.path),
            "digest": candidate.digest,
            "bytes": made["result"]["weight_bytes"],
            "quantize_seconds": made["result"]["seconds"],
            "losses": made["result"]["losses"],
            "tools": made["result"]["tools"],
            "metrics": [m.model_dump(mode="json") for m in metrics],
            "results": [r.model_dump(mode="json") for r in results],
        }

    def choose(
        self, source: JsonDict, parent: JsonDict, control: JsonDict, trials: list[JsonDict]
    ) -> JsonDict:
        """Keep the smallest recipe that passed, and log the search with its plot.

        Raises:
            GateError: none passed; the message holds the table and the nearest miss.
        """
        from greenlight.entrypoints import search_report

        tried = [trial for trial in trials if trial["verdict"] != NOT_NEEDED]
        choice = search.choose([search_report.attempt(trial) for trial in tried])
        report = search_report.log_search(
            source, control=control, trials=tried, choice=choice, registry=self.registry,
            folder=self.settings.work / "search",
        )  # fmt: skip
        log.info("%s\n%s", choice.reason, report.table)
        log.info("The search is kept at %s", report.url)
        if choice.winner is None:
            raise GateError(
                f"{choice.reason}. Nothing is registered. The table and the plot are at "
                f"{report.url}; try other recipes, or search: true\n{report.table}"
            )
        winner = next(t for t in tried if t["recipe"]["name"] == choice.winner.recipe.name)
        return winner | {"plot": str(report.plot), "search_url": report.url}

    def benchmark(self, source: JsonDict, data: JsonDict, winner: JsonDict) -> JsonDict:
        """Serve the winner and its parent on the real engine, and compare speed and answers."""
        from greenlight.entrypoints import serving

        plan = ServingPlan()
        request, parent = _request(source), _parent(source)
        answered = instruction_sets(_evaluation(data))
        inputs = {
            "parent": parent.digest,
            "candidate": winner["digest"],
            "engine": request.engine,
            "plan": plan.model_dump(mode="json"),
            "answered": [d.digest for d in answered],
        }

        def do(folder: Path) -> JsonDict:
            began = self.clock.monotonic()
            report = serving.benchmark(
                self.settings,
                parent=parent.path,
                candidate=Path(winner["path"]),
                datasets=answered,
                plan=plan,
                log_folder=folder,
            )
            self.bench.work.journal({"job": "serve", "seconds": self.clock.monotonic() - began})
            return report.model_dump(mode="json", include={"metrics", "golden"})

        return self.bench.work.once("served", inputs, do)

    def register(
        self,
        source: JsonDict,
        data: JsonDict,
        parent: JsonDict,
        control: JsonDict,
        winner: JsonDict,
        served: JsonDict,
    ) -> JsonDict:
        """Judge everything once more, write the evidence, and register version and alias.

        Raises:
            GateError: the served model failed a gate; nothing is registered.
        """
        from greenlight.entrypoints import candidates

        return candidates.register(
            self.settings,
            registry=self.registry,
            work=self.bench.work,
            clock=self.clock,
            gates=self._load_gates(_request(source)),
            source=source,
            data=data,
            parent=parent,
            control=control,
            winner=winner,
            served=_metrics(served["metrics"]),
            golden=tuple(GoldenAnswer.model_validate(entry) for entry in served["golden"]),
        )

    def _find(self, request: QuantizeRequest) -> Version:
        if request.version is not None:
            return self.registry.get(request.model, request.version)
        newest = self.registry.find(request.model, tags={Tag.KIND: "imported"})
        if newest is None:
            raise InputError(
                f"no imported version of model {request.model!r}; there are "
                f"{', '.join(self.registry.models()) or 'no models'}. "
                f"Run `greenlight models import SOURCE --name {request.model}`"
            )
        return newest

    def _fetch(self, version: Version) -> None:
        self.settings.work.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.settings.work, prefix=".fetch-") as folder:
            target = Path(folder, "model")
            self.registry.download(version.model, version=version.version, target=target)
            self.models.add(target)

    def _overlaps(
        self, calibration: Dataset, evaluation: tuple[Dataset, ...]
    ) -> tuple[Metric, ...]:
        known = read_dataset(calibration.path, calibration.kind)
        return tuple(
            leak.overlap(known, read_dataset(d.path, d.kind), dataset=d.name).metric()
            for d in evaluation
        )

    def _leaks(self, overlaps: tuple[Metric, ...], request: QuantizeRequest) -> list[str]:
        results = judge(overlaps, self._load_gates(request), stage=Stage.CANDIDATE)
        return [
            f"{result.metric}: {result.reason}; use evaluation text that was not calibrated on"
            for result in results
            if result.metric.startswith("calibration_overlap.") and result.verdict is Verdict.FAIL
        ]

    def _evaluate(
        self,
        model: Model,
        source: JsonDict,
        data: JsonDict,
        *,
        part: Part,
        parent: JsonDict | None = None,
        round_to: Recipe | None = None,
    ) -> JsonDict:
        """Measure one part of the evaluation sets; text first, because it is cheap and decides."""
        request = _request(source)
        return self.bench.evaluate(
            model,
            tuple(d for d in _evaluation(data) if (d.kind is DatasetKind.TEXT) is (part == "text")),
            protocol=request.protocol,
            device=request.device,
            parent=Path(parent[part]["folder"]) if parent else None,
            round_to=round_to,
        )

    def _measured(
        self, candidate: Model, source: JsonDict, data: JsonDict, parent: JsonDict, *, part: Part
    ) -> tuple[Metric, ...]:
        measured = self._evaluate(candidate, source, data, part=part, parent=parent)
        return self._quality(parent, measured, source, part=part)

    def _quality(
        self, parent: JsonDict, measured: JsonDict, source: JsonDict, *, part: Part
    ) -> tuple[Metric, ...]:
        return compare(
            read_items(Path(parent[part]["folder"])),
            read_items(Path(measured["folder"])),
            seed=SEED,
            baseline=f"parent {source['dtype']}",
        )

    def _passed_before(
        self, planned: JsonDict, request: QuantizeRequest, gates: GateSettings
    ) -> str | None:
        for position in range(planned["position"]):
            inputs = _trial_inputs(planned["plan"], position, request, gates)
            found = self.bench.work.find("trials", inputs)
            if found and found["verdict"] == Verdict.PASS:
                return str(found["name"])
        return None

    def _recipes_file(self) -> RecipesFile:
        return load_recipes_file(self.settings.config_file("recipes"))

    def _load_gates(self, request: QuantizeRequest) -> GateSettings:
        return load_gates(self.settings.config_file("gates"), request.gates)


def steps(settings: Settings | None = None) -> Steps:
    """Build the steps for this machine's settings.

    Raises:
        RefusedError: no MLflow is configured, and the embedded stack is not up.
    """
    from greenlight.adapters.dataset_store import DatasetStore
    from greenlight.adapters.model_store import ModelStore
    from greenlight.entrypoints.models import open_registry

    settings = settings or load_settings()
    return Steps(
        settings=settings,
        bench=open_bench(settings),
        registry=open_registry(settings),
        models=ModelStore(settings.models),
        datasets=DatasetStore(settings.datasets),
        clock=SystemClock(),
    )


def run_all(params: JsonDict, *, settings: Settings | None = None) -> JsonDict:
    """Run every step in this process, as the DAG does, and return the candidate.

    Raises:
        GateError: no recipe passed.
    """
    do = steps(settings)
    source = do.resolve_source(params)
    data = do.validate_data(source)
    parent = do.measure_parent(source, data)
    plan = do.plan_recipes(source, data)
    control = do.measure_control(source, data, parent, plan)
    trials = [do.prove_recipe(source, data, parent, planned) for planned in plan]
    winner = do.choose(source, parent, control, trials)
    served = do.benchmark(source, data, winner)
    return do.register(source, data, parent, control, winner, served)


def _request(source: JsonDict) -> QuantizeRequest:
    return parse_request(source["request"])


def _parent(source: JsonDict) -> Model:
    return Model(path=Path(source["path"]), digest=source["digest"])


def _evaluation(data: JsonDict) -> tuple[Dataset, ...]:
    return tuple(Dataset.model_validate(entry) for entry in data["evaluation"])


def _metrics(entries: list[JsonDict]) -> tuple[Metric, ...]:
    return tuple(Metric.model_validate(entry) for entry in entries)


def _trial_inputs(
    plan: str, position: int, request: QuantizeRequest, gates: GateSettings
) -> JsonDict:
    return {
        "plan": plan,
        "position": position,
        "gates": gates.digest,
        "backend": request.backend,
        "device": request.device,
    }
