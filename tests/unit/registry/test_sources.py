import pytest

from greenlight.core.errors import InputError, RefusedError
from greenlight.registry.sources import SourceKind, parse_source

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def parse(text, *, hub=True):
    return parse_source(text, hub_enabled=hub)


def test_a_folder_is_named_without_its_path(tmp_path):
    (tmp_path / "my-model").mkdir()
    found = parse(str(tmp_path / "my-model"))
    assert found.kind is SourceKind.FOLDER
    assert found.text == "folder:my-model"


def test_a_gguf_file_is_told_by_its_suffix(tmp_path):
    (tmp_path / "x.GGUF").touch()
    assert parse(str(tmp_path / "x.GGUF")).kind is SourceKind.GGUF


@pytest.mark.parametrize("text", ["demo", "models:/smollm2/3", f"hf://org/name@{COMMIT}"])
def test_a_source_is_written_back_as_it_was_read(text):
    assert parse(text).text == text


@pytest.mark.parametrize("text", ["models:/smollm2/latest", "models:/a/0", "s3://x/y", "models:x"])
def test_what_is_no_source_is_refused(text):
    with pytest.raises(InputError, match="is not understood"):
        parse(text)


def test_a_path_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="there is no model at"):
        parse(str(tmp_path / "nothing"))


@pytest.mark.parametrize("revision", ["", "@main", "@v1.0", f"@{COMMIT[:12]}"])
def test_a_hub_source_must_name_a_commit(revision):
    with pytest.raises(InputError, match="40 hex digits"):
        parse(f"hf://org/name{revision}")


def test_the_hub_is_off_until_it_is_allowed():
    with pytest.raises(RefusedError, match="hub_enabled"):
        parse(f"hf://org/name@{COMMIT}", hub=False)
