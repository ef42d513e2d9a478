"""Shared type names and the base of values that enter from outside."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

JsonDict = dict[str, Any]
"""What crosses a process or task boundary: plain JSON."""


class Value(BaseModel):
    """A frozen value read from YAML, JSON or a form; an unknown key is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())
