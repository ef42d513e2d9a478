"""`make bench-quantize`: what the pipeline adds to a bare quantizer, and what it buys.

In one run, on one machine: a bare gptqmodel script beside the pipeline's quantize step (same
recipe, same calibration, in turn: A B B A), the whole DAG beside the sum of its jobs, auto-gptq
beside gptqmodel, and rounding to nearest as the floor of quality. The last line is one JSON object.

Needs the embedded stack (`make up`) and every environment; takes about an hour on two cores.
`--fast` leaves out auto-gptq.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from greenlight.adapters.stack.services import StackAddresses
from greenlight.adapters.work_store import WorkStore
from greenlight.core.settings import PROJECT, Settings, load_settings
from greenlight.core.types import JsonDict
from greenlight.entrypoints import demo, quantize, stack
from greenlight.entrypoints.workbench import Model, Workbench
from greenlight.quantize.compare import compare
from greenlight.quantize.items import read_items
from greenlight.quantize.jobs import Backend, Dataset, Device, Protocol
from greenlight.quantize.recipe_file import load_recipes_file
from greenlight.quantize.recipes import Recipe
from greenlight.quantize.request import parse_request
from greenlight.quantize.shapes import read_shape
from greenlight.quantize.sizes import plain_bytes

RECIPE = Recipe(name="bench-q4-g32", bits=4, group_size=32, samples=8, sample_tokens=512)
TEXT = "handbook-heldout"
SAMPLES = """
import json, sys
from pathlib import Path
from greenlight.ml.tokens import calibration_samples
from greenlight.quantize.jobs import Dataset
from greenlight.quantize.recipes import Recipe
spec = json.loads(Path(sys.argv[1]).read_text())
data, recipe = Dataset(**spec["calibration"]), Recipe(**spec["recipe"])
ids = calibration_samples(Path(spec["model"]), data, recipe)
print(json.dumps([[int(i) for i in sample] for sample in ids]))
"""


def main() -> None:
    """Run the benchmark and print the table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fast", action="store_true", help="leave out auto-gptq")
    fast = parser.parse_args().fast
    settings = load_settings()
    addresses = stack.up(settings, report=lambda service, what: print(f"{service}: {what}"))
    with tempfile.TemporaryDirectory(dir=settings.home, prefix="bench-") as folder:
        request = demo.prepare(settings, say=print)
        dag = dag_over_jobs(settings, addresses, request)
        steps = quantize.steps(settings)
        bench = replace(steps.bench, work=WorkStore(root=Path(folder)))
        source = steps.resolve_source(request)
        data = steps.validate_data(source)
        parent = Model(path=Path(source["path"]), digest=source["digest"])
        calibration = Dataset.model_validate(data["calibration"])
        bare = pipeline_over_bare(settings, parent, calibration, Path(folder))
        ratios, sizes = quality(bench, source, data, parent, calibration, settings, fast=fast)
    print("\nrecipe                           PPL ratio   bytes vs FP32")
    for name, ratio in ratios.items():
        print(f"{name:32} {ratio:9.4f} {sizes.get(name, float('nan')):12.3f}")
    print(
        json.dumps(
            {
                "pipeline_over_bare": bare,
                "dag_over_jobs": dag,
                "ppl_ratio": ratios,
                "bytes_vs_fp32": sizes,
            }
        )
    )


def pipeline_over_bare(
    settings: Settings, parent: Model, calibration: Dataset, folder: Path
) -> float:
    """Return the pipeline's wall time over the bare script's, medians of A B B A."""
    spec = {
        "model": str(parent.path),
        "calibration": calibration.model_dump(mode="json"),
        "recipe": RECIPE.model_dump(mode="json"),
    }
    file = folder / "samples.json"
    file.write_text(json.dumps(spec))
    made = subprocess.run(
        [settings.ml_python, "-c", SAMPLES, file], check=True, capture_output=True, text=True
    )
    samples = json.loads(made.stdout.splitlines()[-1])
    seconds: dict[str, list[float]] = {"bare": [], "pipeline": []}
    for turn, who in enumerate(("bare", "pipeline", "pipeline", "bare")):
        began = time.monotonic()
        if who == "bare":
            _bare(settings, parent, samples, folder / f"bare-{turn}")
        else:
            work = WorkStore(root=folder / f"pipeline-{turn}")
            replace(quantize.steps(settings).bench, work=work).quantize(
                parent, RECIPE, calibration, backend=Backend.GPTQMODEL, device=Device.CPU
            )
        seconds[who].append(time.monotonic() - began)
        print(f"{who}: {seconds[who][-1]:.1f} s", flush=True)
    return round(statistics.median(seconds["pipeline"]) / statistics.median(seconds["bare"]), 3)


def _bare(settings: Settings, parent: Model, samples: list[list[int]], output: Path) -> None:
    spec = output.with_suffix(".json")
    spec.write_text(
        json.dumps(
            {
                "model": str(parent.path),
                "bits": RECIPE.bits,
                "group_size": RECIPE.group_size,
                "samples": samples,
                "output": str(output),
            }
        )
    )
    script = PROJECT / "benchmarks/bare_gptqmodel.py"
    subprocess.run(
        [settings.ml_python, script, spec], check=True, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip


def dag_over_jobs(settings: Settings, addresses: StackAddresses, request: JsonDict) -> float:
    """Run the DAG with work that is not known yet; return its time over that of its jobs."""
    work = WorkStore(root=settings.work)
    before = len(work.journalled())
    fresh = request | {"protocol": {"max_answers": 499, "max_choice_items": 999}}
    run = demo.start(settings, addresses, fresh)
    for snapshot in run.follow():
        print(f"{snapshot.percent} % {snapshot.activity or ''}", end="\r", flush=True)
    by_people = {"approve", "record_answer"}
    tasks = [t for t in run.api.tasks(demo.DAG, run.run_id) if t.task_id not in by_people]
    started = min(t.started for t in tasks if t.started)
    whole = (max(t.ended for t in tasks if t.ended) - started).total_seconds()
    jobs = sum(float(entry["seconds"]) for entry in work.journalled()[before:])
    print(f"\nDAG: {whole:.0f} s, its jobs: {jobs:.0f} s")
    if not jobs:
        sys.exit("the DAG found all its work done already: remove .greenlight/work and run again")
    return round(whole / jobs, 3)


def quality(
    bench: Workbench,
    source: JsonDict,
    data: JsonDict,
    parent: Model,
    calibration: Dataset,
    settings: Settings,
    *,
    fast: bool,
) -> tuple[dict[str, float], dict[str, float]]:
    """Return the perplexity ratio and the size of each recipe, backend and the control."""
    file = load_recipes_file(settings.config_file("recipes"))
    text = tuple(
        Dataset.model_validate(d) for d in data["evaluation"] if d["name"] == TEXT
    )  # fmt: skip
    fp32 = plain_bytes(read_shape(parent.path), dtype="F32")
    base = bench.evaluate(parent, text, protocol=_protocol(source), device=Device.CPU)
    ratios: dict[str, float] = {}
    sizes: dict[str, float] = {}

    def judge(name: str, model: Model, *, round_to: Recipe | None = None) -> None:
        made = bench.evaluate(
            model, text, protocol=_protocol(source), device=Device.CPU,
            parent=Path(base["folder"]), round_to=round_to,
        )  # fmt: skip
        found = compare(read_items(Path(base["folder"])), read_items(Path(made["folder"])), seed=1)
        ratios[name] = round(
            next(m.value for m in found if m.name == f"perplexity_ratio.{TEXT}"), 4
        )

    judge("rounding-4bit-g32", parent, round_to=RECIPE)
    chosen = [(r, Backend.GPTQMODEL) for r in (*file.named(file.demo), RECIPE)]
    if not fast:
        chosen.append((RECIPE, Backend.AUTO_GPTQ))
    for recipe, backend in chosen:
        name = recipe.name if backend is Backend.GPTQMODEL else f"{recipe.name}-auto-gptq"
        began = time.monotonic()
        made = bench.quantize(parent, recipe, calibration, backend=backend, device=Device.CPU)
        print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)
        sizes[name] = round(made["result"]["weight_bytes"] / fp32, 4)
        judge(name, Model(path=Path(made["path"]), digest=made["digest"]))
    return ratios, sizes


def _protocol(source: JsonDict) -> Protocol:
    """Return the protocol of the request."""
    return parse_request(source["request"]).protocol


if __name__ == "__main__":
    main()
