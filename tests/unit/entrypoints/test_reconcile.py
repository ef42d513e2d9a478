from greenlight.core.settings import Settings
from greenlight.entrypoints import deadlines, models, reconcile
from greenlight.registry.tags import REQUESTED, Tag
from greenlight.testing.memory_registry import MemoryRegistry
from greenlight.testing.model_folders import write_llama


def test_a_tagged_version_asks_for_one_run_however_often_it_is_found(tmp_path):
    registry = MemoryRegistry()
    settings = Settings(home=tmp_path / "home")
    for fill in (1, 2):
        source = write_llama(tmp_path / f"source-{fill}", fill=fill)
        models.import_model(settings, str(source), name="m", registry=registry)
    assert reconcile.requested_runs(registry) == []
    registry.set_tags("m", version=2, tags={Tag.QUANTIZE: REQUESTED})
    (run,) = reconcile.requested_runs(registry)
    assert run["conf"] == {"model": "m", "version": 2}
    assert reconcile.requested_runs(registry) == [run]


def test_a_missed_deadline_is_an_error_that_names_the_run(caplog):
    context = {"dag_run": {"dag_run_id": "run-7"}}
    deadlines.report_missed(dag_id="quantize_and_validate", limit="24 h", context=context)
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert "run-7" in record.message
    assert "24 h" in record.message
