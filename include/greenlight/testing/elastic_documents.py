"""What Elasticsearch does to a document before it keeps it: an ingest pipeline, then a mapping.

Only the processors, options and field types that monitoring/elastic uses, as Elastic's reference
describes them; whatever else a file asks for is an error here. It stands in for a server that can't
be had where the tests run, and proves nothing about that server.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from greenlight.core.errors import ConfigError
from greenlight.core.types import JsonDict

DEEPEST = 20
"""Levels of a flattened field."""
SCALAR = (str, int, float, bool)
Step = Callable[[JsonDict, JsonDict], None]


class ProcessorError(Exception):
    """A processor could not do its work on a document."""


def run_pipeline(pipeline: Mapping[str, Any], document: Mapping[str, Any]) -> JsonDict:
    """Return what becomes of a document.

    Raises:
        ConfigError: the pipeline asks for what isn't known here.
    """
    made = copy.deepcopy(dict(document))
    try:
        for processor in pipeline["processors"]:
            _do(processor, made)
    except ProcessorError as error:
        for processor in pipeline.get("on_failure", ()):
            _do(processor, made, failure=str(error))
    return made


def refusal(document: Mapping[str, Any], mappings: Mapping[str, Any]) -> str | None:
    """Return why a mapping refuses a document; `None`: it takes it."""
    return _refusal(nested(document), mappings, inherited="true", path="")


def field_names(mappings: Mapping[str, Any], path: str = "") -> set[str]:
    """Return the dotted names of all fields that a mapping has."""
    found: set[str] = set()
    for name, field in mappings["properties"].items():
        inside = f"{path}{name}"
        found |= field_names(field, f"{inside}.") if "properties" in field else {inside}
    return found


def nested(document: Mapping[str, Any]) -> JsonDict:
    """Return a document whose dotted names are objects within objects."""
    made: JsonDict = {}
    for name, value in document.items():
        _put(made, name, nested(value) if isinstance(value, Mapping) else value)
    return made


def _do(processor: Mapping[str, JsonDict], document: JsonDict, *, failure: str = "") -> None:
    ((kind, given),) = processor.items()
    if kind not in STEPS:
        raise ConfigError(f"processor {kind} is not known here; there are {', '.join(STEPS)}")
    step, known = STEPS[kind]
    if strange := set(given) - known - {"ignore_failure"}:
        raise ConfigError(f"processor {kind} has {', '.join(sorted(strange))}, not known here")
    options = {**given, "_failure": failure}
    try:
        step(document, options)
    except ProcessorError:
        if not given.get("ignore_failure"):
            raise


def _set(document: JsonDict, options: JsonDict) -> None:
    if not options.get("override", True) and _get(document, options["field"]) is not None:
        return
    if "copy_from" in options:
        value = copy.deepcopy(_get(document, options["copy_from"]))
    else:
        value = re.sub(r"\{\{.*\}\}", lambda _: options["_failure"], options["value"])
    if value in (None, "") and options.get("ignore_empty_value"):
        return
    _put(document, options["field"], value)


def _date(document: JsonDict, options: JsonDict) -> None:
    if options["formats"] != ["ISO8601"]:
        raise ConfigError(f"date formats {options['formats']} are not known here")
    value = _get(document, options["field"])
    try:
        at = datetime.fromisoformat(str(value))
    except ValueError as error:
        raise ProcessorError(f"unable to parse date [{value}]") from error
    _put(document, "@timestamp", at.isoformat(timespec="microseconds").replace("+00:00", "Z"))


def _dissect(document: JsonDict, options: JsonDict) -> None:
    value = _text(document, options)
    if value is None:
        return
    keys = re.findall(r"%\{(\??[^}]*)\}", options["pattern"])
    parts = re.split(r"%\{[^}]*\}", options["pattern"])
    pattern = "(.*?)".join(re.escape(part) for part in parts)
    found = re.fullmatch(pattern, value)
    if found is None:
        raise ProcessorError(f"Unable to find match for dissect pattern in [{value}]")
    for key, text in zip(keys, found.groups(), strict=True):
        if not key.startswith("?"):
            _put(document, key, text)


def _gsub(document: JsonDict, options: JsonDict) -> None:
    value = _text(document, options)
    if value is not None:
        instead = re.sub(r"\$(\d)", r"\\\1", options["replacement"])
        _put(document, options["field"], re.sub(options["pattern"], instead, value))


def _lowercase(document: JsonDict, options: JsonDict) -> None:
    value = _text(document, options)
    if value is not None:
        _put(document, options["field"], value.lower())


def _remove(document: JsonDict, options: JsonDict) -> None:
    if "keep" in options:
        kept = {name: value for name in options["keep"] if (value := _get(document, name))}
        document.clear()
        for name, value in kept.items():
            _put(document, name, value)
        return
    names = options["field"]
    for name in [names] if isinstance(names, str) else names:
        parent, _, last = name.rpartition(".")
        inside = _get(document, parent) if parent else document
        if isinstance(inside, dict) and last in inside:
            del inside[last]
        elif not options.get("ignore_missing"):
            raise ProcessorError(f"field [{name}] not present as part of path [{name}]")


STEPS: dict[str, tuple[Step, set[str]]] = {
    "set": (_set, {"field", "value", "copy_from", "override", "ignore_empty_value"}),
    "date": (_date, {"field", "formats", "output_format"}),
    "dissect": (_dissect, {"field", "pattern", "ignore_missing"}),
    "gsub": (_gsub, {"field", "pattern", "replacement", "ignore_missing"}),
    "lowercase": (_lowercase, {"field", "ignore_missing"}),
    "remove": (_remove, {"field", "keep", "ignore_missing"}),
}


def _get(document: JsonDict, path: str) -> Any:
    found: Any = document
    for part in path.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _put(document: JsonDict, path: str, value: Any) -> None:
    *parents, last = path.split(".")
    inside = document
    for part in parents:
        inside = inside.setdefault(part, {})
        if not isinstance(inside, dict):
            raise ProcessorError(f"cannot set [{last}] with parent object of another type")
    both = isinstance(value, dict) and isinstance(inside.get(last), dict)
    inside[last] = inside[last] | value if both else value


def _text(document: JsonDict, options: JsonDict) -> str | None:
    value = _get(document, options["field"])
    if value is None and options.get("ignore_missing"):
        return None
    if not isinstance(value, str):
        raise ProcessorError(f"field [{options['field']}] of type [{type(value)}] is no text")
    return value


def _refusal(
    document: JsonDict, mappings: Mapping[str, Any], *, inherited: str, path: str
) -> str | None:
    dynamic = str(mappings.get("dynamic", inherited)).lower()
    for name, value in document.items():
        field = mappings["properties"].get(name)
        if field is None and dynamic == "strict":
            return f"strict_dynamic_mapping_exception: [{path}{name}] is not allowed"
        if field is None:
            continue
        if "properties" in field and isinstance(value, dict):
            why = _refusal(value, field, inherited=dynamic, path=f"{path}{name}.")
        else:
            why = _refused_value(value, field, f"{path}{name}")
        if why is not None:
            return why
    return None


def _refused_value(value: Any, field: Mapping[str, Any], path: str) -> str | None:
    failed = f"document_parsing_exception: failed to parse field [{path}]"
    kind = field.get("type", "object")
    if kind == "flattened":
        return None if isinstance(value, dict) and _depth(value) <= DEEPEST else failed
    if kind not in ("date", "keyword", "long", "match_only_text", "object"):
        raise ConfigError(f"field type {kind} of {path} is not known here")
    values: Iterable[Any] = value if isinstance(value, list) else (value,)
    takes = _is_taken[kind]
    lenient = field.get("ignore_malformed", False)
    return None if all(one is None or takes(one) or lenient for one in values) else failed


def _is_date(value: Any) -> bool:
    try:
        datetime.fromisoformat(str(value))
    except ValueError:
        return False
    return True


def _is_long(value: Any) -> bool:
    return re.fullmatch(r"-?\d{1,18}", str(value)) is not None


_is_taken: dict[str, Callable[[Any], bool]] = {
    "date": _is_date,
    "long": _is_long,
    "keyword": lambda value: isinstance(value, SCALAR),
    "match_only_text": lambda value: isinstance(value, SCALAR),
    "object": lambda value: False,
}


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max((_depth(one) for one in value.values()), default=0)
    if isinstance(value, list):
        return max((_depth(one) for one in value), default=0)
    return 0
