"""Run by the ML environment's own interpreter (it has no pytest): `unittest`, in sentences."""

# ruff: noqa: PT027 - there is no pytest in that environment
from __future__ import annotations

import json
import os
import shutil
import tempfile
import unittest
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from greenlight.core.digest import digest_file
from greenlight.core.errors import ConfigError, InputError
from greenlight.ml.__main__ import run_job
from greenlight.ml.configs import legacy_layout
from greenlight.ml.dequantize import load_model
from greenlight.ml.linears import Decision, dynamic_rules, linears_of, plan_of
from greenlight.ml.packing import dequantize, unpack
from greenlight.ml.rounding import round_, round_weights_
from greenlight.ml.tokens import draw_windows
from greenlight.quantize.recipes import ModuleRule, Recipe

TINY = Path(os.environ["TINY_LLAMA"])


def pack(values: torch.Tensor, bits: int) -> torch.Tensor:
    """The slow and obvious way: one long integer, cut into words."""
    rows, columns = values.shape
    words = torch.zeros((rows * bits // 32, columns), dtype=torch.int64)
    for column in range(columns):
        number = sum(int(v) << (bits * i) for i, v in enumerate(values[:, column]))
        for word in range(words.shape[0]):
            words[word, column] = (number >> (32 * word)) & 0xFFFFFFFF
    return torch.where(words >= 2**31, words - 2**32, words).to(torch.int32)


class Packing(unittest.TestCase):
    def test_unpacking_returns_what_was_packed_at_every_width(self) -> None:
        for bits in (3, 4, 8):
            values = torch.randint(2**bits, (64, 5), generator=torch.Generator().manual_seed(bits))
            assert torch.equal(unpack(pack(values, bits), bits), values), bits

    def test_words_that_hold_no_whole_integers_are_refused(self) -> None:
        with self.assertRaises(InputError):
            unpack(torch.zeros((4, 2), dtype=torch.int32), 3)

    def test_a_weight_is_scale_times_integer_minus_zero_point_of_its_group(self) -> None:
        values = torch.arange(64).reshape(64, 1).repeat(1, 32) % 16
        zeros = torch.full((2, 32), 8)
        scales = torch.tensor([[0.5], [2.0]]).repeat(1, 32)
        packed_zeros = pack((zeros - 1).T.contiguous(), 4).T.contiguous()
        g_idx = torch.arange(64, dtype=torch.int32) // 32
        found = dequantize(pack(values, 4), packed_zeros, scales, g_idx)
        wanted = (values - 8) * torch.tensor([0.5] * 32 + [2.0] * 32)[:, None]
        assert torch.equal(found, wanted.T.float())


class Rounding(unittest.TestCase):
    def test_every_group_keeps_at_most_its_number_of_levels(self) -> None:
        for symmetric in (True, False):
            weight = torch.randn(8, 64, generator=torch.Generator().manual_seed(0))
            before = weight.clone()
            round_(weight, Decision(bits=3, group_size=32), symmetric=symmetric)
            levels = [len(g.unique()) for g in weight.reshape(-1, 32)]
            assert max(levels) <= 8
            step = (before.reshape(-1, 32).amax(1) - before.reshape(-1, 32).amin(1)) / 7
            assert (weight - before).abs().max() <= 1.5 * step.max()

    def test_more_bits_lose_less(self) -> None:
        weight = torch.randn(8, 64, generator=torch.Generator().manual_seed(0))
        losses = []
        for bits in (3, 4, 8):
            rounded = weight.clone()
            round_(rounded, Decision(bits=bits, group_size=32), symmetric=True)
            losses.append(float((rounded - weight).square().sum()))
        assert losses == sorted(losses, reverse=True)

    def test_rules_and_embedding_are_honoured(self) -> None:
        recipe = Recipe(
            name="x",
            bits=4,
            embedding_bits=8,
            modules=(ModuleRule(match=("qkv",), bits=16, layers=(0,)),),
        )
        plain, rounded = load_model(TINY), load_model(TINY)
        round_weights_(rounded, recipe)
        same = {
            name
            for name, weight in rounded.named_parameters()
            if torch.equal(weight, plain.get_parameter(name))
        }
        linears = {name.removesuffix(".weight") for name in same if "_proj" in name}
        assert linears == {f"model.layers.0.self_attn.{kind}_proj" for kind in "qkv"}
        assert "model.embed_tokens.weight" not in same
        assert rounded.lm_head.weight is rounded.model.embed_tokens.weight


class Plans(unittest.TestCase):
    def test_patterns_exclude_each_other_and_name_whole_fused_groups(self) -> None:
        recipe = Recipe(
            name="x",
            bits=4,
            modules=(
                ModuleRule(match=("v_proj",), bits=8, layers=(1,)),
                ModuleRule(match=("qkv",), bits=16),
            ),
        )
        linears = linears_of(TINY)
        rules = dynamic_rules(recipe, linears, plan_of(recipe, linears))
        assert rules == {
            r"-:^model\.layers\.(0)\.self_attn\.(k_proj|q_proj|v_proj|qkv_proj)$": {},
            r"-:^model\.layers\.(1)\.self_attn\.(k_proj|q_proj)$": {},
            r"+:^model\.layers\.(1)\.self_attn\.(v_proj)$": {"bits": 8, "group_size": 32},
        }


class Loading(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        shutil.copytree(TINY, self.folder, dirs_exist_ok=True)

    def change(self, change: object) -> None:
        tensors = load_file(self.folder / "model.safetensors")
        change(tensors)  # type: ignore[operator]
        save_file(tensors, self.folder / "model.safetensors", metadata={"format": "pt"})

    def test_a_missing_weight_is_an_error_and_not_a_random_number(self) -> None:
        self.change(lambda tensors: tensors.pop("model.layers.1.mlp.up_proj.weight"))
        with self.assertRaisesRegex(InputError, "up_proj"):
            load_model(self.folder)

    def test_a_weight_left_over_is_an_error(self) -> None:
        self.change(lambda tensors: tensors.update({"stray.weight": torch.zeros(2)}))
        with self.assertRaisesRegex(InputError, "stray"):
            load_model(self.folder)

    def test_a_model_that_computes_no_number_does_not_verify(self) -> None:
        self.change(lambda tensors: tensors["model.norm.weight"].fill_(float("nan")))
        outcome = run_job("verify_model", {"model": str(self.folder)})
        assert outcome["error"] == "InputError"
        assert "finite" in outcome["message"]

    def test_a_truncated_file_is_an_error_of_the_input(self) -> None:
        file = self.folder / "model.safetensors"
        file.write_bytes(file.read_bytes()[:1000])
        outcome = run_job("verify_model", {"model": str(self.folder)})
        assert outcome["error"] == "InputError"

    def test_the_rotary_base_survives_the_older_layout(self) -> None:
        values = json.loads(self.folder.joinpath("config.json").read_text())
        assert legacy_layout(values)["rope_theta"] == 50000.0
        values["rope_parameters"]["rope_type"] = "yarn"
        with self.assertRaises(ConfigError):
            legacy_layout(values)


class Jobs(unittest.TestCase):
    def test_an_unknown_job_is_a_configuration_error(self) -> None:
        assert run_job("no-such-job", {})["error"] == "ConfigError"

    def test_a_spec_that_does_not_fit_is_a_configuration_error(self) -> None:
        assert run_job("verify_model", {"modell": "/x"})["error"] == "ConfigError"

    def test_a_missing_gguf_is_an_error_of_the_input(self) -> None:
        spec = {"gguf": "/no/such.gguf", "output": "/no/such"}
        assert run_job("convert_gguf", spec)["error"] == "InputError"


class Refusals(unittest.TestCase):
    """What cannot work is refused before any work, and leaves nothing."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.text = self.folder / "text.jsonl"
        self.text.write_text(json.dumps({"id": "1", "text": "some words " * 500}) + "\n")

    def refusal_of(self, *, model: Path = TINY, **recipe: object) -> tuple[str, str]:
        calibration = {
            "name": "words",
            "version": "1",
            "kind": "text",
            "licence": "none",
            "source": "here",
            "rows": 1,
            "digest": digest_file(self.text),
            "path": str(self.text),
        }
        values = {"name": "x", "bits": 4, "samples": 2, "sample_tokens": 64} | recipe
        target = self.folder / "target"
        spec = {
            "model": str(model),
            "output": str(target),
            "recipe": values,
            "calibration": calibration,
        }
        outcome = run_job("quantize", spec)
        assert not outcome["ok"]
        assert list(self.folder.iterdir()) == [self.text]
        return outcome["error"], outcome["message"]

    def test_an_eight_bit_embedding(self) -> None:
        error, message = self.refusal_of(embedding_bits=8)
        assert error == "ConfigError"
        assert "embedding_bits 8" in message

    def test_a_group_size_that_does_not_divide(self) -> None:
        error, message = self.refusal_of(group_size=128)
        assert error == "ConfigError"
        assert "128 doesn't divide the 64 inputs" in message

    def test_a_rule_that_matches_nothing(self) -> None:
        error, message = self.refusal_of(modules=[{"match": ["qvk"], "bits": 8}])
        assert error == "ConfigError"
        assert "qvk decides nothing" in message

    def test_too_little_text(self) -> None:
        error, message = self.refusal_of(samples=4096)
        assert error == "InputError"
        assert "4096 samples of 64 tokens (262144)" in message

    def test_an_empty_calibration_set(self) -> None:
        self.text.write_text("")
        error, message = self.refusal_of()
        assert error == "InputError"
        assert "holds 0 tokens" in message

    def test_a_model_that_is_not_there(self) -> None:
        error, message = self.refusal_of(model=Path("/no/such/model"))
        assert error == "InputError"
        assert "/no/such/model" in message

    def test_a_recipe_key_nobody_knows(self) -> None:
        error, message = self.refusal_of(bitz=4)
        assert error == "ConfigError"
        assert "bitz" in message


class Windows(unittest.TestCase):
    def test_windows_never_overlap_and_follow_the_seed(self) -> None:
        stream = list(range(1000))
        first = draw_windows(stream, count=9, length=100, seed=1)
        assert len({token for window in first for token in window}) == 900
        assert first == draw_windows(stream, count=9, length=100, seed=1)
        assert first != draw_windows(stream, count=9, length=100, seed=2)

    def test_a_text_that_just_suffices_is_used_whole(self) -> None:
        found = draw_windows(list(range(40)), count=4, length=10, seed=3)
        assert sorted(token for window in found for token in window) == list(range(40))


if __name__ == "__main__":
    unittest.main()
