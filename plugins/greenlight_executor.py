"""Airflow's LocalExecutor, whose scheduler always ends when it is told to."""

from __future__ import annotations

from airflow.executors.local_executor import LocalExecutor


class EndingLocalExecutor(LocalExecutor):
    """One that hands every worker its message to end before it looks for workers that have ended.

    Airflow 3.3 does both in one loop. A worker may take the message meant for another one and be
    gone when its own turn comes, so that the other waits for a message, and the scheduler for it,
    for ever; seen at two stops of 26.
    """

    def end(self) -> None:
        """Wait for the running tasks, and for the workers."""
        for _ in self.workers:
            self.activity_queue.put(None)
        super().end()
