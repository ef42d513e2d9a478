import threading

import pytest

from greenlight.adapters.model_store import ModelStore
from greenlight.core.digest import manifest_of
from greenlight.core.errors import InputError
from greenlight.testing.model_folders import write_llama


@pytest.fixture
def store(tmp_path):
    return ModelStore(tmp_path / "models")


@pytest.fixture
def folder(tmp_path):
    return write_llama(tmp_path / "source")


def test_a_model_is_kept_under_its_digest(store, folder):
    manifest = store.add(folder)
    assert manifest == manifest_of(folder)
    assert store.path(manifest.digest).name == manifest.digest
    assert store.verify(manifest.digest) == manifest
    assert store.digests() == (manifest.digest,)


def test_the_source_may_go_afterwards(store, folder, tmp_path):
    (folder / "link.json").symlink_to("config.json")
    manifest = store.add(folder)
    folder.rename(tmp_path / "gone")
    assert not (store.path(manifest.digest) / "link.json").is_symlink()
    assert store.verify(manifest.digest) == manifest


def test_adding_again_changes_nothing(store, folder):
    first = store.add(folder)
    before = store.path(first.digest).stat().st_ino
    assert store.add(folder) == first
    assert store.path(first.digest).stat().st_ino == before


def test_files_that_are_left_out_are_not_part_of_the_model(store, folder):
    plain = store.add(folder)
    (folder / ".git").mkdir()
    (folder / ".git" / "config").touch()
    assert store.add(folder, leave_out=(".git/config",)) == plain


def test_a_flipped_byte_is_found_and_named(store, folder):
    digest = store.add(folder).digest
    weights = store.path(digest) / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(InputError, match=r"model\.safetensors changed"):
        store.verify(digest)


def test_missing_and_foreign_files_are_named(store, folder):
    digest = store.add(folder).digest
    (store.path(digest) / "config.json").unlink()
    (store.path(digest) / "evil.py").touch()
    with pytest.raises(InputError, match=r"config\.json is missing; evil\.py does not belong"):
        store.verify(digest)


def test_adding_again_repairs(store, folder):
    manifest = store.add(folder)
    (store.path(manifest.digest) / "config.json").write_text("damaged")
    store.add(folder)
    assert store.verify(manifest.digest) == manifest


def test_a_folder_without_its_manifest_is_not_there(store, folder, tmp_path):
    digest = store.add(folder).digest
    (tmp_path / "models" / f"{digest}.json").unlink()
    assert not store.has(digest)
    assert store.digests() == ()
    with pytest.raises(InputError, match="import it first"):
        store.path(digest)
    store.add(folder)
    assert store.has(digest)


def test_a_damaged_manifest_is_named(store, folder, tmp_path):
    digest = store.add(folder).digest
    (tmp_path / "models" / f"{digest}.json").write_text("{}")
    with pytest.raises(InputError, match="is damaged"):
        store.verify(digest)


def test_an_unknown_digest_is_refused(store):
    with pytest.raises(InputError, match="is not in"):
        store.verify("0" * 64)


def test_several_may_add_at_once(store, folder, tmp_path):
    other = write_llama(tmp_path / "other", fill=9)
    threads = [threading.Thread(target=store.add, args=(f,)) for f in (folder, other) * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.digests()) == 2
    for digest in store.digests():
        store.verify(digest)
