"""Read the recipes file: named recipes, which of them the demo tries, and how to search."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from greenlight.core.errors import ConfigError
from greenlight.core.settings import read_config
from greenlight.core.types import Value
from greenlight.quantize.recipes import Recipe


class SearchSettings(Value):
    """How recipes are made from a sensitivity pass.

    `base` names the recipe whose other settings (calibration, act-order, GPTAQ, scale search) every
    proposal keeps. `budget` is how many proposals may be tried.
    """

    base: str
    budget: Annotated[int, Field(ge=1, le=64)] = 6
    sensitivity_tokens: Annotated[int, Field(ge=128, le=65536)] = 1024


class RecipesFile(Value):
    """The whole file."""

    recipes: Annotated[tuple[Recipe, ...], Field(min_length=1)]
    demo: tuple[str, ...] = ()
    search: SearchSettings | None = None

    @model_validator(mode="after")
    def _names_agree(self) -> Self:
        names = [recipe.name for recipe in self.recipes]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two recipes are named {', '.join(twice)}")
        asked = [*self.demo, *([self.search.base] if self.search else [])]
        if missing := sorted(set(asked) - set(names)):
            raise ValueError(f"no recipe is named {', '.join(missing)}; there are {names}")
        return self

    def named(self, names: tuple[str, ...]) -> tuple[Recipe, ...]:
        """Return recipes by name, in the order asked for.

        Raises:
            ConfigError: a name is unknown; the message lists those there are.
        """
        by_name = {recipe.name: recipe for recipe in self.recipes}
        if missing := [name for name in names if name not in by_name]:
            raise ConfigError(
                f"no recipe named {', '.join(missing)}; there are {', '.join(by_name)}"
            )
        return tuple(by_name[name] for name in names)


def load_recipes(path: Path) -> tuple[Recipe, ...]:
    """Return the recipes of a recipes file.

    Raises:
        ConfigError: the file cannot be read, or has an unknown key or a bad value.
    """
    return load_recipes_file(path).recipes


def load_recipes_file(path: Path) -> RecipesFile:
    """Read a recipes file.

    Raises:
        ConfigError: the file cannot be read, or has an unknown key or a bad value.
    """
    return read_config(path, RecipesFile)
