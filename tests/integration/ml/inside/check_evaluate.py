"""Run by the ML environment's own interpreter (it has no pytest): `unittest`, in sentences."""

from __future__ import annotations

import os
import tempfile
import unittest
from pathlib import Path

import numpy as np
import torch

from greenlight.core.errors import ResourceError
from greenlight.ml.dequantize import load_dequantized
from greenlight.ml.evaluate_answers import end_tokens, generate
from greenlight.ml.evaluate_choices import pick
from greenlight.ml.evaluate_text import SHORTEST, cut
from greenlight.ml.kept_logits import KeptReader, KeptWriter
from greenlight.ml.tokens import encode, load_tokenizer
from greenlight.quantize.datasets import ChoiceRow

TINY = Path(os.environ["TINY_LLAMA"])


def questions(count: int) -> list[ChoiceRow]:
    words = ["an old tree", "stone", "the wide river", "cloud over land", "a hill", "sand"]
    return [
        ChoiceRow(id=str(i), question=f"Word {i} means", choices=words[i % 3 : i % 3 + 4], answer=0)
        for i in range(count)
    ]


class Evaluate(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.model, _ = load_dequantized(TINY)
        cls.tokenizer = load_tokenizer(TINY)

    def one_by_one(self, row: ChoiceRow) -> int:
        """The slow and obvious way: one sequence a choice."""
        means = []
        for choice in row.choices:
            question, tail = encode(self.tokenizer, [row.question, f" {choice}"])
            logs = torch.log_softmax(self.model(torch.tensor([question + tail])).logits[0], dim=-1)
            at = range(len(question) - 1, len(question) + len(tail) - 1)
            means.append(np.mean([logs[i, t].item() for i, t in zip(at, tail, strict=True)]))
        return int(np.argmax(means))

    def test_packed_choices_are_picked_as_one_by_one(self) -> None:
        rows = questions(30)
        with torch.inference_mode():
            packed = pick(self.model, self.tokenizer, rows, name="x")["picked"].tolist()
            assert packed == [self.one_by_one(row) for row in rows]

    def test_a_batch_answers_as_one_by_one(self) -> None:
        prompts = encode(self.tokenizer, ["The tree", "A much longer beginning of a text", "x"])
        ends = end_tokens(self.model)
        with torch.inference_mode():
            batch = generate(self.model, prompts, ends=ends, limit=12)
            alone = [generate(self.model, [p], ends=ends, limit=12)[0] for p in prompts]
        assert batch == alone

    def test_generation_stops_at_the_end_token(self) -> None:
        (prompt,) = encode(self.tokenizer, ["The tree"])
        with torch.inference_mode():
            free = generate(self.model, [prompt], ends=frozenset(), limit=6)[0]
            stopped = generate(self.model, [prompt], ends=frozenset({free[2]}), limit=6)[0]
        assert stopped == free[: free.index(free[2]) + 1]

    def test_windows_never_cross_documents_and_short_rests_are_left_out(self) -> None:
        documents = [list(range(300)), list(range(1000, 1000 + SHORTEST - 1))]
        windows = list(cut(documents, 128, 10_000))
        assert [len(w) for w in windows] == [128, 128]
        assert all(token < 300 for window in windows for token in window)

    def test_no_more_tokens_are_taken_than_asked_for(self) -> None:
        assert sum(map(len, cut([list(range(1000))], 128, 300))) == 256

    def test_a_disk_too_small_for_the_log_probabilities_is_refused_before_a_file_is_made(
        self,
    ) -> None:
        folder = Path(tempfile.gettempdir()) / "greenlight-no-such-folder"
        with self.assertRaisesRegex(ResourceError, "notes needs"):  # noqa: PT027 - no pytest there
            KeptWriter(folder, "notes", tokens=10**10, width=49152)
        assert not folder.exists()

    def test_kept_log_probabilities_keep_the_divergence_between_two_distributions(self) -> None:
        draw = torch.Generator().manual_seed(1)
        logs = torch.log_softmax(torch.randn(64, 5000, generator=draw) * 3, dim=-1)
        other = torch.log_softmax(logs + torch.randn(64, 5000, generator=draw) / 20, dim=-1)
        exact = (logs.double().exp() * (logs.double() - other.double())).sum(dim=-1).numpy()
        with tempfile.TemporaryDirectory() as folder:
            KeptWriter(Path(folder), "notes", tokens=64, width=5000).add(logs)
            same, _ = KeptReader(Path(folder), "notes", tokens=64).compare(logs)
            kl, agree = KeptReader(Path(folder), "notes", tokens=64).compare(other)
        assert np.abs(same).max() < 1e-6
        assert np.abs(kl - exact).max() < 1e-4 < exact.mean()
        assert (agree == (logs.argmax(dim=-1) == other.argmax(dim=-1)).numpy()).all()


if __name__ == "__main__":
    unittest.main()
