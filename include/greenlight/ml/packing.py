"""The GPTQ checkpoint layout: integers packed along the inputs, one scale and zero point a group.

`qweight` holds the integers of consecutive input features, 32 of them in `bits` words of 32 bits,
lowest bits first (for 3 bits a value may straddle two words); `qzeros` the same along the outputs,
each one less than the zero point ("v1" of the format, `checkpoint_format: gptq`); `g_idx` names the
group of each input feature.
"""

from __future__ import annotations

import torch

from greenlight.core.errors import InputError

WORD = 32
PACKED = ("qweight", "qzeros", "scales", "g_idx")


def unpack(words: torch.Tensor, bits: int) -> torch.Tensor:
    """Return the unsigned integers in `words`, packed along dimension 0, as int64.

    Raises:
        InputError: the words don't hold whole integers of `bits` bits.
    """
    if words.shape[0] % bits:
        raise InputError(f"{words.shape[0]} packed words don't divide into integers of {bits} bits")
    unsigned = (words.to(torch.int64) & 0xFFFFFFFF).reshape(-1, bits, *words.shape[1:])
    values = []
    for index in range(WORD):
        word, offset = divmod(index * bits, WORD)
        value = unsigned[:, word] >> offset
        if offset + bits > WORD:
            value = value | (unsigned[:, word + 1] << (WORD - offset))
        values.append(value & (2**bits - 1))
    return torch.stack(values, dim=1).reshape(-1, *words.shape[1:])


def bits_of(qweight: torch.Tensor, g_idx: torch.Tensor) -> int:
    """Return the width of the integers, from the shapes alone: configs have been wrong."""
    return qweight.shape[0] * WORD // g_idx.shape[0]


def dequantize(
    qweight: torch.Tensor, qzeros: torch.Tensor, scales: torch.Tensor, g_idx: torch.Tensor
) -> torch.Tensor:
    """Return the linear's weight in FP32, outputs × inputs."""
    bits = bits_of(qweight, g_idx)
    integers = unpack(qweight, bits)
    zeros = (unpack(qzeros.T.contiguous(), bits).T + 1) & (2**bits - 1)
    groups = g_idx.to(torch.int64)
    centred = (integers - zeros[groups]).to(torch.float32)
    return (centred * scales.to(torch.float32)[groups]).T.contiguous()
