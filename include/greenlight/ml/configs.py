"""Read and translate `config.json` between the two layouts that transformers has had."""

from __future__ import annotations

import json
from pathlib import Path

from greenlight.core.errors import ConfigError, InputError
from greenlight.core.types import JsonDict


def read_config(folder: Path) -> JsonDict:
    """Return `config.json` as it is written.

    Raises:
        InputError: there is none, or it isn't a JSON object.
    """
    try:
        values: JsonDict = json.loads(folder.joinpath("config.json").read_text())
    except FileNotFoundError as error:
        raise InputError(f"{folder} holds no config.json, so it isn't a model folder") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{folder}/config.json is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise InputError(f"{folder}/config.json holds a {type(values).__name__}, not an object")
    return values


def legacy_layout(values: JsonDict) -> JsonDict:
    """Return a config of transformers 5 in the layout of transformers 4.

    Version 5 keeps the rotary base in `rope_parameters`; version 4 looks for `rope_theta` at the
    top, doesn't find it, and silently goes on with its default, which is another model.

    Raises:
        ConfigError: a rotary scaling that version 4's layout has no certain translation for.
    """
    legacy = dict(values)
    rope = legacy.pop("rope_parameters", None)
    if rope is not None:
        kind = rope.get("rope_type", "default")
        if kind != "default":
            raise ConfigError(
                f"rope_type {kind!r} can't be handed to transformers 4; quantize with gptqmodel"
            )
        legacy["rope_theta"] = rope["rope_theta"]
        legacy["rope_scaling"] = None
    if "dtype" in legacy:
        legacy["torch_dtype"] = legacy.pop("dtype")
    return legacy
