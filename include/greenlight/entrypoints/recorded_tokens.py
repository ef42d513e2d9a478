"""What a model says when it is saved, and whether a restored one says the same.

The ML environment answers on the CPU, not the serving engine: a drill needs no engine, and no
kernel has a say. Other tools or another processor round otherwise, which changes a token only where
two are all but equally likely; a set that says something else after such a change is worth a look.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from greenlight.adapters.job_metrics import JobMetrics
from greenlight.backup.sets import Recorded
from greenlight.core.digest import manifest_of, short
from greenlight.core.errors import InputError
from greenlight.core.settings import Settings
from greenlight.core.types import JsonDict
from greenlight.quantize.jobs import GenerateResult, GenerateSpec, Job

if TYPE_CHECKING:
    from greenlight.quantize.ports import JobRunner

KIND = "recorded-tokens"
PROMPT = "Tell me in one sentence what the sea looks like at night."
NEW_TOKENS = 16


def record(
    settings: Settings,
    *,
    model: str,
    version: int,
    digest: str,
    folder: Path,
    runner: JobRunner | None = None,
) -> Recorded:
    """Return what the version in `folder` says; the same digest is asked only once.

    Raises:
        ConfigError: the ML environment isn't there; the message says how to make it.
        InputError: the folder isn't that digest, or doesn't load.
        ResourceError: the machine has too little memory for the model.
        ProcessDiedError: the job ended without an answer.
    """
    from greenlight.adapters.work_store import WorkStore

    spec = GenerateSpec(model=folder, prompts=(PROMPT,), new_tokens=NEW_TOKENS)

    def do(_: Path) -> JsonDict:
        if (found := manifest_of(folder).digest) != digest:
            raise InputError(
                f"{model} version {version} should have digest {short(digest)}, but {folder} has "
                f"{short(found)}: what it says is not recorded"
            )
        return _generate(settings, spec, runner).model_dump(mode="json")

    inputs = {"model": digest, **spec.model_dump(mode="json", exclude={"model"})}
    said = GenerateResult.model_validate(WorkStore(root=settings.work).once(KIND, inputs, do))
    return Recorded(
        model=model,
        version=version,
        digest=digest,
        prompt=PROMPT,
        tokens=said.tokens[0],
        text=said.texts[0],
    )


def compare(
    settings: Settings, recorded: Recorded, folder: Path, *, runner: JobRunner | None = None
) -> str | None:
    """Return why the model in `folder` doesn't say what was recorded, or `None` when it does.

    It is asked every time: what is kept for its digest says nothing about these files.

    Raises:
        ConfigError: the ML environment isn't there; the message says how to make it.
        InputError: the folder doesn't load, or nothing was recorded.
        ResourceError: the machine has too little memory for the model.
        ProcessDiedError: the job ended without an answer.
    """
    name = f"{recorded.model} version {recorded.version} ({short(recorded.digest)})"
    if not recorded.tokens:
        raise InputError(f"the set records no tokens of {name}, so there is nothing to compare")
    spec = GenerateSpec(model=folder, prompts=(recorded.prompt,), new_tokens=len(recorded.tokens))
    said = _generate(settings, spec, runner)
    if said.tokens[0] == recorded.tokens:
        return None
    return (
        f"{name} says something else than when it was saved. Asked {recorded.prompt!r}, it said "
        f"{recorded.text!r} (tokens {list(recorded.tokens)}); now it says {said.texts[0]!r} "
        f"(tokens {list(said.tokens[0])})"
    )


def _generate(settings: Settings, spec: GenerateSpec, runner: JobRunner | None) -> GenerateResult:
    if runner is None:
        from greenlight.adapters.ml_process import MlProcess

        runner = MlProcess(settings)
    metrics = JobMetrics(folder=settings.metrics, job=Job.GENERATE)
    outcome = runner.run(Job.GENERATE, spec, on_progress=metrics.progress)
    metrics.usage(outcome.usage)
    return GenerateResult.model_validate(outcome.result)
