"""What every component of Airflow loads of the Greenlight page: next to nothing."""

import asyncio
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from greenlight.core.errors import InputError, UnavailableError

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"


@pytest.fixture(scope="module")
def plugin():
    sys.path.insert(0, str(PLUGINS))
    try:
        import greenlight_page

        yield greenlight_page
    finally:
        sys.path.remove(str(PLUGINS))


def test_loading_the_plugin_loads_no_page():
    code = (
        "import sys, greenlight_page; "
        "print([name for name in sys.modules if name.startswith('greenlight.')])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=PLUGINS, capture_output=True, text=True, check=True
    )
    assert found.stdout.splitlines()[-1] == "[]"


def test_airflow_finds_the_page_in_its_menu(plugin):
    (app,) = plugin.GreenlightPage.fastapi_apps
    (view,) = plugin.GreenlightPage.external_views
    assert view["href"] == f"{app['url_prefix']}/"
    assert (view["url_route"], view["destination"]) == ("greenlight", "nav")


def test_the_page_is_made_once_by_the_first_who_asks(plugin):
    made, answered = [], []

    async def app(scope, receive, send):
        answered.append(scope)

    def make():
        made.append(1)
        return app

    async def ask_together():
        page = plugin.WhenAsked(make)
        assert made == []
        await asyncio.gather(*(page({"n": n}, None, None) for n in range(3)))

    asyncio.run(ask_together())
    assert (len(made), len(answered)) == (1, 3)


def started(plugin, monkeypatch, error=None):
    """Start a run in an Airflow that answers so; return what it was told."""
    told = []

    def trigger_dag(dag_id, **more):
        told.append((dag_id, more))
        if error is not None:
            raise error

    monkeypatch.setattr("airflow.api.common.trigger_dag.trigger_dag", trigger_dag)
    plugin.start_run("d", run_id="page-1", conf={"fleet": "f"}, by="ana", note="odd")
    return told


def test_a_run_is_started_in_the_persons_name_with_the_reason(plugin, monkeypatch):
    ((dag, told),) = started(plugin, monkeypatch)
    assert (dag, told["run_id"], told["conf"]) == ("d", "page-1", {"fleet": "f"})
    assert (told["triggering_user_name"], told["note"]) == ("ana", "odd")


def test_a_run_that_is_there_already_is_fine(plugin, monkeypatch):
    from airflow.exceptions import DagRunAlreadyExists

    run = SimpleNamespace(dag_id="d", run_id="page-1")
    assert len(started(plugin, monkeypatch, DagRunAlreadyExists(run))) == 1


def test_what_airflow_does_not_start_says_why(plugin, monkeypatch):
    from airflow.exceptions import DagNotFound

    with pytest.raises(UnavailableError, match="doesn't know d yet"):
        started(plugin, monkeypatch, DagNotFound("d"))
    with pytest.raises(InputError, match="version: not a number"):
        started(plugin, monkeypatch, ValueError("version: not a number"))
