import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenlight.core.digest import (
    Manifest,
    digest_bytes,
    digest_file,
    digest_json,
    manifest_of,
    short,
)
from greenlight.core.errors import InputError

EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def folder(path, files):
    for name, text in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text)
    return path


def test_digests_are_sha256(tmp_path):
    (tmp_path / "empty").touch()
    assert digest_bytes(b"") == digest_file(tmp_path / "empty") == EMPTY_SHA256
    assert short(EMPTY_SHA256) == "e3b0c44298fc"


@given(st.dictionaries(st.text(), st.integers() | st.text()))
def test_the_order_of_keys_does_not_change_a_digest(value):
    assert digest_json(value) == digest_json(dict(reversed(list(value.items()))))


def test_equal_folders_have_equal_digests_whatever_their_place_and_age(tmp_path):
    files = {"config.json": "{}", "sub/weights": "abc"}
    one, other = folder(tmp_path / "one", files), folder(tmp_path / "other", files)
    os.utime(other / "config.json", (0, 0))
    assert manifest_of(one).digest == manifest_of(other).digest


@pytest.mark.parametrize(
    "files",
    [
        {"a": "1", "b": "3"},
        {"a": "1", "c": "2"},
        {"a": "1"},
        {"a": "1", "b": "2", "c": ""},
        {"a": "12", "b": ""},
    ],
)
def test_any_difference_in_names_or_content_changes_the_digest(tmp_path, files):
    before = manifest_of(folder(tmp_path / "before", {"a": "1", "b": "2"}))
    assert manifest_of(folder(tmp_path / "after", files)).digest != before.digest


def test_files_can_be_left_out(tmp_path):
    folder(tmp_path, {"a": "1", "log": "x"})
    assert [f.path for f in manifest_of(tmp_path, leave_out=["log"]).files] == ["a"]
    assert manifest_of(tmp_path).total_bytes == 2


def test_a_manifest_survives_json(tmp_path):
    manifest = manifest_of(folder(tmp_path, {"a": "1"}))
    assert Manifest.from_json(manifest.to_json()) == manifest


def test_a_manifest_that_was_edited_is_refused(tmp_path):
    data = manifest_of(folder(tmp_path, {"a": "1"})).to_json()
    data["files"][0]["size"] = 2
    with pytest.raises(InputError, match="its files give"):
        Manifest.from_json(data)


def test_no_folder_and_an_empty_folder_have_no_digest(tmp_path):
    with pytest.raises(InputError, match="is not a folder"):
        manifest_of(tmp_path / "missing")
    with pytest.raises(InputError, match="holds no file"):
        manifest_of(tmp_path)
