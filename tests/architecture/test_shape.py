"""The shape of the repository, kept by tests instead of by review."""

import ast
import re
from pathlib import Path

import pytest

from greenlight.core.settings import PROJECT

PACKAGE = PROJECT / "include/greenlight"
MODULES = sorted(p for p in PACKAGE.rglob("*.py") if p.name != "__init__.py")
DAG_FILES = sorted((PROJECT / "dags").glob("*.py"))
TEST_FILES = sorted((PROJECT / "tests").rglob("*.py"))

TESTED_OTHERWISE = {
    "greenlight.ml": "runs in the ML environments only: tests start it as the child it is",
    "greenlight.quantize.ports": "protocols only: what runs is in their adapters",
    "greenlight.registry.ports": "protocols only: what runs is in their adapters",
    "greenlight.cli.main": "registers the nouns; the console script runs it",
    "greenlight.adapters.text_metrics": "what backup_metrics and cost_metrics share: their tests",
    "greenlight.scaling.kept": "what a store keeps: tests/contract/test_schedule_stores.py",
    "greenlight.adapters.migrations": "Alembic runs it: tests/unit/adapters/test_database.py",
    "greenlight.adapters.database_tables": "table definitions, made by the migrations' test",
    "greenlight.adapters.database_damage": "half of saved_databases: its test",
    "greenlight.adapters.frozen_databases": "half of saved_databases: tests/integration/backup",
    "greenlight.adapters.log_archive": "half of saved_databases: its test",
    "greenlight.adapters.expectation_frame": "the columns of adapters.expectations: its test",
    "greenlight.adapters.expectation_suites": "the rules of adapters.expectations: its test",
    "greenlight.adapters.job_output": "reads a child's lines: tests/unit/adapters/test_ml_process",
    "greenlight.adapters.mlflow_runs": "half of adapters.mlflow_registry: its test",
    "greenlight.adapters.plot_labels": "places the names in adapters.pareto: its test",
    "greenlight.quantize.metric_maker": "half of quantize.compare: its test",
    "greenlight.quantize.precisions": "what abilities, sizes and search share: their tests",
    "greenlight.quantize.gate_strategies": "tests/unit/quantize/test_gate_strategies.py",
    "greenlight.registry.pickles": "one rule of registry.intake: its test",
    "greenlight.entrypoints.candidates": "the last step: test_quantize_steps",
    "greenlight.entrypoints.search_report": "part of `choose`: test_quantize_steps",
    "greenlight.entrypoints.recipe_plan": "the plan's step: test_quantize_steps",
    "greenlight.entrypoints.evaluate": "run by its commands: tests/unit/cli/test_quantize_cli.py",
    "greenlight.entrypoints.rollout_engines": "what steps do to engines: test_rollout_steps",
    "greenlight.entrypoints.rollout_hold": "lease and journal of every step: test_rollout_steps",
    "greenlight.entrypoints.rollout_steps": "run by Deploy: test_rollout_steps",
    "greenlight.entrypoints.rollout_watch": "looks while a step moves: test_rollout_steps",
    "greenlight.cost.rightsizing.strategies.base": "what all rules share: the tests of each",
    "greenlight.entrypoints.demo_gateway": "the demo's last step: `make demo` runs it",
    "greenlight.entrypoints.gateway": "parts of one application: tests/integration/gateway",
    "greenlight.cli.gateway": "run by its name: tests/integration/gateway/test_gateway_process.py",
    "greenlight.entrypoints.demo_deploy": "the demo's second half: `make demo` runs it",
    "greenlight.cli.quickstart": "its steps run in tests/integration/stack/test_every_panel.py",
    "greenlight.cli.door": "the end of demo and quickstart",
    "greenlight.cli.deploy": "run by its name: tests/unit/cli/test_deploy_cli.py",
    "greenlight.entrypoints.doctor_services": "run by the doctor: test_doctor_services",
    "greenlight.adapters.answer_times": "run by the doctor: test_doctor_services",
    "greenlight.cli.doctor": "run by its name: tests/unit/cli/test_doctor_cli.py",
    "greenlight.cli.exporter": "run by its name: tests/integration/monitoring/test_exporter.py",
    "greenlight.entrypoints.exporter": "run by its command: tests/integration/monitoring",
    "greenlight.cli.quantize": "run by its name: tests/unit/cli/test_quantize_cli.py",
    "greenlight.cli.demo": "needs the real stack and the real model: `make demo`",
    "greenlight.entrypoints.demo": "needs the real stack and the real model: `make demo`",
    "greenlight.adapters.stack.migrations": "needs the real stack: tests/integration/stack",
}
VARIABLES_MAY_BE_READ_IN = {
    "core/settings.py": "the only reader of settings",
    "entrypoints/": "an edge",
    "cli/": "an edge",
    "ml/": "a process of its own, whose libraries are configured by variables",
}
LONGEST_MODULE = 520
LONGEST_TASK_BODY = 6  # an import, a call, a return; besides those, names for the grid


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)


def imported_modules(path: Path) -> set[str]:
    """Every module a file imports or names in a string, such as a child's command line."""
    source = path.read_text()
    found = set(re.findall(r"greenlight(?:\.[a-z_]+)+", source))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def listed(name: str, reasons: dict[str, str]) -> bool:
    return any(name == entry or name.startswith(f"{entry}.") for entry in reasons)


def test_every_module_is_used_by_a_test_or_listed_with_a_reason():
    used = set().union(*(imported_modules(path) for path in TEST_FILES))
    missing = {name for p in MODULES if not listed(name := module_name(p), TESTED_OTHERWISE)} - used
    assert missing == set()


def test_the_list_of_exceptions_names_only_what_exists():
    names = {module_name(p) for p in MODULES} | {module_name(p.parent) for p in MODULES}
    assert set(TESTED_OTHERWISE) - names == set()


def is_environ(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and ast.unparse(node) in {"os.environ", "os.environb"}


def reads_a_variable(tree: ast.AST) -> bool:
    """Whether a variable is looked up. Handing the whole environment to a child is no reading."""
    return any(
        (isinstance(node, ast.Subscript | ast.Attribute) and is_environ(node.value))
        or (isinstance(node, ast.Compare) and any(is_environ(c) for c in node.comparators))
        or (isinstance(node, ast.Attribute) and ast.unparse(node) == "os.getenv")
        for node in ast.walk(tree)
    )


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_variables_are_read_at_the_edges_only(path):
    place = path.relative_to(PACKAGE).as_posix()
    if not place.startswith(tuple(VARIABLES_MAY_BE_READ_IN)):
        assert not reads_a_variable(ast.parse(path.read_text())), "take it as an argument"


@pytest.mark.parametrize(
    "code", ["os.environ['A']", "os.environ.get('A')", "os.getenv('A')", "'A' in os.environ"]
)
def test_a_read_of_a_variable_would_be_seen(code):
    assert reads_a_variable(ast.parse(code))


def test_handing_the_environment_on_is_no_read():
    assert not reads_a_variable(ast.parse("start(command, env={**os.environ, 'A': '1'})"))


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_a_module_fits_a_readers_head(path):
    lines = len(path.read_text().splitlines())
    assert lines <= LONGEST_MODULE, "two ideas in one file are two files"


def task_functions(tree: ast.AST):
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and any(
            ast.unparse(decorator).startswith("task") for decorator in node.decorator_list
        ):
            yield node


def statements(function: ast.FunctionDef) -> list[ast.stmt]:
    """The statements of a body, docstring not counted."""
    return [
        s
        for s in function.body
        if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))
    ]


@pytest.mark.parametrize("path", DAG_FILES, ids=lambda p: p.stem)
def test_task_bodies_only_delegate(path):
    tree = ast.parse(path.read_text())
    too_long = [f.name for f in task_functions(tree) if len(statements(f)) > LONGEST_TASK_BODY]
    assert too_long == [], "move the logic to include/greenlight/entrypoints"
    loops = [
        f.name
        for f in task_functions(tree)
        if any(isinstance(n, ast.For | ast.While | ast.Try) for n in ast.walk(f))
    ]
    assert loops == [], "a task body is an import, a call, a return"


def test_there_are_dags_to_look_at():
    assert DAG_FILES


def test_no_dag_imports_anything_below_the_entry_points():
    for path in DAG_FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("greenlight."):
                allowed = ("greenlight.entrypoints", "greenlight.core.errors")
                assert node.module.startswith(allowed), f"{path.name}: {node.module}"


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_no_module_is_called_utils(path):
    assert path.stem not in {"utils", "util", "helpers", "common", "misc"}
