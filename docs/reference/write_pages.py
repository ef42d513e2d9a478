"""Write the parts of the reference that are what the code says: `make reference`.

`metrics.md` from the catalogue of names and from where each is made, `cli.md` from the commands,
`openapi.json` from the gateway. A test writes them anew and compares.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from greenlight.cli.main import build
from greenlight.core.metrics import MetricName
from greenlight.core.settings import PROJECT
from greenlight.entrypoints.gateway.openapi import document
from greenlight.gateway.gateway_file import load_gateway_file

FOLDER = PROJECT / "docs/reference"
PACKAGE = PROJECT / "include/greenlight"
NAMES = {"MetricName", "Name"}
"""What modules call the enumeration."""
HISTOGRAM, COUNTER, GAUGE = "histogram", "counter", "gauge"


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """Where a metric is made, and what is said of it there."""

    about: str
    module: str


def metrics() -> str:
    """Return the page of our metrics.

    Raises:
        KeyError: a name of the catalogue is made nowhere.
    """
    made = dict(_made())
    lines = [
        "# Metrics",
        "",
        "Written by `make reference` from `greenlight.core.metrics`. A `_timestamp_seconds` is an",
        "instant, so that `time() - …` is an age. What could not be measured has no series: it is",
        "never 0.",
        "",
        "| metric | type | what it says | made by |",
        "| --- | --- | --- | --- |",
    ]
    for name in MetricName:
        one = made[name.name]
        lines.append(f"| `{name}` | {_type(name)} | {one.about.rstrip('.')} | `{one.module}` |")
    return "\n".join([*lines, ""])


def _type(name: MetricName) -> str:
    if name.endswith("_total"):
        return COUNTER
    is_timed = re.search(r"(duration|first_token|inter_token)_seconds$", name)
    return HISTOGRAM if is_timed and "ml_job" not in name and "backup" not in name else GAUGE


def _made() -> Iterator[tuple[str, Made]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        if "testing" in path.parts:
            continue
        module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_text())):
            for first, second in _pairs(node):
                if (name := _member(first)) and isinstance(second, ast.Constant):
                    yield name, Made(about=str(second.value), module=module)


def _pairs(node: ast.AST) -> Iterator[tuple[ast.expr | None, ast.expr]]:
    if isinstance(node, ast.Dict):
        yield from zip(node.keys, node.values, strict=True)
    elif isinstance(node, ast.Call):
        yield from zip(node.args, node.args[1:], strict=False)
    elif isinstance(node, ast.Tuple):
        yield from zip(node.elts, node.elts[1:], strict=False)


def _member(node: ast.expr | None) -> str | None:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        node = node.func.value  # a name without its suffix
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return node.attr if node.value.id in NAMES else None
    return None


def cli() -> str:
    """Return the page of all commands."""
    root = typer.main.get_command(build())
    lines = [
        "# Commands",
        "",
        "Written by `make reference`; `greenlight COMMAND --help` says the same.",
    ]
    for path, command in _commands("greenlight", root):
        lines += ["", f"## `{path}`", "", (command.help or "").strip()]
        lines += list(_parameters(command))
    return "\n".join([*lines, ""])


def _commands(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield path, command
        return
    for name in sorted(inner):
        yield from _commands(f"{path} {name}", inner[name])


def _parameters(command: Any) -> Iterator[str]:
    rows = [one for one in command.params if not getattr(one, "hidden", False)]
    if rows:
        yield from ("", "| parameter | meaning |", "| --- | --- |")
    for one in rows:
        is_argument = one.param_type_name == "argument"
        names = [one.metavar or one.name] if is_argument else [*one.opts, *one.secondary_opts]
        told = (getattr(one, "help", None) or "").replace("|", "/")
        yield f"| {', '.join(f'`{name}`' for name in names)} | {told} |"


def openapi() -> str:
    """Return the gateway's interface, as the example file opens it."""
    file = load_gateway_file(PROJECT / "include/config/gateway.example.yaml")
    return json.dumps(document(file), indent=2, sort_keys=True) + "\n"


PAGES = {
    "metrics.md": metrics,
    "cli.md": cli,
    "openapi.json": openapi,
}


def main(folder: Path = FOLDER) -> None:
    """Write every page."""
    for name, page in PAGES.items():
        (folder / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
