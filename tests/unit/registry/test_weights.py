import json
import struct

import pytest

from greenlight.core.errors import InputError
from greenlight.registry.weights import read_header, summarize
from greenlight.testing.model_folders import safetensors


def a_file(tmp_path, header, *, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def tensor(begin, end, *, dtype="F32", shape=(1,)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


def test_parameters_are_the_floats_and_the_dtype_is_the_commonest(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(
        safetensors({"a": ("BF16", (10, 10)), "b": ("F32", (3,)), "q": ("I32", (500,))})
    )
    found = summarize([path])
    assert (found.parameters, found.dtype) == (103, "bfloat16")
    assert found.total_bytes == path.stat().st_size


def test_metadata_is_no_tensor(tmp_path):
    path = a_file(tmp_path, {"__metadata__": {"format": "pt"}, "a": tensor(0, 4)}, data=b"1234")
    assert list(read_header(path)) == ["a"]


@pytest.mark.parametrize(
    ("header", "data", "why"),
    [
        (b"no json", b"", "not JSON"),
        (b"[]", b"", "not a JSON object"),
        ({"a": tensor(0, 4)}, b"123", "take 4 bytes, but the file holds 3"),
        ({"a": tensor(0, 4)}, b"12345", "but the file holds 5"),
        ({"a": tensor(0, 8)}, b"12345678", "should take 4 bytes"),
        ({"a": tensor(0, 4), "b": tensor(2, 6)}, b"123456", "tensor b"),
        ({"a": tensor(4, 8)}, b"12345678", "from 0 on"),
        ({"a": tensor(0, 4, dtype="Q9")}, b"1234", "unknown dtype"),
        ({"a": tensor(0, 4, shape=(-1,))}, b"1234", "not a list of sizes"),
        ({"a": {"dtype": "F32"}}, b"", "described wrongly"),
        ({"a": 3}, b"", "described wrongly"),
    ],
)
def test_a_header_that_contradicts_its_file_is_refused(tmp_path, header, data, why):
    with pytest.raises(InputError, match=why):
        read_header(a_file(tmp_path, header, data=data))


@pytest.mark.parametrize("content", [b"", b"1234", struct.pack("<Q", 1 << 40), b"\x80\x02}q\x00."])
def test_what_is_no_safetensors_file_is_refused(tmp_path, content):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match="does not fit"):
        read_header(path)
