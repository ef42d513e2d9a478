"""Which fused module group a model is most sensitive to: round one group, look how far it moves."""

from __future__ import annotations

import time

import torch
import torch.nn.functional as F
from transformers import PreTrainedModel

from greenlight.core.errors import InputError
from greenlight.ml import progress
from greenlight.ml.dequantize import load_model
from greenlight.ml.linears import FUSED_GROUPS, Decision
from greenlight.ml.rounding import linears_in, round_
from greenlight.ml.tokens import calibration_samples
from greenlight.quantize.jobs import SensitivityResult, SensitivitySpec
from greenlight.quantize.recipes import Recipe

WINDOW = 256
STAGE = "sensitivity"


def run(spec: SensitivitySpec) -> SensitivityResult:
    """Return the mean KL divergence from the parent, in nats a token, for each group rounded alone.

    Rounded to nearest, not quantized: it takes seconds, and the order of the groups is what counts.

    Raises:
        InputError: too little text, or the model has none of the groups.
        ConfigError: the group size doesn't divide.
    """
    started = time.monotonic()
    windows = _windows(spec)
    model = load_model(spec.model, device=spec.device.value)
    groups = {linear.group for linear in linears_in(model)}
    names = [name for name in FUSED_GROUPS if name in groups]
    if not names:
        raise InputError(f"{spec.model} has none of the module groups {', '.join(FUSED_GROUPS)}")
    parent = _log_probabilities(model, windows)
    progress.report(STAGE, done=1, total=1 + len(names))
    kl = {}
    for done, name in enumerate(names, start=2):
        kl[name] = _moved_by(model, name, windows, parent, spec)
        progress.report(STAGE, done=done, total=1 + len(names))
    return SensitivityResult(kl=kl, seconds=time.monotonic() - started)


def _windows(spec: SensitivitySpec) -> torch.Tensor:
    length = min(WINDOW, spec.tokens)
    probe = Recipe(
        name="sensitivity", bits=4, samples=max(1, spec.tokens // length), sample_tokens=length
    )
    samples = calibration_samples(spec.model, spec.calibration, probe)
    return torch.tensor(samples, device=spec.device.value)


def _moved_by(
    model: PreTrainedModel,
    group: str,
    windows: torch.Tensor,
    parent: torch.Tensor,
    spec: SensitivitySpec,
) -> float:
    """Round one group, measure, and put the weights back."""
    decision = Decision(bits=spec.bits, group_size=spec.group_size)
    weights = [
        model.get_submodule(linear.module).weight
        for linear in linears_in(model)
        if linear.group == group
    ]
    kept = [weight.detach().clone() for weight in weights]
    for weight in weights:
        round_(weight, decision, symmetric=True)
    moved = _log_probabilities(model, windows)
    with torch.no_grad():
        for weight, original in zip(weights, kept, strict=True):
            weight.copy_(original)
    # F.kl_div(input, target) is KL(target ‖ input)
    total = F.kl_div(moved, parent, log_target=True, reduction="sum")
    return max(0.0, float(total) / windows.numel())


def _log_probabilities(model: PreTrainedModel, windows: torch.Tensor) -> torch.Tensor:
    """Return tokens × vocabulary; 1,024 tokens of a 49 k vocabulary are 200 MB."""
    with torch.inference_mode():
        return torch.cat(
            [F.log_softmax(model(window[None]).logits[0].float(), dim=-1) for window in windows]
        )
