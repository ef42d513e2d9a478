"""The evaluate job on a tiny model: what it writes is what the statistics assume."""

import json

import numpy as np
import pytest

from greenlight.core.digest import digest_bytes
from greenlight.core.errors import InputError
from greenlight.quantize.compare import compare
from greenlight.quantize.datasets import to_jsonl
from greenlight.quantize.instructions import instructions
from greenlight.quantize.items import read_items
from greenlight.quantize.jobs import Dataset, DatasetKind, EvaluateSpec, Job, Protocol
from greenlight.quantize.recipes import Recipe

pytestmark = pytest.mark.ml

PROTOCOL = Protocol(
    window=64, max_tokens_per_set=640, max_choice_items=12, max_answers=4, max_new_tokens=8
)


@pytest.fixture(scope="module")
def sets(settings, calibration):
    from greenlight.quantize.datasets import ChoiceRow

    words = ["tree", "stone", "river", "cloud", "a very long answer of many words"]
    choices = [
        ChoiceRow(
            id=f"{i}", question=f"Item {i} means", answer=i % 4, choices=[*words[i % 2 : i % 2 + 4]]
        )
        for i in range(12)
    ]
    return (
        calibration,
        a_set(settings.home, "choices", DatasetKind.CHOICE, choices),
        a_set(settings.home, "answers", DatasetKind.INSTRUCT, instructions(per_sort=1, seed=1)[:4]),
    )


def a_set(folder, name, kind, rows):
    data = to_jsonl(rows)
    path = folder / f"{name}.jsonl"
    path.write_bytes(data)
    return Dataset(
        name=name, version="1", kind=kind, licence="mit", source="test", rows=len(rows),
        digest=digest_bytes(data), path=path,
    )  # fmt: skip


@pytest.fixture(scope="module")
def parent(runner, settings, tiny, sets):
    spec = EvaluateSpec(
        model=tiny, output=settings.home / "parent", datasets=sets, protocol=PROTOCOL,
        keep_logits=True,
    )  # fmt: skip
    runner.run(Job.EVALUATE, spec)
    return spec.output


@pytest.fixture(scope="module")
def again(runner, settings, tiny, sets, parent):
    spec = EvaluateSpec(
        model=tiny, output=settings.home / "again", datasets=sets, protocol=PROTOCOL, parent=parent
    )
    runner.run(Job.EVALUATE, spec)
    return spec.output


def test_a_model_does_not_differ_from_itself(parent, again):
    before, after = read_items(parent), read_items(again)
    assert np.abs(after.kl["topics"]).max() < 2e-6
    assert after.agree["topics"].mean() > 0.999
    assert np.allclose(before.nll["topics"], after.nll["topics"], atol=1e-5)
    assert (before.picked["choices"] == after.picked["choices"]).all()
    assert before.answers == after.answers
    values = {m.name: m.value for m in compare(before, after, seed=1)}
    assert values["perplexity_ratio.topics"] == pytest.approx(1, abs=1e-4)


def test_greedy_answers_repeat_and_say_how_they_ended(parent):
    answers = read_items(parent).answers
    assert len(answers) == 4
    assert all(answer.repeat_equal for answer in answers)
    assert {answer.finish for answer in answers} <= {"stop", "length"}


def test_rounding_to_three_bits_moves_a_model_further_than_to_eight(
    runner, settings, tiny, sets, parent
):
    moved = {}
    for bits in (3, 8):
        spec = EvaluateSpec(
            model=tiny, output=settings.home / f"rtn{bits}", datasets=sets[:1], protocol=PROTOCOL,
            parent=parent, round_to=Recipe(name="rtn", bits=bits),
        )  # fmt: skip
        runner.run(Job.EVALUATE, spec)
        moved[bits] = read_items(spec.output).kl["topics"].mean()
    assert moved[3] > 20 * moved[8] > 0


def test_another_protocol_than_the_parents_is_refused(runner, settings, tiny, sets, parent):
    spec = EvaluateSpec(
        model=tiny, output=settings.home / "other", datasets=sets[:1], parent=parent,
        protocol=PROTOCOL.model_copy(update={"max_tokens_per_set": 320}),
    )  # fmt: skip
    with pytest.raises(InputError, match="another tokenizer or another protocol"):
        runner.run(Job.EVALUATE, spec)
    assert not spec.output.exists()


def test_an_edited_data_set_is_refused(runner, settings, tiny, sets, parent):
    edited = settings.home / "edited.jsonl"
    edited.write_text(sets[0].path.read_text() + json.dumps({"id": "x", "text": "more"}) + "\n")
    changed = sets[0].model_copy(update={"path": edited})
    spec = EvaluateSpec(
        model=tiny, output=settings.home / "e", datasets=(changed,), protocol=PROTOCOL
    )
    with pytest.raises(InputError, match="digest"):
        runner.run(Job.EVALUATE, spec)
