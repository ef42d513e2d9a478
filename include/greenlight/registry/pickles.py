"""Find pickled Python objects: loading one runs whatever code its author wrote.

A name proves nothing, so the content is looked at too: the magic bytes of pickle protocols 2 to 5,
archives as `torch.save` writes them (zip, and tar before that), and protocols 0 and 1, which are
plain text, by reading their opcodes without executing any.
"""

from __future__ import annotations

import pickletools
import tarfile
from pathlib import Path

SUFFIXES = frozenset(
    {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".dill", ".npy"}
)
ZIP = b"PK\x03\x04"
PROTOCOLS = frozenset({2, 3, 4, 5})
TEXT_LIMIT = 4 << 20
"""Bytes of a file that are searched for a protocol 0 or 1 pickle."""
CALLS = frozenset({"GLOBAL", "INST", "OBJ", "REDUCE", "STACK_GLOBAL", "NEWOBJ", "NEWOBJ_EX"})


def why_pickle(path: Path) -> str | None:
    """Return why a file counts as a pickle, or `None`."""
    if path.suffix.lower() in SUFFIXES:
        return f"files ending in {path.suffix} hold Python objects whose loading runs code"
    with path.open("rb") as file:
        head = file.read(TEXT_LIMIT)
    if len(head) > 2 and head[0] == 0x80 and head[1] in PROTOCOLS and head[2] != 0:
        return f"its content is a Python pickle (protocol {head[1]})"
    if head.startswith(ZIP):
        return "its content is a zip archive, as torch.save writes it"
    if head[257:262] == b"ustar" and tarfile.is_tarfile(path):
        return "its content is a tar archive, as old versions of torch.save wrote it"
    if _is_text_pickle(head):
        return "its content is a Python pickle (protocol 0 or 1)"
    return None


def _is_text_pickle(head: bytes) -> bool:
    """Tell whether the bytes are opcodes up to a STOP, and make a call among them.

    Prose may start with letters that are opcodes, but ends in an error long before it calls.
    """
    calls = False
    try:
        for opcode, _, _ in pickletools.genops(head):
            calls = calls or opcode.name in CALLS
    except (ValueError, UnicodeDecodeError, IndexError):
        return False
    return calls
