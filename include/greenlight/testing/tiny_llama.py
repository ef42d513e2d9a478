"""Make a tiny random Llama: `python -m greenlight.testing.tiny_llama FOLDER LAYERS HIDDEN`.

Run by an interpreter of the ML environment (`tiny_model.make_tiny`). It has what a real model has
(a tokenizer trained on the spot, a chat template, a generation config, a tied embedding, FP32
safetensors, a licence), its inputs divide by 32, and it is the same every time.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

INTERMEDIATE, VOCABULARY, CONTEXT = 128, 512, 512
ROPE_THETA = 50000.0
"""Not the default: a reader that loses it computes something else."""

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def make(folder: Path, *, layers: int, hidden: int) -> None:
    """Write the model into `folder`, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_tokenizer(folder)
    _write_model(folder, layers=layers, hidden=hidden)
    folder.joinpath("README.md").write_text("---\nlicense: apache-2.0\n---\n\n# Tiny Llama\n")


def text() -> str:
    """Return some 100 kB of English that every Python carries."""
    from pydoc_data.topics import topics

    return "\n".join(topics[key] for key in sorted(topics))[:100_000]


def _write_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([text()], trainer)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=SPECIAL[1],
        eos_token=SPECIAL[2],
        pad_token=SPECIAL[2],
        unk_token=SPECIAL[0],
        chat_template=TEMPLATE,
        model_max_length=CONTEXT,
    )
    wrapped.save_pretrained(folder)


def _write_model(folder: Path, *, layers: int, hidden: int) -> None:
    import torch
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=hidden,
        intermediate_size=INTERMEDIATE,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        rope_parameters={"rope_type": "default", "rope_theta": ROPE_THETA},
        initializer_range=0.2,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(bos_token_id=1, eos_token_id=2, pad_token_id=2)
    model.save_pretrained(folder)
    values = json.loads(folder.joinpath("config.json").read_text())
    assert values["rope_parameters"]["rope_theta"] == ROPE_THETA


if __name__ == "__main__":
    make(Path(sys.argv[1]), layers=int(sys.argv[2]), hidden=int(sys.argv[3]))
