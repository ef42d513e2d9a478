"""What a model says to a prompt, greedily: the same every time the same folder is asked.

Weights are dequantized and run in FP32 (`ml.dequantize`), so no kernel has a say, and a prompt is
never padded to the length of another. Rounding can only change a token where two are all but
equally likely. The tokens prove that a folder loads and computes; that every bit of it is there is
for its digest to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from jinja2 import TemplateError
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from greenlight.core.errors import InputError
from greenlight.ml import progress
from greenlight.ml.dequantize import load_model
from greenlight.ml.evaluate_answers import generate
from greenlight.ml.tokens import load_tokenizer
from greenlight.quantize.jobs import GenerateResult, GenerateSpec

STAGE = "generate"
NO_CLOCK = "{% macro strftime_now(format) %}1 January 2024{% endmacro %}"
"""Some templates write the date, and a model answers another day's prompt with other tokens."""


def run(spec: GenerateSpec) -> GenerateResult:
    """Return what followed each prompt.

    Raises:
        InputError: the folder, its tokenizer or its template doesn't load, or it computes something
            that isn't a number.
    """
    torch.set_num_threads(spec.threads)
    chat = load_chat(spec.model)
    model = load_model(spec.model, device=spec.device.value)
    made = []
    with torch.inference_mode():
        for done, prompt in enumerate(spec.prompts, start=1):
            made.append(_continue(model, prompt_tokens(chat, prompt), spec))
            progress.report(STAGE, done=done, total=len(spec.prompts))
    return GenerateResult(
        tokens=tuple(made),
        texts=tuple(chat.decode(tokens, skip_special_tokens=True) for tokens in made),
    )


def load_chat(folder: Path) -> PreTrainedTokenizerBase:
    """Return the tokenizer with its chat template.

    Raises:
        InputError: it doesn't load.
    """
    load_tokenizer(folder)
    try:
        return AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise InputError(f"{folder} has no tokenizer that loads: {error}") from error


def prompt_tokens(chat: PreTrainedTokenizerBase, prompt: str) -> list[int]:
    """Return the prompt as the model is asked: in its chat template, or as it is without one.

    Raises:
        InputError: the template can't be rendered, or nothing is left to ask.
    """
    try:
        tokens = _templated(chat, prompt) if chat.chat_template else chat(prompt)["input_ids"]
    except TemplateError as error:
        raise InputError(
            f"the chat template of {chat.name_or_path} can't be rendered: {error}"
        ) from error
    if not tokens:
        raise InputError(f"the prompt {prompt!r} has no tokens in {chat.name_or_path}")
    return list(tokens)


def _templated(chat: PreTrainedTokenizerBase, prompt: str) -> Sequence[int]:
    found: Sequence[int] = chat.apply_chat_template(
        [{"role": "user", "content": prompt}],
        chat_template=NO_CLOCK + chat.get_chat_template(),
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
    )["input_ids"]
    return found


def _continue(model: PreTrainedModel, prompt: Sequence[int], spec: GenerateSpec) -> tuple[int, ...]:
    """Return the tokens after one prompt.

    Raises:
        InputError: the model computes something that isn't a number; even then one token is the
            likeliest, and always the same one.
    """
    (tokens,) = generate(model, [prompt], ends=frozenset(), limit=spec.new_tokens)
    logits = model(torch.tensor([[*prompt, *tokens]], device=model.device)).logits
    if not bool(torch.isfinite(logits).all()):
        raise InputError(f"{spec.model} loads, but what it computes isn't a finite number")
    return tuple(tokens)
