"""Which recipes a run tries, and in which order."""

from __future__ import annotations

import logging

from greenlight.core.errors import ConfigError
from greenlight.entrypoints.workbench import Model, Workbench
from greenlight.quantize import search
from greenlight.quantize.abilities import check_backend, check_recipe
from greenlight.quantize.jobs import Backend, Dataset
from greenlight.quantize.recipe_file import RecipesFile
from greenlight.quantize.recipes import Recipe
from greenlight.quantize.request import QuantizeRequest
from greenlight.quantize.shapes import ModelShape

log = logging.getLogger(__name__)


def in_order(
    file: RecipesFile,
    shape: ModelShape,
    request: QuantizeRequest,
    *,
    bench: Workbench,
    parent: Model,
    calibration: Dataset,
) -> tuple[Recipe, ...]:
    """Return the recipes asked for, and with `search` those of a sensitivity pass, smallest first.

    Raises:
        ConfigError: a recipe is unknown, the serving engine does not serve it, or the backend can't
            make it.
    """
    recipes = _served(file.named(request.recipes), shape, request)
    if request.search:
        recipes += _searched(
            file, shape, request, bench=bench, parent=parent, calibration=calibration
        )
    distinct = {recipe.digest: recipe for recipe in reversed(recipes)}
    return search.order_by_size(tuple(distinct.values()), shape)


def _served(
    recipes: tuple[Recipe, ...], shape: ModelShape, request: QuantizeRequest
) -> tuple[Recipe, ...]:
    refused = [
        f"{recipe.name}: {reason}"
        for recipe in recipes
        for reason in (
            *check_recipe(recipe, shape, request.engine),
            *check_backend(recipe, request.backend),
        )
    ]
    if refused:
        raise ConfigError("; ".join(refused))
    return recipes


def _searched(
    file: RecipesFile,
    shape: ModelShape,
    request: QuantizeRequest,
    *,
    bench: Workbench,
    parent: Model,
    calibration: Dataset,
) -> tuple[Recipe, ...]:
    if file.search is None:
        raise ConfigError("search is asked for, but the recipes file has no `search` section")
    (base,) = file.named((file.search.base,))
    if request.backend is not Backend.GPTQMODEL:
        raise ConfigError(
            f"search proposes recipes with rules for single modules, which {request.backend} "
            "cannot make; set backend: gptqmodel, or search: false"
        )
    sensitivity = bench.sensitivity(
        parent,
        calibration,
        base=base,
        tokens=file.search.sensitivity_tokens,
        device=request.device,
    )
    for group, kl in sorted(sensitivity.items(), key=lambda item: -item[1]):
        log.info("Rounding %s alone moves the answers by %.4f nats a token", group, kl)
    return search.propose(shape, sensitivity, request.engine, base, file.search.budget)
