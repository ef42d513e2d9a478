import itertools

import pytest
from pydantic import ValidationError

from greenlight.scaling.reactive import Bounds, ReactiveSettings, Recommendation, Signal, decide

TOKENS, QUEUE, KV = Signal.TOKENS, Signal.QUEUE, Signal.KV_CACHE


def after(
    averages,
    *,
    ready=10,
    starting=0,
    low=1,
    high=100,
    unseen=0,
    window=(),
    now=1000.0,
    targets=None,
    **more,
):
    settings = ReactiveSettings(targets=targets or {TOKENS: 100.0}, **more)
    return decide(
        averages,
        ready=ready,
        starting=starting,
        bounds=Bounds(minimum=low, maximum=high, unseen=unseen),
        window=window,
        now=now,
        settings=settings,
    )


@pytest.mark.parametrize(
    ("average", "hosts"),
    [(150, 15), (111, 12), (110, 10), (100, 10), (90, 10), (89, 9), (50, 5), (1, 1), (0, 1)],
)
def test_hosts_follow_the_published_rule_with_its_tolerance(average, hosts):
    assert after({TOKENS: average}).desired == hosts


def test_going_down_takes_the_most_of_the_last_five_minutes():
    past = (Recommendation(at=600.0, hosts=9), Recommendation(at=800.0, hosts=8))
    found = after({TOKENS: 50.0}, window=past)
    assert found.desired == 8
    assert [r.hosts for r in found.window] == [8, 5]
    assert after({TOKENS: 50.0}, window=found.window, now=1101.0).desired == 5


def test_going_up_does_not_wait():
    past = (Recommendation(at=999.0, hosts=3),)
    assert after({TOKENS: 200.0}, window=past).desired == 20


def test_hosts_that_are_starting_count_as_idle_on_the_way_up():
    assert after({TOKENS: 200.0}, ready=10, starting=10).desired == 20
    assert after({TOKENS: 300.0}, ready=10, starting=10).desired == 30
    assert after({TOKENS: 150.0}, ready=10, starting=10).desired == 20


@pytest.mark.parametrize("average", [None, float("nan"), -1.0])
def test_a_missing_metric_leaves_hosts_alone(average):
    found = after({TOKENS: average})
    assert (found.desired, found.held) == (10, True)
    assert "missing" in found.why


def test_a_metric_that_nobody_sent_is_missing():
    assert after({}).held


def test_missing_metrics_never_scale_down_whatever_the_window_and_the_ceiling_say():
    low = tuple(Recommendation(at=at, hosts=1) for at in (700.0, 800.0, 900.0))
    assert after({TOKENS: None}, window=low, high=4).desired == 10
    assert after({TOKENS: 10.0, KV: None}, targets={TOKENS: 100.0, KV: 0.8}).desired == 10


def test_a_missing_metric_does_not_stop_another_that_asks_for_more():
    found = after({TOKENS: 200.0, KV: None}, targets={TOKENS: 100.0, KV: 0.8})
    assert (found.desired, found.held) == (20, False)


def test_while_nothing_is_measured_the_schedule_raises_to_its_plan():
    assert after({TOKENS: None}, low=2, unseen=14).desired == 14
    assert after({TOKENS: None}, low=12).desired == 12
    assert after({TOKENS: None}, unseen=14, high=12).desired == 12


def test_after_a_gap_five_more_minutes_pass_before_hosts_go():
    held = after({TOKENS: None})
    assert after({TOKENS: 10.0}, window=held.window, now=1060.0).desired == 10


def test_no_host_that_answers_is_no_measurement():
    assert after({TOKENS: 0.0}, ready=0, starting=3).desired == 3


def test_the_largest_of_several_metrics_counts():
    found = after({TOKENS: 50.0, KV: 0.96}, targets={TOKENS: 100.0, KV: 0.8})
    assert found.desired == 12


def test_the_schedule_bounds_the_loop():
    assert after({TOKENS: 10.0}, low=4).desired == 4
    assert after({TOKENS: 900.0}, high=30).desired == 30


def test_a_queue_alone_is_refused():
    with pytest.raises(ValidationError, match="alone makes a fleet swing"):
        ReactiveSettings(targets={QUEUE: 5.0})
    ReactiveSettings(targets={QUEUE: 5.0, TOKENS: 100.0})


def test_no_answer_leaves_the_bounds_while_everything_is_measured():
    for average, ready, starting in itertools.product((0, 30, 99, 250), (1, 5, 20), (0, 4)):
        found = after({TOKENS: float(average)}, ready=ready, starting=starting, low=3, high=12)
        assert 3 <= found.desired <= 12
