"""The executor's end, with workers that take each other's messages."""

import pytest
from airflow.executors.local_executor import LocalExecutor


class Workers:
    """Idle workers and their queue: the one that waits longest takes the next message, and ends."""

    def __init__(self, waiting):
        self.waiting = list(waiting)

    def put(self, _):
        if self.waiting:
            self.waiting.pop(0)

    def close(self):
        """Nothing is open."""


class Worker:
    def __init__(self, number, workers):
        self.number, self.workers = number, workers

    def is_alive(self):
        return self.number in self.workers.waiting

    def join(self):
        assert not self.is_alive(), f"worker {self.number} waits for ever"

    def close(self):
        """Nothing is open."""


def ended(kind, waiting):
    workers = Workers(waiting)
    executor = kind(parallelism=len(waiting))
    executor._read_results = lambda: None
    executor.workers = {number: Worker(number, workers) for number in sorted(waiting)}
    executor.activity_queue = executor.result_queue = workers
    executor.end()


@pytest.fixture
def ending():
    from greenlight_executor import EndingLocalExecutor

    return EndingLocalExecutor


@pytest.mark.parametrize("waiting", [(1, 2, 3), (3, 1, 2), (2, 3, 1)])
def test_every_worker_ends_whoever_takes_the_message(ending, waiting):
    ended(ending, waiting)


def test_airflows_own_leaves_one_waiting_so_ours_is_needed():
    with pytest.raises(AssertionError, match="worker 2 waits for ever"):
        ended(LocalExecutor, (3, 1, 2))
