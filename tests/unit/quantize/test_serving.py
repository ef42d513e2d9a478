from __future__ import annotations

from dataclasses import replace

import pytest

from greenlight.core.errors import InputError
from greenlight.quantize.items import Answer
from greenlight.quantize.measurements import Metric
from greenlight.quantize.serving import (
    GoldenAnswer,
    Part,
    Served,
    ServingPlan,
    Timing,
    golden_answers,
    serving_metrics,
    shares,
)


def timing(prompt: int, *, token_s: float = 0.01, ttft_s: float = 0.1, tokens: int = 11) -> Timing:
    # Every prompt has its own difficulty: pairing must take it out.
    harder = 1 + prompt / 10
    gaps = (token_s * harder,) * (tokens - 1)
    first = ttft_s * harder
    return Timing(
        prompt=prompt, ttft_s=first, gaps_s=gaps, total_s=first + sum(gaps), tokens=tokens
    )


def part(numbers: range, *, concurrency: int = 1, speed: float = 1.0) -> Part:
    timings = tuple(timing(n, token_s=0.01 / speed, ttft_s=0.1 / speed) for n in numbers)
    wall = sum(t.total_s for t in timings) / concurrency
    return Part(concurrency=concurrency, wall_s=wall, cpu_s=2 / speed, timings=timings)


def answer(number: int, *, correct: bool = True, tokens: int = 4, finish: str = "stop") -> Answer:
    return Answer(
        dataset="instruct",
        id=f"i{number}",
        text="x",
        tokens=tokens,
        finish=finish,
        correct=correct,
        repeat_equal=number % 2 == 0 if number < 4 else None,
    )


def served(*, speed: float = 1.0, answers: tuple[Answer, ...] = ()) -> Served:
    parts = (part(range(0, 8), speed=speed), part(range(0, 8), concurrency=4, speed=speed))
    return Served(ready_s=40, rss_bytes=2_000, parts=parts, answers=answers)


def metrics(parent: Served, candidate: Served) -> dict[str, Metric]:
    found = serving_metrics(parent, candidate, seed=1, baseline="parent, served in bfloat16")
    assert len({m.name for m in found}) == len(found)
    return {m.name: m for m in found}


def test_a_candidate_twice_as_fast_has_twice_the_tokens_per_second() -> None:
    found = metrics(served(), served(speed=2))
    ratio = found["served_tokens_per_second_ratio.4"]
    assert ratio.value == pytest.approx(2)
    assert (ratio.low, ratio.high) == (pytest.approx(2), pytest.approx(2))
    assert (ratio.n, ratio.baseline) == (8, "parent, served in bfloat16")
    assert found["served_tokens_per_second.4"].value == pytest.approx(
        2 * found["parent_served_tokens_per_second.4"].value
    )


def test_speed_counts_the_tokens_of_all_requests_over_the_wall_time() -> None:
    parts = (part(range(2)), part(range(2, 4)))
    one = replace(served(), parts=parts)
    wall = sum(p.wall_s for p in parts)
    assert metrics(one, one)["served_tokens_per_second.1"].value == pytest.approx(4 * 11 / wall)


def test_processor_time_is_compared_too_because_it_does_not_depend_on_the_machines_load() -> None:
    slower_machine = tuple(replace(p, wall_s=p.wall_s * 9) for p in served().parts)
    found = metrics(served(), replace(served(speed=0.5), parts=slower_machine))
    assert found["served_cpu_seconds_per_token_ratio.4"].value == pytest.approx(1)
    assert metrics(served(), served(speed=0.5))[
        "served_cpu_seconds_per_token_ratio.4"
    ].value == pytest.approx(2)
    assert found["parent_served_cpu_seconds_per_token.4"].value == pytest.approx(2 / 88)


def test_times_are_medians_and_nineties_with_their_n_and_bounds() -> None:
    found = metrics(served(), served())
    first, tail = found["served_ttft_seconds.1"], found["served_ttft_seconds_p90.1"]
    assert (first.n, first.unit) == (8, "s")
    assert first.value == pytest.approx(0.13)
    assert tail.value == pytest.approx(0.17)
    assert first.low is not None
    assert first.high is not None
    assert first.low < first.value < first.high
    assert found["served_inter_token_seconds.1"].n == 8  # requests, not gaps


def test_memory_and_ready_time_are_reported_for_both() -> None:
    found = metrics(served(), replace(served(), ready_s=30, rss_bytes=1_000))
    assert (found["served_ready_seconds"].value, found["served_rss_bytes"].value) == (30, 1_000)
    assert found["parent_served_rss_bytes"].value == 2_000


def test_lost_answers_lower_the_accuracy_and_the_flips_are_told() -> None:
    before = tuple(answer(n) for n in range(20))
    after = tuple(answer(n, correct=n >= 4, tokens=5) for n in range(20))
    found = metrics(served(answers=before), served(answers=after))
    change = found["served_answer_accuracy_change"]
    assert change.value == pytest.approx(-0.2)
    assert change.low is not None
    assert change.low < -0.2
    assert "4 lost, 0 gained of 20" in change.method
    assert found["served_length_ratio"].value == pytest.approx(1.25)
    assert found["served_finish_stop_change"].value == 0
    assert found["parent_served_answer_accuracy"].value == 1


def test_answers_that_stop_ending_show_in_the_finish_change() -> None:
    before = tuple(answer(n) for n in range(20))
    after = tuple(answer(n, finish="length" if n < 5 else "stop") for n in range(20))
    found = metrics(served(answers=before), served(answers=after))
    assert found["served_finish_stop_change"].value == pytest.approx(-0.25)


def test_repetition_counts_only_the_answers_that_were_repeated() -> None:
    answers = tuple(answer(n) for n in range(20))
    repeated = metrics(served(answers=answers), served(answers=answers))["served_repeat_equal"]
    assert (repeated.value, repeated.n) == (0.5, 4)


def test_without_instructions_there_are_no_answer_metrics_rather_than_zeros() -> None:
    assert not [name for name in metrics(served(), served()) if "answer" in name]


def test_different_prompts_are_refused() -> None:
    fewer = replace(served(), parts=(part(range(0, 7)), part(range(0, 8), concurrency=4)))
    with pytest.raises(InputError, match="16 timed requests and the candidate 15"):
        serving_metrics(served(), fewer, seed=1, baseline="parent")


def test_different_instructions_are_refused() -> None:
    one, other = served(answers=(answer(1),)), served(answers=(answer(2),))
    with pytest.raises(InputError, match="not the same ones"):
        serving_metrics(one, other, seed=1, baseline="parent")


def test_rounds_share_the_requests_and_leave_none_out() -> None:
    assert shares(7, 3) == (range(0, 2), range(2, 4), range(4, 7))
    assert shares(1, 2) == (range(0, 1),)
    plan = ServingPlan()
    for level in plan.levels:
        assert sum(map(len, shares(level.requests, plan.rounds))) == level.requests


def test_only_an_answer_that_no_batch_changes_is_golden() -> None:
    alone = [
        GoldenAnswer(id=f"instruct/{n}", prompt="?", max_tokens=32, text=text)
        for n, text in enumerate(("four", "the sea", " "))
    ]
    assert golden_answers(alone, ["four", "a sea", " "]) == (alone[0],)
