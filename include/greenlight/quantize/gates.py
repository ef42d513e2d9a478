"""The gate: what a candidate must show, as data, and the verdict on each point.

Every gate must pass, so that testing many of them does not raise the chance of a false accept
(intersection-union test, Berger 1982): it stays at most 5 % at any margin. A metric that is missing
is `insufficient`, never a pass.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

from pydantic import Field

from greenlight.core.digest import digest_json
from greenlight.core.errors import ConfigError
from greenlight.core.settings import read_config
from greenlight.core.types import Value
from greenlight.quantize.gate_strategies.base import GateRule, Stage
from greenlight.quantize.gate_strategies.ceiling import Ceiling
from greenlight.quantize.gate_strategies.floor import Floor
from greenlight.quantize.gate_strategies.identity import Identity
from greenlight.quantize.gate_strategies.limit import Limit
from greenlight.quantize.gate_strategies.non_inferiority import NonInferiority
from greenlight.quantize.gate_strategies.reduction import Reduction
from greenlight.quantize.measurements import GateResult, Metric, Verdict

__all__ = ["Gate", "GateSettings", "GatesFile", "Stage", "judge", "load_gates", "load_gates_file"]

Gate = Annotated[
    NonInferiority | Limit | Identity | Reduction | Floor | Ceiling,
    Field(discriminator="strategy"),
]
"""Every strategy there is. A new one is a module, its settings, and an entry here."""


class GateSettings(Value):
    """One preset: everything a candidate is judged by."""

    preset: Annotated[str, Field(min_length=1)]
    why: str = ""
    gates: Annotated[tuple[Gate, ...], Field(min_length=1)]

    @property
    def digest(self) -> str:
        """The digest of everything that decides; the reasons beside the limits do not."""
        return digest_json(
            self.model_dump(mode="json", exclude={"why": True, "gates": {"__all__": {"why"}}})
        )


class PresetEntry(Value):
    """A preset as the file writes it."""

    why: str = ""
    gates: tuple[Gate, ...]


class GatesFile(Value):
    """The whole file. `every_preset` is added to each preset."""

    every_preset: tuple[Gate, ...] = ()
    presets: Annotated[dict[str, PresetEntry], Field(min_length=1)]

    def settings(self, preset: str) -> GateSettings:
        """Return one preset.

        Raises:
            ConfigError: no preset has this name, or two of its gates share one.
        """
        if preset not in self.presets:
            raise ConfigError(f"no gate preset {preset!r}; there are {', '.join(self.presets)}")
        entry = self.presets[preset]
        gates = self.every_preset + entry.gates
        names = [gate.name for gate in gates]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ConfigError(f"gate preset {preset!r} has two gates named {', '.join(twice)}")
        return GateSettings(preset=preset, why=entry.why, gates=gates)


def load_gates(path: Path, preset: str) -> GateSettings:
    """Read one preset of a gates file.

    Raises:
        ConfigError: the file cannot be read, has an unknown key or a bad value, or lacks the
            preset.
    """
    return load_gates_file(path).settings(preset)


def load_gates_file(path: Path) -> GatesFile:
    """Read a gates file.

    Raises:
        ConfigError: the file cannot be read, or has an unknown key or a bad value.
    """
    return read_config(path, GatesFile)


def judge(
    metrics: tuple[Metric, ...], settings: GateSettings, *, stage: Stage | None = None
) -> tuple[GateResult, ...]:
    """Judge `metrics` by every gate of `stage`, or by all gates.

    One result for every gate and matching metric, and one `insufficient` for a gate that found
    fewer metrics than it asks for.
    """
    results: list[GateResult] = []
    for gate in settings.gates:
        if stage is None or gate.stage == stage:
            results += _judge_one(gate, metrics)
    return tuple(results)


def _judge_one(gate: Gate, metrics: tuple[Metric, ...]) -> list[GateResult]:
    matching = gate.matching(metrics)
    results = [_judge_enough(gate, metric) for metric in matching]
    if len(matching) < gate.at_least:
        results.append(
            GateResult(
                gate=gate.name,
                metric=gate.metric,
                verdict=Verdict.INSUFFICIENT,
                reason=f"could not measure: {len(matching)} of {gate.at_least} metrics found",
            )
        )
    return results


def _judge_enough(gate: GateRule, metric: Metric) -> GateResult:
    numbers = (metric.value, metric.low, metric.high)
    if not all(number is None or math.isfinite(number) for number in numbers):
        return gate.result(
            metric.model_copy(update={"value": 0.0}),
            Verdict.INSUFFICIENT,
            f"could not measure: value {metric.value}, bounds {metric.low} and {metric.high}",
        ).model_copy(update={"value": None})
    if metric.n < 1:
        return gate.result(metric, Verdict.INSUFFICIENT, "could not measure: nothing was counted")
    if metric.n >= gate.min_n:
        return gate.judge(metric)
    return gate.result(
        metric,
        Verdict.INSUFFICIENT,
        f"n={metric.n} is below the {gate.min_n} this gate asks for",
        n_needed=gate.min_n,
    )
