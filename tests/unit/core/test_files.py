import json
import shutil

import pytest

from greenlight.core.errors import InputError, ResourceError
from greenlight.core.files import (
    folder_in_the_making,
    read_json,
    require_free_space,
    write_atomically,
    write_json,
)


def test_a_file_is_replaced_whole_and_with_its_mode(tmp_path):
    path = tmp_path / "sub/secret"
    write_atomically(path, b"old", mode=0o600)
    write_atomically(path, b"new", mode=0o600)
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in path.parent.iterdir()] == ["secret"]


def test_a_write_that_fails_leaves_the_old_content_and_no_litter(tmp_path):
    write_json(tmp_path / "x.json", {"a": 1})
    with pytest.raises(TypeError):
        write_atomically(tmp_path / "x.json", "not bytes")
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_a_folder_appears_only_when_its_making_succeeded(tmp_path):
    target = tmp_path / "model"
    with folder_in_the_making(target) as making:
        (making / "weights").write_text("w")
        assert not target.exists()
    assert (target / "weights").read_text() == "w"


def test_a_making_that_fails_leaves_the_target_as_it_was(tmp_path):
    target = tmp_path / "model"
    with folder_in_the_making(target) as making:
        (making / "weights").write_text("old")

    def fail():
        with folder_in_the_making(target) as making:
            (making / "weights").write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert (target / "weights").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_what_a_killed_maker_left_is_swept_away_by_the_next(tmp_path):
    (tmp_path / ".model.making-dead").mkdir()
    with folder_in_the_making(tmp_path / "model"):
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_work_that_would_fill_the_disk_is_refused_with_the_numbers(tmp_path):
    free = shutil.disk_usage(tmp_path).free
    require_free_space(tmp_path / "not/yet/there", 1, what="a test")
    with pytest.raises(ResourceError, match=r"a test needs .* MB under"):
        require_free_space(tmp_path / "not/yet/there", free * 2, what="a test")


def test_a_file_that_is_not_there_yet_is_nothing_and_a_broken_one_says_who_writes_it(tmp_path):
    path = tmp_path / "x.json"
    assert read_json(path, who_writes="`make it`") is None
    write_json(path, {"a": 1})
    assert read_json(path, who_writes="`make it`") == {"a": 1}
    path.write_text("{")
    with pytest.raises(InputError, match=r"x\.json can't be read: .*; `make it` writes it anew"):
        read_json(path, who_writes="`make it`")
