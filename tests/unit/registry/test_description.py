from dataclasses import dataclass
from datetime import UTC, datetime

from greenlight.core.digest import manifest_of
from greenlight.registry.description import describe_candidate, describe_import
from greenlight.registry.intake import check_folder
from greenlight.testing.model_folders import write_llama


@dataclass
class Metric:
    name: str
    value: float
    unit: str = "ratio"
    n: int = 64
    low: float | None = None
    high: float | None = None


@dataclass
class Result:
    gate: str
    metric: str
    verdict: str = "pass"
    limit: float | None = None


@dataclass
class Recipe:
    name: str = "q4-g32"
    bits: int = 4
    group_size: int = 32


@dataclass
class Parent:
    digest: str = "a" * 64
    dtype: str = "float32"
    uri: str = "models:/smollm2/1"
    bytes: int = 538_000_000


class Candidate:
    digest = "c" * 64
    backend = "gptqmodel"
    bytes = 134_500_000

    def __init__(self, recipe):
        self.recipe = recipe


class Story:
    model = "smollm2"
    parent = Parent()
    digest = "e" * 64
    created_at = datetime(2026, 11, 24, 12, tzinfo=UTC)

    def __init__(self, *, measured=(), results=(), verdict="pass", recipe=None):
        self.measured, self.results, self.verdict = measured, results, verdict
        self.candidate = Candidate(recipe or Recipe())


def rows(text):
    return [line for line in text.splitlines() if line.startswith("| ")][1:]


def test_it_says_how_small_against_which_baseline():
    text = describe_candidate(Story())
    assert "134.5 MB of weight files, −75.0 % against the parent's 538.0 MB in float32" in text
    assert "4 bits in groups of 32, by gptqmodel, from models:/smollm2/1" in text


def test_a_group_of_minus_one_is_a_whole_row():
    assert "whole rows" in describe_candidate(Story(recipe=Recipe(group_size=-1)))


def test_every_number_comes_with_its_interval_and_n():
    text = describe_candidate(
        Story(
            measured=[Metric("ppl", 1.0312, low=1.02, high=1.0449)],
            results=[Result("perplexity", "ppl", limit=1.05)],
        )
    )
    assert rows(text) == ["| perplexity: ppl | 1.031 | 1.02 to 1.045 | 64 | 1.05 | ✔ pass |"]


def test_what_was_not_measured_is_said_and_never_zero():
    text = describe_candidate(Story(results=[Result("kl", "kl_mean", verdict="insufficient")]))
    assert rows(text) == ["| kl: kl_mean | not measured |  |  |  | ? not enough data |"]


def test_an_open_interval_says_so():
    text = describe_candidate(
        Story(measured=[Metric("top1", 0.9, low=0.88)], results=[Result("top-1", "top1")])
    )
    assert "0.88 to ∞" in text


def test_the_tally_counts_each_verdict():
    results = [Result("a", "x"), Result("b", "x", "fail"), Result("c", "x", "insufficient")]
    text = describe_candidate(Story(results=results, verdict="fail"))
    assert "**Verdict: ✘ fail**, 1 of 3 gates passed, 1 failed, 1 had too little data" in text


def test_it_says_what_an_approval_is_bound_to():
    text = describe_candidate(Story())
    assert f"digest `{'c' * 12}`" in text
    assert f"evidence `{'e' * 12}`" in text
    assert "greenlight approvals approve smollm2" in text


def test_an_import_says_that_nobody_measured_it(tmp_path):
    folder = write_llama(tmp_path / "m")
    report = check_folder(folder, known_architectures=["LlamaForCausalLM"], licences=["apache-2.0"])
    text = describe_import(report, name="smollm2", source="folder:m", manifest=manifest_of(folder))
    assert "Nobody measured it yet" in text
    assert "Licence apache-2.0 (README.md says so)" in text
