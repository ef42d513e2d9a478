"""What the prompt becomes, and what is no answer: run by the ML environment's own interpreter."""

# ruff: noqa: PT027 - there is no pytest in that environment
from __future__ import annotations

import os
import shutil
import tempfile
import unittest
from datetime import UTC, datetime
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from greenlight.core.errors import InputError
from greenlight.core.types import JsonDict
from greenlight.ml.__main__ import run_job
from greenlight.ml.generate import load_chat, prompt_tokens

TINY = Path(os.environ["TINY_LLAMA"])


class AFolder(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        shutil.copytree(TINY, self.folder, dirs_exist_ok=True)

    def template(self, text: str) -> None:
        self.folder.joinpath("chat_template.jinja").write_text(text)

    def prompt(self) -> str:
        chat = load_chat(self.folder)
        return str(chat.decode(prompt_tokens(chat, "Hello")))

    def generate(self) -> JsonDict:
        return run_job("generate", {"model": str(self.folder), "prompts": ["Hello"]})


class Prompts(AFolder):
    def test_a_prompt_is_asked_in_the_chat_template(self) -> None:
        assert self.prompt() == "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"

    def test_without_a_template_it_is_asked_as_it_is(self) -> None:
        self.folder.joinpath("chat_template.jinja").unlink()
        assert self.prompt() == "Hello"

    def test_a_template_that_writes_the_date_writes_the_same_one_every_day(self) -> None:
        self.template(
            "{%- set today = strftime_now('%d %B %Y') %}It is {{ today }}."
            "{%- for m in messages %} {{ strftime_now('%Y') }} {{ m['content'] }}{% endfor %}"
        )
        assert self.prompt() == "It is 1 January 2024. 1 January 2024 Hello"
        assert str(datetime.now(UTC).year) not in self.prompt()

    def test_a_broken_template_is_an_error_of_the_input(self) -> None:
        for broken in ("{% for m in messages %}", "{{ raise_exception('no') }}"):
            self.template(broken)
            assert self.generate()["error"] == "InputError", broken

    def test_a_template_that_leaves_nothing_is_an_error_of_the_input(self) -> None:
        self.template("{% if false %}never{% endif %}")
        with self.assertRaisesRegex(InputError, "no tokens"):
            self.prompt()


class Answers(AFolder):
    def test_every_prompt_is_answered_as_if_it_were_alone(self) -> None:
        spec = {"model": str(self.folder), "prompts": ["Hello", "A longer prompt than that"]}
        both = run_job("generate", spec)["result"]
        assert both["tokens"][0] == self.generate()["result"]["tokens"][0]
        assert [len(tokens) for tokens in both["tokens"]] == [16, 16]

    def test_sums_are_split_as_the_spec_says(self) -> None:
        for threads in (2, 1):
            outcome = run_job(
                "generate", {"model": str(self.folder), "prompts": [], "threads": threads}
            )
            assert outcome["ok"]
            assert torch.get_num_threads() == threads


class NoAnswers(AFolder):
    def test_a_model_that_computes_no_number_says_nothing(self) -> None:
        tensors = load_file(self.folder / "model.safetensors")
        tensors["model.norm.weight"].fill_(float("nan"))
        save_file(tensors, self.folder / "model.safetensors", metadata={"format": "pt"})
        outcome = self.generate()
        assert outcome["error"] == "InputError"
        assert "finite" in outcome["message"]

    def test_a_truncated_file_is_an_error_of_the_input(self) -> None:
        for name in ("model.safetensors", "tokenizer.json", "tokenizer_config.json"):
            file = self.folder / name
            whole = file.read_bytes()
            file.write_bytes(whole[: len(whole) // 2])
            assert self.generate()["error"] == "InputError", name
            file.write_bytes(whole)

    def test_a_missing_file_is_an_error_of_the_input(self) -> None:
        for name in ("model.safetensors", "tokenizer.json", "config.json"):
            file = self.folder / name
            whole = file.read_bytes()
            file.unlink()
            assert self.generate()["error"] == "InputError", name
            file.write_bytes(whole)


if __name__ == "__main__":
    unittest.main()
