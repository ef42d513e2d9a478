import json
import struct

import pytest
from quantize_worlds import shape

from greenlight.core.errors import InputError
from greenlight.quantize.shapes import KNOWN_ARCHITECTURES, read_header, read_shape
from greenlight.quantize.sizes import BYTES


def folder(tmp_path, *, described=None, architecture="LlamaForCausalLM", dtype="F32", **config):
    """A model folder whose weights are zeros, in two shards."""
    described = described or shape()
    tensors = {t.name: t.shape for t in described.others} | {
        f"{x.module}.weight": (x.out_features, x.in_features) for x in described.linears
    }
    names = sorted(tensors)
    for number, part in enumerate((names[::2], names[1::2]), start=1):
        write_safetensors(
            tmp_path / f"model-{number}.safetensors", {n: tensors[n] for n in part}, dtype=dtype
        )
    values = {"architectures": [architecture], "max_position_embeddings": 512} | config
    (tmp_path / "config.json").write_text(json.dumps(values))
    return tmp_path


def write_safetensors(path, tensors, *, dtype="F32"):
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, sizes in tensors.items():
        end = offset + BYTES[dtype]
        count = 1
        for size in sizes:
            count *= size
        end = offset + count * BYTES[dtype]
        header[name] = {"dtype": dtype, "shape": list(sizes), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(offset))


def test_a_shape_is_read_from_the_headers_of_all_shards(tmp_path):
    found = read_shape(folder(tmp_path))
    assert found.linears == shape().linears
    assert found.layers == 2
    assert found.groups == ("qkv", "o", "gate_up", "down")
    assert found.embedding_parameters == 128 * 64
    assert found.other_parameters == 64
    assert (found.dtype, found.tied, found.context_length) == ("F32", True, 512)


def test_a_head_of_its_own_is_not_tied(tmp_path):
    found = read_shape(folder(tmp_path, described=shape(tied=False)))
    assert not found.tied
    assert found.parameters == shape().parameters + 128 * 64


def test_an_unknown_architecture_is_refused_with_the_known_ones(tmp_path):
    with pytest.raises(InputError, match="MambaForCausalLM") as refused:
        read_shape(folder(tmp_path, architecture="MambaForCausalLM"))
    assert all(name in str(refused.value) for name in KNOWN_ARCHITECTURES)


def test_a_quantized_model_is_not_quantized_again(tmp_path):
    with pytest.raises(InputError, match="quantized already"):
        read_shape(folder(tmp_path, quantization_config={"bits": 4}))


def test_a_truncated_file_is_refused_with_what_is_missing(tmp_path):
    path = folder(tmp_path) / "model-1.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="100 bytes are missing"):
        read_shape(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not a model at all", struct.pack("<Q", 1 << 60)])
def test_a_file_of_another_format_is_refused(tmp_path, content):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a safetensors file"):
        read_header(path)


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_damaged_config_is_refused(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(InputError, match=r"config\.json"):
        read_shape(tmp_path)


def test_a_folder_without_weights_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    with pytest.raises(InputError, match="no safetensors file"):
        read_shape(tmp_path)
