"""schemathesis asks what the gateway's own OpenAPI document allows, and what it does not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.generation.modes import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from greenlight.core.clock import SystemClock
from greenlight.testing.engine_simulator import EngineSimulator
from greenlight.testing.gateway_worlds import KEY, MODEL, simulated_gateway
from greenlight.testing.memory_limits import MemoryLimits
from greenlight.testing.simulation import Simulation


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder: Path = tmp_path_factory.mktemp("fuzzed")
    quick = Simulation(first_token_s=0, token_s=0, tokens=2)
    with (
        EngineSimulator(quick, model=MODEL) as engine,
        simulated_gateway(engine.url, folder, limits=MemoryLimits(SystemClock())) as world,
    ):
        yield schemathesis.openapi.from_url(f"{world.url}/openapi.json")


OPERATIONS = [
    ("/v1/chat/completions", "POST"),
    ("/v1/completions", "POST"),
    ("/v1/models", "GET"),
    ("/v1/models/{model}", "GET"),
    ("/healthz", "GET"),
    ("/readyz", "GET"),
]


def test_every_operation_is_asked(document: Any) -> None:
    found = {(one.ok().path, one.ok().method.upper()) for one in document.get_all_operations()}
    assert found == set(OPERATIONS)


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_every_answer_is_one_that_the_document_names(
    document: Any, path: str, method: str, mode: GenerationMode
) -> None:
    if mode is GenerationMode.NEGATIVE and method == "GET" and "{" not in path:
        pytest.skip("takes nothing that could be wrong")
    strategy = document[path][method].as_strategy(generation_mode=mode)

    @settings(
        max_examples=60,
        deadline=None,
        derandomize=True,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    @given(case=strategy)
    def ask(case: schemathesis.Case) -> None:
        case.call_and_validate(
            headers={"Authorization": f"Bearer {KEY}"},
            timeout=20,
            # Rules between fields, and control characters, are in no schema; they get a 400.
            excluded_checks=[positive_data_acceptance],
        )

    ask()
