from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from greenlight.adapters.prompt_tokens import PromptTokens
from greenlight.core.errors import ConfigError, InputError
from greenlight.core.settings import load_settings

TEMPLATE = (
    "{%- if tools %}[tools {{ tools | tojson }}]{% endif %}"
    "{% for message in messages %}"
    "{% if loop.first and messages[0]['role'] != 'system' %}<|s|> system default <|e|>{% endif %}"
    "{% if message.role == 'tool' %}{{ raise_exception('no tools here') }}{% endif %}\n"
    "    {% if message.content == 'skip' %}{% continue %}{% endif %}\n"
    "{{ '<|s|> ' + message['role'] + ' ' + message['content'] | trim + ' <|e|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %} <|s|> assistant {% endif %}"
)
MESSAGES: list[dict[str, Any]] = [
    {"role": "user", "content": 'how are  you , my "friend" <&>'},
    {"role": "user", "content": "skip"},
    {"role": "assistant", "content": "fine\nthank you é 你"},
]
TOOLS = [{"type": "function", "function": {"name": "f", "description": "<é>"}}]


def folder(at: Path, *, template: str | None = TEMPLATE) -> Path:
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(["<|s|>", "<|e|>"])
    tokenizer.save(str(at / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": "[UNK]",
        "bos_token": {"content": "<|s|>", "__type": "AddedToken"},
        "eos_token": "<|e|>",
    }
    if template is not None:
        config["chat_template"] = template
    (at / "tokenizer_config.json").write_text(json.dumps(config))
    return at


def chat(
    at: Path, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None = None
) -> int:
    return asyncio.run(PromptTokens(at).of_chat(messages, tools))


def test_a_chat_counts_with_its_template(tmp_path: Path) -> None:
    # <|s|> system default <|e|> · <|s|> user hi <|e|> · <|s|> assistant
    assert chat(folder(tmp_path), [{"role": "user", "content": "hi"}]) == 10


def test_parts_count_as_their_text(tmp_path: Path) -> None:
    at = folder(tmp_path)
    parts = [{"type": "text", "text": "a b"}, {"type": "text", "text": "c"}]
    assert chat(at, [{"role": "user", "content": parts}]) == chat(
        at, [{"role": "user", "content": "a b\nc"}]
    )


def test_a_long_text_counts_as_a_short_one(tmp_path: Path) -> None:
    tokens = PromptTokens(folder(tmp_path))
    assert asyncio.run(tokens.of_text("word " * 10_000)) == 10_000


def test_what_the_template_refuses_is_the_requests_fault(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no tools here"):
        chat(folder(tmp_path), [{"role": "tool", "content": "x"}])


def test_a_model_without_a_template_cannot_chat(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no chat template"):
        chat(folder(tmp_path, template=None), [{"role": "user", "content": "hi"}])


def test_a_template_reaches_nothing_of_the_process(tmp_path: Path) -> None:
    at = folder(tmp_path, template="{{ messages.__class__.__mro__ }}")
    with pytest.raises(InputError, match="refuses"):
        chat(at, [{"role": "user", "content": "hi"}])


@pytest.mark.parametrize("spoilt", ["tokenizer.json", "tokenizer_config.json"])
def test_a_folder_without_a_tokenizer_is_named(tmp_path: Path, spoilt: str) -> None:
    (folder(tmp_path) / spoilt).write_text("{")
    with pytest.raises(ConfigError, match=str(tmp_path)):
        PromptTokens(tmp_path)


def test_a_template_that_is_none_is_found_when_it_is_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't be compiled"):
        PromptTokens(folder(tmp_path, template="{% for %}"))


@pytest.mark.ml
def test_counts_are_those_of_transformers(tmp_path: Path) -> None:
    at = folder(tmp_path)
    script = (
        "import json,sys; from transformers import AutoTokenizer\n"
        "t=AutoTokenizer.from_pretrained(sys.argv[1]); m,tools=json.loads(sys.argv[2])\n"
        "def n(x): return len(t(t.apply_chat_template(m,tools=x,add_generation_prompt=True,"
        "tokenize=False),add_special_tokens=False)['input_ids'])\n"
        "print(n(None), n(tools))"
    )
    command = [str(load_settings({}).ml_python), "-c", script, str(at)]
    done = subprocess.run(
        [*command, json.dumps([MESSAGES, TOOLS])], capture_output=True, text=True, check=True
    )
    theirs = [int(word) for word in done.stdout.split()]
    assert [chat(at, MESSAGES), chat(at, MESSAGES, TOOLS)] == theirs
