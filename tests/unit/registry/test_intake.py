import json
import pickle
import struct
import tarfile
import zipfile

import pytest

from greenlight.core.errors import InputError
from greenlight.registry.intake import Cause, check_folder
from greenlight.testing.model_folders import safetensors, write_llama

KNOWN = ("LlamaForCausalLM",)
LICENCES = ("apache-2.0", "mit")


class Bomb:
    def __reduce__(self):
        return (print, ("boom",))


def check(folder, **changes):
    arguments = {"known_architectures": KNOWN, "licences": LICENCES} | changes
    return check_folder(folder, **arguments)


def causes(folder, **changes):
    return [(r.cause, r.file) for r in check(folder, **changes).refusals]


def edit_json(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.fixture
def folder(tmp_path):
    return write_llama(tmp_path / "model")


def test_a_sound_folder_may_enter_and_is_described(folder):
    report = check(folder)
    report.require_accepted()
    assert report.architecture == "LlamaForCausalLM"
    assert report.licence == "apache-2.0"
    assert report.weights.parameters == 16 * 8 + 8 * 8
    assert report.weights.dtype == "float32"


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="is not a folder"):
        check(tmp_path / "nothing")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "x.pt", "x.pth", "x.pkl", "x.ckpt", "X.PT"])
def test_a_pickle_by_name_is_refused(folder, name):
    (folder / name).write_bytes(b"")
    assert causes(folder) == [(Cause.PICKLE, name)]


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("name", ["notes.txt", "merges.txt", "vocab", "extra.safetensors"])
def test_a_pickle_under_another_name_is_refused(folder, name, protocol):
    (folder / name).write_bytes(pickle.dumps(Bomb(), protocol=protocol))
    assert (Cause.PICKLE, name) in causes(folder)


def test_a_torch_archive_under_another_name_is_refused(folder):
    with zipfile.ZipFile(folder / "weights.txt", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Bomb()))
    assert causes(folder) == [(Cause.PICKLE, "weights.txt")]


def test_an_old_torch_archive_under_another_name_is_refused(folder, tmp_path):
    (tmp_path / "pickle").write_bytes(pickle.dumps(Bomb()))
    with tarfile.open(folder / "weights.txt", "w") as archive:
        archive.add(tmp_path / "pickle", "pickle")
    assert causes(folder) == [(Cause.PICKLE, "weights.txt")]


def test_prose_is_no_pickle(folder):
    (folder / "NOTES.md").write_text("I. In the beginning\n(c) 2026. N.B.: cos of x\n. The end.")
    assert causes(folder) == []


def test_sound_weights_whose_length_looks_like_pickle_magic_may_enter(folder):
    plain = safetensors({"w": ("F32", (2, 2))})
    length = struct.unpack("<Q", plain[:8])[0]
    header = plain[8 : 8 + length].ljust(0x10280)  # little-endian: 80 02 01, a protocol 2 pickle's
    (folder / "model.safetensors").write_bytes(
        struct.pack("<Q", len(header)) + header + plain[8 + length :]
    )
    assert (folder / "model.safetensors").read_bytes()[:3] == b"\x80\x02\x01"
    assert causes(folder) == []


@pytest.mark.parametrize("name", ["modeling_evil.py", "custom_generate/generate.py", "fast.so"])
def test_code_is_refused(folder, name):
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("pass")
    assert causes(folder) == [(Cause.CODE, name)]


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json", "generation_config.json"])
def test_a_request_for_remote_code_is_refused(folder, file):
    edit_json(folder / file, auto_map={"AutoModel": "modeling_evil.Evil"})
    assert causes(folder) == [(Cause.CODE, file)]


def test_remote_code_is_found_however_deep(folder):
    edit_json(folder / "config.json", text_config={"inner": [{"trust_remote_code": True}]})
    assert causes(folder) == [(Cause.CODE, "config.json")]


def test_remote_code_that_is_switched_off_is_fine(folder):
    edit_json(folder / "config.json", trust_remote_code=False)
    assert causes(folder) == []


def test_a_link_out_of_the_folder_is_refused_and_never_read(folder, tmp_path):
    secret = tmp_path / "secret.json"
    secret.write_text("{}")
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.json").symlink_to(secret)
    assert (Cause.SYMLINK, "tokenizer.json") in causes(folder)
    assert (Cause.TOKENIZER, "") in causes(folder)


def test_a_linked_folder_is_refused(folder, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (folder / "more").symlink_to(tmp_path / "elsewhere")
    (folder / "inside").symlink_to(folder)
    assert causes(folder) == [(Cause.SYMLINK, "inside"), (Cause.SYMLINK, "more")]


def test_a_link_inside_the_folder_is_fine(folder):
    (folder / "copy.json").symlink_to("config.json")
    assert causes(folder) == []


def test_a_broken_link_is_refused(folder):
    (folder / "gone.json").symlink_to("nowhere.json")
    assert causes(folder) == [(Cause.SYMLINK, "gone.json")]


def test_a_missing_config_is_refused(folder):
    (folder / "config.json").unlink()
    assert causes(folder) == [(Cause.CONFIG, "")]


@pytest.mark.parametrize("text", ["[]", "not json"])
def test_a_config_that_is_no_object_is_refused(folder, text):
    (folder / "config.json").write_text(text)
    assert causes(folder) == [(Cause.CONFIG, "config.json")]


@pytest.mark.parametrize("named", [["EvilForCausalLM"], [], None, ["LlamaForCausalLM", "Evil"]])
def test_an_unknown_architecture_is_refused(folder, named):
    edit_json(folder / "config.json", architectures=named)
    assert causes(folder) == [(Cause.ARCHITECTURE, "config.json")]


def test_a_missing_tokenizer_is_refused(folder):
    (folder / "tokenizer.json").unlink()
    assert causes(folder) == [(Cause.TOKENIZER, "")]


def test_a_damaged_tokenizer_is_refused(folder):
    (folder / "tokenizer.json").write_text("{")
    assert causes(folder) == [(Cause.TOKENIZER, "tokenizer.json")]


def test_a_missing_chat_template_is_refused(folder):
    (folder / "tokenizer_config.json").write_text("{}")
    assert causes(folder) == [(Cause.TEMPLATE, "")]
    (folder / "chat_template.jinja").write_text("")
    assert causes(folder) == [(Cause.TEMPLATE, "")]


def test_a_chat_template_in_a_file_of_its_own_counts(folder):
    (folder / "tokenizer_config.json").write_text("{}")
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    assert causes(folder) == []


def test_a_folder_without_weights_is_refused(folder):
    (folder / "model.safetensors").unlink()
    assert causes(folder) == [(Cause.WEIGHTS, "")]


def test_cut_off_weights_are_refused(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert causes(folder) == [(Cause.WEIGHTS, "model.safetensors")]


def test_a_shard_that_the_index_names_must_be_there(folder):
    index = {"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert causes(folder) == [(Cause.WEIGHTS, "model-2.safetensors")]
    (folder / "model.safetensors.index.json").write_text("[]")
    assert causes(folder) == [(Cause.WEIGHTS, "")]


def test_a_licence_that_is_not_listed_is_refused(folder):
    assert causes(folder, licences=("mit",)) == [(Cause.LICENCE, "")]


def test_a_folder_that_states_no_licence_is_refused(tmp_path):
    folder = write_llama(tmp_path / "model", licence=None)
    assert causes(folder) == [(Cause.LICENCE, "")]
    assert causes(folder, licence="MIT") == []
    assert causes(folder, licence="gpl-3.0") == [(Cause.LICENCE, "")]


def test_the_operators_word_does_not_beat_the_folders(folder):
    refusal = check(folder, licence="mit").refusals[0]
    assert refusal.cause is Cause.LICENCE
    assert "README.md says 'apache-2.0'" in refusal.reason


def test_every_reason_is_told_at_once(folder):
    (folder / "tokenizer.json").unlink()
    (folder / "model.bin").write_bytes(b"x")
    (folder / "model.safetensors").write_bytes(b"x")
    (folder / "README.md").unlink()
    report = check(folder)
    assert {r.cause for r in report.refusals} == {
        Cause.TOKENIZER, Cause.PICKLE, Cause.WEIGHTS, Cause.LICENCE
    }  # fmt: skip
    with pytest.raises(InputError, match=r"model\.bin(.|\n)*no tokenizer(.|\n)*no licence"):
        report.require_accepted()
    assert report.to_json()["accepted"] is False


def test_hidden_files_are_left_out(folder):
    (folder / ".git").mkdir()
    (folder / ".git" / "hook.py").write_text("evil")
    (folder / ".gitattributes").write_text("*.bin filter=lfs")
    report = check(folder)
    assert report.refusals == ()
    assert report.left_out == (".git/hook.py", ".gitattributes")


def test_a_model_that_is_quantized_already_is_named_so(folder):
    edit_json(folder / "config.json", quantization_config={"quant_method": "gptq"})
    assert check(folder).quantization == "gptq"
