"""Turn a GGUF file into a Hugging Face folder: FP32 safetensors, tokenizer, chat template.

A GGUF's weights may have been quantized once; "FP32" then is that model dequantized, not the one it
came from. The model card that is written says so.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import torch
from gguf import GGUFReader
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from greenlight.core.errors import InputError
from greenlight.core.files import folder_in_the_making, require_free_space
from greenlight.ml import progress
from greenlight.ml.verify import describe
from greenlight.quantize.jobs import ConvertGgufSpec, VerifyModelResult

log = logging.getLogger(__name__)

STAGE = "convert"
STEPS = 4
FP32_BYTES = 4
LICENCE_FILES = ("LICENSE", "LICENSE.txt", "LICENSE.md")


def run(spec: ConvertGgufSpec) -> VerifyModelResult:
    """Write the folder and return what loading it showed.

    Raises:
        InputError: the file is missing or isn't a GGUF of a causal language model with a template.
        ResourceError: the disk is too full for the FP32 weights.
    """
    reader = open_gguf(spec.gguf)
    parameters = sum(int(tensor.n_elements) for tensor in reader.tensors)
    require_free_space(spec.output, 2 * FP32_BYTES * parameters, what=f"converting {spec.gguf}")
    progress.report(STAGE, done=1, total=STEPS)
    with folder_in_the_making(spec.output) as folder:
        tokenizer = load_tokenizer(spec.gguf)
        model = load_model(spec.gguf, tied="output.weight" not in {t.name for t in reader.tensors})
        progress.report(STAGE, done=2, total=STEPS)
        save(model, tokenizer, folder)
        write_card(reader, spec.gguf, folder)
        progress.report(STAGE, done=3, total=STEPS)
        del model
        result = describe(folder)
    progress.report(STAGE, done=4, total=STEPS)
    return result


def open_gguf(path: Path) -> GGUFReader:
    """Return a reader of the file's metadata and tensors.

    Raises:
        InputError: the file is missing or its header isn't a GGUF's.
    """
    if not path.is_file():
        raise InputError(f"there is no GGUF file {path}")
    try:
        return GGUFReader(path)
    except (ValueError, IndexError) as error:
        raise InputError(f"{path} is not a readable GGUF file: {error}") from error


def load_tokenizer(path: Path) -> PreTrainedTokenizerBase:
    """Return the file's tokenizer.

    Raises:
        InputError: the file carries no chat template.
    """
    tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    if not tokenizer.chat_template:
        raise InputError(f"{path} carries no chat template, so nobody could chat with the model")
    return tokenizer


def load_model(path: Path, *, tied: bool) -> PreTrainedModel:
    """Return the dequantized model, as if it had never been anything else.

    transformers leaves the file's quantization in the config, and `save_pretrained` would then
    write a config that says GGUF over weights that aren't.
    """
    model = AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32
    )
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.hf_quantizer = None
    model.is_quantized = False
    model.config.tie_word_embeddings = tied
    if tied:
        model.tie_weights()
    return model.eval()


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write weights, config, generation config (greedy, the tokenizer's own ends) and tokenizer."""
    model.config.bos_token_id = tokenizer.bos_token_id
    model.config.eos_token_id = tokenizer.eos_token_id
    model.config.pad_token_id = tokenizer.pad_token_id
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def write_card(reader: GGUFReader, source: Path, folder: Path) -> None:
    """Write the model card from the file's own metadata, and keep a licence that lies beside it."""
    licence = _text(reader, "general.license") or "unknown"
    name = _text(reader, "general.name") or source.stem
    organization = _text(reader, "general.organization") or "unknown"
    folder.joinpath("README.md").write_text(
        f"---\nlicense: {licence}\nlibrary_name: transformers\n---\n\n"
        f"# {name}\n\n"
        f"By {organization}. Converted from `{source.name}` by dequantizing every tensor to FP32: "
        "where the file held fewer bits, these are that file's weights, not the original's.\n"
    )
    for candidate in LICENCE_FILES:
        if source.with_name(candidate).is_file():
            shutil.copyfile(source.with_name(candidate), folder / "LICENSE")
            return


def _text(reader: GGUFReader, key: str) -> str | None:
    found = reader.get_field(key)
    return str(found.contents()) if found is not None else None
