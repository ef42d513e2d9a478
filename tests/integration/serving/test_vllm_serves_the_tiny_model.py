from __future__ import annotations

from pathlib import Path

import pytest

from greenlight.core.digest import digest_bytes
from greenlight.core.errors import InputError
from greenlight.core.settings import Settings
from greenlight.entrypoints.serving import benchmark
from greenlight.quantize.instructions import instructions
from greenlight.quantize.jobs import Dataset, DatasetKind
from greenlight.quantize.serving import Level, ServingPlan
from greenlight.testing.tiny_model import make_tiny

pytestmark = [pytest.mark.serve, pytest.mark.ml, pytest.mark.timeout(900)]

PLAN = ServingPlan(
    levels=(Level(concurrency=1, requests=2), Level(concurrency=4, requests=4)),
    new_tokens=8,
    warm_up=1,
    max_answers=6,
    answer_tokens=4,
    repeat_answers=2,
    golden_prompts=5,
    golden_tokens=6,
)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


def instruct_set(folder: Path) -> Dataset:
    rows = instructions(per_sort=1, seed=0)
    lines = [row.model_dump_json(by_alias=True, exclude_none=True) for row in rows]
    data = "\n".join(lines).encode()
    path = folder / "instruct.jsonl"
    path.write_bytes(data)
    return Dataset(
        name="instruct",
        version="1",
        kind=DatasetKind.INSTRUCT,
        licence="apache-2.0",
        source="generated",
        rows=len(rows),
        digest=digest_bytes(data),
        path=path,
    )


def test_a_model_served_beside_itself_answers_the_same(settings: Settings, tmp_path: Path) -> None:
    tiny_model = make_tiny(settings, tmp_path / "tiny model", hidden=128)
    report = benchmark(
        settings,
        parent=tiny_model,
        candidate=tiny_model,
        datasets=[instruct_set(tmp_path)],
        log_folder=tmp_path / "logs",
        plan=PLAN,
    )
    found = {metric.name: metric for metric in report.metrics}
    assert found["served_answer_accuracy_change"].value == 0
    assert found["served_length_ratio"].value == pytest.approx(1)
    assert found["served_repeat_equal"].n == 2
    assert found["served_tokens_per_second.4"].value > 0
    assert found["served_rss_bytes"].value > 5e8
    assert 0 < len(report.golden) <= 5
    assert {answer.max_tokens for answer in report.golden} == {6}
    assert (tmp_path / "logs/engine-parent.log").stat().st_size > 0


def test_a_model_that_only_gets_healthy_is_refused_with_the_engines_reason(
    settings: Settings, tmp_path: Path
) -> None:
    narrow = make_tiny(settings, tmp_path / "narrow", hidden=64)
    with pytest.raises(InputError, match="head_dim=16"):
        benchmark(
            settings,
            parent=narrow,
            candidate=narrow,
            datasets=[],
            log_folder=tmp_path / "logs",
            plan=PLAN,
        )
