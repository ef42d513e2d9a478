import dataclasses
import math

import numpy as np
import pytest
from quantize_worlds import answer, items

from greenlight.core.errors import InputError
from greenlight.quantize.compare import compare


def by_name(parent, candidate, **kwargs):
    return {m.name: m for m in compare(parent, candidate, seed=1, **kwargs)}


def test_a_model_compared_with_itself_has_lost_nothing():
    found = by_name(items(), items())
    assert found["perplexity_ratio.handbook"].value == 1.0
    assert found["perplexity_ratio.handbook"].high == 1.0
    assert found["kl_mean.wordnet"].value == pytest.approx(0, abs=1e-9)
    assert found["top1_agreement.wordnet"].value == 1.0
    assert found["choice_accuracy_change.quiz"].value == 0.0
    assert found["choice_flips.quiz"].value == 0.0
    assert found["answer_length_ratio.tasks"].value == 1.0
    assert found["repeat_equal.tasks"].value == 1.0
    assert found["non_finite_scores.handbook"].value == 0


def test_a_loss_is_found_within_its_bounds():
    found = by_name(items(), items(loss=0.05, kl=0.06, disagree=0.1, flips=0.12, choice_loss=0.04))
    ratio = found["perplexity_ratio.handbook"]
    assert ratio.low < math.exp(0.05) < ratio.high
    assert found["perplexity.handbook"].value == pytest.approx(
        found["parent_perplexity.handbook"].value * ratio.value
    )
    assert found["choice_accuracy_change.quiz"].value == pytest.approx(-0.04)
    assert "80 lost, 40 gained of 1000" in found["choice_accuracy_change.quiz"].method
    assert found["choice_accuracy_recovery.quiz"].value == pytest.approx(
        found["choice_accuracy.quiz"].value / found["parent_choice_accuracy.quiz"].value
    )
    assert found["kl_mean.handbook"].value < found["kl_p99.handbook"].value
    assert found["kl_p99.handbook"].value < found["kl_p999.handbook"].value


def test_every_ratio_and_difference_names_its_baseline():
    found = by_name(items(), items(loss=0.01, kl=0.01), baseline="parent fp32")
    for name, metric in found.items():
        if "ratio" in name or "change" in name or "kl" in name or "recovery" in name:
            assert metric.baseline == "parent fp32", name


def test_a_set_more_or_less_changes_no_other_number():
    parent, candidate = items(), items(loss=0.02, kl=0.02)

    def without(world):
        kept = {
            kind: {"wordnet": getattr(world, kind)["wordnet"]}
            for kind in ("nll", "block", "kl", "agree")
        }
        return dataclasses.replace(world, **kept)

    everything, less = by_name(parent, candidate), by_name(without(parent), without(candidate))
    assert less["perplexity_ratio.wordnet"] == everything["perplexity_ratio.wordnet"]


def test_scores_that_are_not_numbers_are_counted_and_yield_nothing_else():
    broken = items(loss=0.02, kl=0.02)
    broken.nll["handbook"][:3] = np.nan
    broken.kl["handbook"][3] = np.inf
    found = by_name(items(), broken)
    assert found["non_finite_scores.handbook"].value == 4
    assert "perplexity_ratio.handbook" not in found
    assert "perplexity_ratio.wordnet" in found


def test_a_wrecked_models_perplexity_stays_finite():
    assert math.isfinite(by_name(items(), items(loss=5000.0))["perplexity.handbook"].value)


def test_a_parent_with_broken_scores_is_refused():
    parent = items()
    parent.nll["handbook"][0] = np.nan
    with pytest.raises(InputError, match="handbook: the parent's scores are not finite"):
        compare(parent, items(), seed=1)


def test_without_the_parents_logits_there_is_no_divergence_rather_than_zero():
    candidate = dataclasses.replace(items(loss=0.01), kl={}, agree={})
    assert not [name for name in by_name(items(), candidate) if name.startswith(("kl", "top1"))]


def test_answers_generated_once_say_nothing_about_determinism():
    once = tuple(answer(i, correct=i % 2 == 0, repeat_equal=None) for i in range(100))
    assert "repeat_equal.tasks" not in by_name(items(), dataclasses.replace(items(), answers=once))


def test_longer_answers_that_run_into_the_limit_are_seen():
    rambling = tuple(answer(i, tokens=40, finish="length") for i in range(100))
    found = by_name(items(), dataclasses.replace(items(), answers=rambling))
    assert found["answer_length_ratio.tasks"].value == 2.0
    assert found["finish_stop_change.tasks"].value == -1.0


def test_other_windows_cannot_be_paired():
    with pytest.raises(InputError, match="handbook: block differs"):
        compare(items(), items(windows=30), seed=1)


def test_other_sets_cannot_be_paired():
    candidate = items()
    del candidate.block["handbook"]
    with pytest.raises(InputError, match="measure both with the same data sets"):
        compare(items(), candidate, seed=1)


def test_other_questions_cannot_be_paired():
    candidate = items()
    candidate.gold["quiz"][0] += 1
    with pytest.raises(InputError, match="quiz: gold differs"):
        compare(items(), candidate, seed=1)


def test_other_prompts_cannot_be_paired():
    candidate = dataclasses.replace(items(), answers=items().answers[::-1])
    with pytest.raises(InputError, match="not the same ones"):
        compare(items(), candidate, seed=1)
