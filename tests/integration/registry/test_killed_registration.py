"""What a registration leaves when it is killed, and how the next one finishes."""

import os
import signal
import subprocess
import sys
import time

import pytest
from mlflow import MlflowClient

from greenlight.adapters.mlflow_registry import MlflowRegistry
from greenlight.core.digest import manifest_of
from greenlight.core.errors import InputError
from greenlight.registry.tags import MODEL_FOLDER, RUN_KEY, Tag
from greenlight.testing.registry_contract import a_model_folder, a_registration
from greenlight.testing.servers import shared_mlflow_server

CHILD = """
import sys
from pathlib import Path
from greenlight.adapters.mlflow_registry import MlflowRegistry
from greenlight.testing.registry_contract import a_registration
registry = MlflowRegistry(sys.argv[1])
print("ready", flush=True)
registry.register(a_registration(Path(sys.argv[2]), model=sys.argv[3]))
"""


@pytest.fixture
def url():
    return shared_mlflow_server()


@pytest.fixture
def registry(url):
    return MlflowRegistry(url, attempts=2, wait_s=0.1)


@pytest.fixture
def client(url):
    return MlflowClient(tracking_uri=url, registry_uri=url)


def big_folder(tmp_path):
    folder = a_model_folder(tmp_path)
    for number in range(8):
        (folder / f"shard-{number}.safetensors").write_bytes(os.urandom(50_000))
    return folder


@pytest.mark.parametrize("after_s", [0.2, 0.8])
def test_a_killed_registration_is_never_seen_and_the_next_one_finishes(
    url, registry, tmp_path, after_s
):
    model, folder = f"killed-{int(after_s * 100)}", big_folder(tmp_path)
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, url, folder, model], stdout=subprocess.PIPE
    )
    assert child.stdout.readline() == b"ready\n"
    time.sleep(after_s)
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    for version in registry.versions(model):  # a fast machine may have been done
        assert version.digest == manifest_of(folder).digest
    made = registry.register(a_registration(folder, model=model))
    assert registry.versions(model) == (made,)
    manifest = registry.download(model, version=made.version, target=tmp_path / "down")
    assert manifest == manifest_of(folder)


def test_an_upload_is_continued_in_the_run_that_was_left(registry, client, tmp_path):
    """Killed after some files: one run remains, not two."""
    model, folder = "continued", a_model_folder(tmp_path)
    registration = a_registration(folder, model=model)
    key = f"register/{model}/{registration.digest}/none"
    left = client.create_run(experiment(client), tags={RUN_KEY: key})
    client.log_artifact(left.info.run_id, str(folder / "config.json"), MODEL_FOLDER)
    client.log_param(left.info.run_id, "bits", "4")
    damaged = tmp_path / "model.safetensors"
    damaged.write_bytes(b"weight$")  # the right size, the wrong bytes
    client.log_artifact(left.info.run_id, str(damaged), MODEL_FOLDER)
    made = registry.register(registration)
    assert made.run_id == left.info.run_id
    assert client.get_run(made.run_id).info.status == "FINISHED"
    registry.download(model, version=made.version, target=tmp_path / "down")


def test_a_run_that_says_otherwise_is_replaced(registry, client, tmp_path):
    """MLflow never lets a parameter change, so such a run cannot be continued."""
    registration = a_registration(a_model_folder(tmp_path), model="replaced")
    key = f"register/replaced/{registration.digest}/none"
    left = client.create_run(experiment(client), tags={RUN_KEY: key})
    client.log_param(left.info.run_id, "bits", "3")
    made = registry.register(registration)
    assert made.run_id != left.info.run_id
    assert client.get_run(left.info.run_id).info.lifecycle_stage == "deleted"


def test_a_version_without_its_last_tag_is_not_there_and_gets_finished(registry, client, tmp_path):
    model = "untagged"
    registration = a_registration(a_model_folder(tmp_path), model=model)
    made = registry.register(registration)
    client.delete_model_version_tag(model, str(made.version), Tag.COMPLETE)
    assert registry.versions(model) == ()
    assert registry.find(model, tags={Tag.DIGEST: made.digest}) is None
    with pytest.raises(InputError, match="no version 1"):
        registry.get(model, made.version)
    with pytest.raises(InputError, match="no version 1"):
        registry.set_alias(model, alias="candidate", version=made.version)
    assert registry.register(registration) == made


def test_a_version_whose_run_is_gone_is_removed_and_made_anew(registry, client, tmp_path):
    model = "orphaned"
    registration = a_registration(a_model_folder(tmp_path), model=model)
    first = registry.register(registration)
    client.delete_model_version_tag(model, str(first.version), Tag.COMPLETE)
    client.delete_run(first.run_id)
    second = registry.register(registration)
    assert second.run_id != first.run_id
    assert registry.versions(model) == (second,)


def test_a_damaged_artifact_is_found_when_it_is_downloaded(registry, client, tmp_path):
    made = registry.register(a_registration(a_model_folder(tmp_path), model="damaged"))
    flipped = tmp_path / "model.safetensors"
    flipped.write_bytes(b"weight$")
    client.log_artifact(made.run_id, str(flipped), MODEL_FOLDER)
    with pytest.raises(InputError, match="should have digest"):
        registry.download("damaged", version=1, target=tmp_path / "down")
    assert not (tmp_path / "down").exists()


def test_a_run_of_the_same_key_holds_its_tables_once(registry, client, tmp_path):
    registration = a_registration(a_model_folder(tmp_path), model="tables")
    made = registry.register(registration)
    client.update_run(made.run_id, status="RUNNING")
    client.delete_model_version("tables", str(made.version))
    again = registry.register(registration)
    assert again.run_id == made.run_id
    table = registry.download_artifact(
        "tables", version=again.version, path="tables/gates.json", target=tmp_path / "t"
    )
    assert table.read_text() == '{"columns": ["gate", "value"], "data": [["size", 0.2]]}'
    run = client.get_run(again.run_id)
    assert run.data.params == {"bits": "4"}
    assert run.data.metrics == {"perplexity ratio": 1.03}
    assert [d.dataset.name for d in run.inputs.dataset_inputs] == ["heldout"]


def experiment(client):
    found = client.get_experiment_by_name("greenlight")
    return found.experiment_id if found else client.create_experiment("greenlight")
