"""The parent's log-probabilities on disk, so that it runs once for all its candidates.

As in llama.cpp's base file for KL divergence: 16 bits a value, linear between the row's maximum and
its minimum, so a range of 30 nats is kept to 0.0005. A vocabulary of 49 k takes 98 kB a token.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from greenlight.core.errors import InputError
from greenlight.core.files import require_free_space

LEVELS = 65535
CODE_BYTES = 2
SCALE_BYTES = 8
"""Two float32 a row: its maximum and the step."""


class KeptWriter:
    """Writes the rows of one data set, in order."""

    def __init__(self, folder: Path, name: str, *, tokens: int, width: int) -> None:
        """Reserve the files.

        Raises:
            ResourceError: the disk has no room for them. Found out later, it would be a SIGBUS:
                the files are memory-mapped.
        """
        needed = tokens * (width * CODE_BYTES + SCALE_BYTES)
        require_free_space(folder, needed, what=f"keeping the log-probabilities of {name}")
        folder.mkdir(parents=True, exist_ok=True)
        self._codes = np.lib.format.open_memmap(
            folder / f"{name}.codes.npy", mode="w+", dtype=np.uint16, shape=(tokens, width)
        )
        self._rows = np.lib.format.open_memmap(
            folder / f"{name}.scale.npy", mode="w+", dtype=np.float32, shape=(tokens, 2)
        )
        self._at = 0

    def add(self, logs: torch.Tensor) -> None:
        """Append rows of log-probabilities (tokens × vocabulary)."""
        high = logs.amax(dim=-1, keepdim=True)
        step = (high - logs.amin(dim=-1, keepdim=True)) / LEVELS
        codes = torch.round((high - logs) / step.clamp(min=1e-12)).to(torch.int32)
        end = self._at + len(logs)
        self._codes[self._at : end] = codes.cpu().numpy().astype(np.uint16)
        self._rows[self._at : end] = torch.cat([high, step], dim=-1).cpu().numpy()
        self._at = end


class KeptReader:
    """Compares rows with those that were kept, in order."""

    def __init__(self, folder: Path, name: str, *, tokens: int) -> None:
        """Open what a `KeptWriter` wrote.

        Raises:
            InputError: it isn't there, or holds another number of tokens.
        """
        try:
            self._codes = np.load(folder / f"{name}.codes.npy", mmap_mode="r")
            self._rows = np.load(folder / f"{name}.scale.npy")
        except (OSError, ValueError) as error:
            raise InputError(
                f"{folder} holds no log-probabilities of {name} ({error}); measure the parent again"
            ) from error
        if len(self._codes) != tokens:
            raise InputError(
                f"the parent was measured on {len(self._codes)} tokens of {name}, this model on "
                f"{tokens}: another tokenizer or another protocol"
            )
        self._name = name
        self._at = 0

    def compare(self, logs: torch.Tensor) -> tuple[Any, Any]:
        """Return KL(parent ‖ model) in nats, and whether both rank the same token first.

        Raises:
            InputError: the vocabularies differ.
        """
        end = self._at + len(logs)
        codes = torch.from_numpy(np.array(self._codes[self._at : end]).astype(np.float32))
        if codes.shape != logs.shape:
            raise InputError(
                f"{self._name}: the parent knows {codes.shape[1]} tokens, this model "
                f"{logs.shape[1]}"
            )
        rows = torch.from_numpy(self._rows[self._at : end])
        self._at = end
        kept = (rows[:, :1] - codes * rows[:, 1:]).to(logs.device)
        # Rounding leaves a sum that is not quite 1; made 1 again, what is left is of second order.
        parent = torch.log_softmax(kept, dim=-1)
        kl = (parent.exp() * (parent - logs)).sum(dim=-1)
        agree = parent.argmax(dim=-1) == logs.argmax(dim=-1)
        return kl.cpu().numpy().astype(np.float32), agree.cpu().numpy()
