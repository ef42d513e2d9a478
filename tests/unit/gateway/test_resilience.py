from __future__ import annotations

from greenlight.gateway.resilience import Breaker, Circuit, RetryBudget


def breaker() -> Breaker:
    return Breaker(failures=3, open_s=5)


def test_failures_in_a_row_open_the_circuit() -> None:
    found = breaker()
    for _ in range(3):
        assert found.admits(0)
        found.failed(0)
    assert found.state(4.9) is Circuit.OPEN
    assert not found.admits(4.9)
    assert found.wait_s(2) == 3


def test_a_success_between_failures_keeps_it_closed() -> None:
    found = breaker()
    for _ in range(10):
        found.failed(0)
        found.failed(0)
        found.succeeded()
    assert found.state(0) is Circuit.CLOSED


def test_after_a_while_one_request_finds_out() -> None:
    found = breaker()
    for _ in range(3):
        found.failed(0)
    assert found.admits(5)
    assert not found.admits(5)  # the others wait for it
    found.succeeded()
    assert found.admits(5)


def test_a_probe_that_fails_keeps_it_open() -> None:
    found = breaker()
    for _ in range(3):
        found.failed(0)
    assert found.admits(5)
    found.failed(5)
    assert found.state(9.9) is Circuit.OPEN
    assert found.state(10) is Circuit.HALF_OPEN


def test_a_probe_whose_client_left_lets_another_try() -> None:
    found = breaker()
    for _ in range(3):
        found.failed(0)
    assert found.admits(5)
    found.abandoned()
    assert found.admits(5)


def test_retries_are_a_share_of_requests() -> None:
    budget = RetryBudget(share=0.1)
    retried = 0
    for _ in range(1000):
        budget.earn()
        retried += budget.spend()
    assert 100 <= retried <= 101


def test_a_quiet_time_saves_up_no_storm() -> None:
    budget = RetryBudget(share=0.5)
    for _ in range(1000):
        budget.earn()
    assert sum(budget.spend() for _ in range(100)) == 10


def test_no_budget_is_no_retry() -> None:
    budget = RetryBudget(share=0)
    budget.earn()
    assert not budget.spend()
