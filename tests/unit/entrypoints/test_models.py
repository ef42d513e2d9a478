import pytest

from greenlight.core.digest import manifest_of
from greenlight.core.errors import InputError, RefusedError, UnavailableError
from greenlight.entrypoints.models import (
    check_model,
    import_model,
    list_models,
    open_store,
    show_model,
    verify_model,
)
from greenlight.quantize.jobs import Job, Outcome, Usage
from greenlight.registry.tags import MODEL_FOLDER, Tag
from greenlight.testing.memory_registry import MemoryRegistry
from greenlight.testing.model_folders import write_llama

NOTHING = Usage(seconds=0, cpu_seconds=0, peak_rss_bytes=0)


class Converter:
    """Does what the ML environment does with a GGUF file, in no time."""

    def __init__(self):
        self.jobs = []

    def run(self, job, spec, *, backend=None, on_progress=None):
        self.jobs.append(job)
        write_llama(spec.output)
        return Outcome(result={}, usage=NOTHING)


@pytest.fixture
def settings(make_settings):
    return make_settings()


@pytest.fixture
def registry():
    return MemoryRegistry()


@pytest.fixture
def folder(tmp_path):
    return write_llama(tmp_path / "smol")


def test_an_imported_model_says_what_it_is(settings, registry, folder):
    made = import_model(settings, str(folder), name="smollm2", registry=registry)
    version = registry.get("smollm2", made.version)
    assert made.digest == version.digest == manifest_of(folder).digest
    assert {tag: version.tag(tag) for tag in list(Tag) if version.tag(tag)} == {
        Tag.DIGEST: made.digest,
        Tag.COMPLETE: "yes",
        Tag.KIND: "imported",
        Tag.SOURCE: "folder:smol",
        Tag.LICENCE: "apache-2.0",
        Tag.ARCHITECTURE: "LlamaForCausalLM",
        Tag.PARAMETERS: "192",
        Tag.DTYPE: "float32",
        Tag.BYTES: str((folder / "model.safetensors").stat().st_size),
    }
    assert "apache-2.0" in version.description
    open_store(settings).verify(made.digest)


def test_the_same_model_is_imported_once(settings, registry, folder):
    first = import_model(settings, str(folder), name="smollm2", registry=registry)
    assert import_model(settings, str(folder), name="smollm2", registry=registry) == first
    assert len(registry.versions("smollm2")) == 1


def test_hidden_files_do_not_change_the_digest(settings, registry, folder):
    first = import_model(settings, str(folder), name="smollm2", registry=registry)
    (folder / ".gitattributes").touch()
    assert import_model(settings, str(folder), name="smollm2", registry=registry) == first


def test_a_refused_model_leaves_nothing(settings, registry, folder):
    (folder / "model.bin").write_bytes(b"x")
    with pytest.raises(InputError, match=r"model\.bin"):
        import_model(settings, str(folder), name="smollm2", registry=registry)
    assert registry.models() == ()
    assert open_store(settings).digests() == ()


def test_a_registry_that_is_away_can_be_tried_again(settings, registry, folder):
    registry.away = True
    with pytest.raises(UnavailableError):
        import_model(settings, str(folder), name="smollm2", registry=registry)
    registry.away = False
    assert import_model(settings, str(folder), name="smollm2", registry=registry).version == 1


def test_a_gguf_file_is_converted_once(settings, registry, tmp_path):
    gguf, converter = tmp_path / "smol.gguf", Converter()
    gguf.write_bytes(b"GGUF")
    for _ in range(2):
        made = import_model(
            settings, str(gguf), name="smollm2", registry=registry, runner=converter
        )
    assert converter.jobs == [Job.CONVERT_GGUF]
    assert [p.name for p in (settings.home / "cache").iterdir() if p.is_dir()] == []
    assert registry.get("smollm2", made.version).tag(Tag.SOURCE) == "gguf:smol.gguf"


def test_a_converted_model_that_the_store_lost_is_converted_again(settings, registry, tmp_path):
    gguf, converter = tmp_path / "smol.gguf", Converter()
    gguf.write_bytes(b"GGUF")
    made = import_model(settings, str(gguf), name="smollm2", registry=registry, runner=converter)
    (settings.models / f"{made.digest}.json").unlink()
    again = import_model(settings, str(gguf), name="smollm2", registry=registry, runner=converter)
    assert again == made
    assert len(converter.jobs) == 2


def test_a_version_of_one_model_can_become_one_of_another(settings, registry, folder):
    first = import_model(settings, str(folder), name="smollm2", registry=registry)
    made = import_model(settings, "models:/smollm2/1", name="mine", registry=registry)
    assert (made.model, made.digest) == ("mine", first.digest)


def test_the_hub_is_off(settings, registry):
    with pytest.raises(RefusedError, match="hub_enabled"):
        import_model(settings, f"hf://a/b@{'0' * 40}", name="x", registry=registry)


def test_a_dry_run_keeps_nothing(settings, folder):
    assert check_model(settings, str(folder)).refusals == ()
    assert open_store(settings).digests() == ()


def test_only_listed_licences_enter(make_settings, registry, folder):
    with pytest.raises(InputError, match="not on the list: mit"):
        import_model(
            make_settings(licences=["mit"]), str(folder), name="smollm2", registry=registry
        )


def test_models_are_listed_and_shown(settings, registry, folder):
    made = import_model(settings, str(folder), name="smollm2", registry=registry)
    assert [v["digest"] for v in list_models(settings, registry=registry)] == [made.digest]
    shown = show_model(settings, "smollm2", 1, registry=registry)
    assert shown["here"] is True
    assert shown["url"].endswith("/smollm2/versions/1")


def test_a_damaged_version_does_not_verify(settings, registry, folder):
    made = import_model(settings, str(folder), name="smollm2", registry=registry)
    assert verify_model(settings, "smollm2", 1, registry=registry) == made
    registry.damage("smollm2", version=1, path=f"{MODEL_FOLDER}/config.json", data=b"{}")
    with pytest.raises(InputError, match="not what its digest says"):
        verify_model(settings, "smollm2", 1, registry=registry)


def test_a_damaged_copy_on_this_machine_does_not_verify(settings, registry, folder):
    made = import_model(settings, str(folder), name="smollm2", registry=registry)
    (open_store(settings).path(made.digest) / "config.json").write_text("{}")
    with pytest.raises(InputError, match=r"config\.json changed"):
        verify_model(settings, "smollm2", 1, registry=registry)
