"""The plug-in that takes MLflow's webhook: thin, and built only where it is asked for."""

import subprocess
import sys
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from greenlight.registry.webhook import ENDPOINT

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"


@pytest.fixture(scope="module")
def plugin():
    from airflow import plugins_manager

    found, errors = plugins_manager._get_plugins()
    assert errors == {}
    return next(one for one in found if one.name == "greenlight_review")


def test_airflow_finds_it_and_mounts_it_where_mlflow_is_sent_and_nobody_else_is(plugin):
    from airflow import plugins_manager

    (app,) = plugin.fastapi_apps
    assert f"{app['url_prefix']}/mlflow" == ENDPOINT
    others = {one["url_prefix"] for one in plugins_manager.get_fastapi_plugins()[0]}
    others.discard(app["url_prefix"])
    assert not [prefix for prefix in others if ENDPOINT.startswith(f"{prefix}/")]


def test_it_takes_posts_to_one_address_only_and_shows_no_pages(plugin):
    client = TestClient(plugin.fastapi_apps[0]["app"])
    assert client.get("/mlflow").status_code == 405
    assert client.get("/docs").status_code == 404
    assert client.get("/openapi.json").status_code == 404
    assert client.post("/mlflow", content=b"x" * 70_000).status_code == 413


def test_without_the_secret_it_says_so_and_does_nothing(plugin):
    answer = TestClient(plugin.fastapi_apps[0]["app"]).post("/mlflow", content=b"{}")
    assert answer.status_code == 503
    assert "no secret" in answer.json()["refused"]


def test_every_component_imports_it_and_pays_nothing_for_it():
    code = (
        "import sys, airflow.plugins_manager; before = set(sys.modules); "
        f"sys.path.insert(0, {str(PLUGINS)!r}); import greenlight_review; "
        "print(*(set(sys.modules) - before))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(out.stdout.splitlines()[-1].split()) == {"greenlight_review", "greenlight_runs"}
