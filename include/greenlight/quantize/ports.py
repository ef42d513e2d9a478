"""What quantizing needs from the outside, named after the need."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from greenlight.core.types import Value
from greenlight.quantize.jobs import Backend, Job, Outcome, Progress

OnProgress = Callable[[Progress], None]


class JobRunner(Protocol):
    """Runs one ML job in a process of its own."""

    def run(
        self,
        job: Job,
        spec: Value,
        *,
        backend: Backend = Backend.GPTQMODEL,
        on_progress: OnProgress | None = None,
    ) -> Outcome:
        """Run `job` and return its outcome.

        Raises:
            GreenlightError: of the very class that the job raised.
            ProcessDiedError: the process ended without an outcome.
        """
