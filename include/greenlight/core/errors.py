"""Every error raised on purpose, grouped by what the caller should do next.

* GreenlightError
  + RetryableError       try again later; Airflow's retries apply
    - UnavailableError   a service did not answer
    - ProcessDiedError   a child process ended without an outcome (killed, out of memory)
  + PermanentError       a rerun with the same inputs cannot help; the task fails without retries
    - ConfigError        the operator must change a setting
    - InputError         what was handed in (model, data, file) cannot be used
    - ResourceError      the machine is too small: disk, memory
    - GateError          a quality gate said no, or could not say yes
    - RefusedError       an action that is not allowed, such as using an unapproved digest
      . LostLeaseError   somebody else acts now: leave everything as it is

`core.errors.by_name` finds a class by the name that crossed a process boundary.
"""

from __future__ import annotations


class GreenlightError(Exception):
    """Base class of every error raised on purpose by this project."""


class RetryableError(GreenlightError):
    """A transient failure: the same call may succeed later."""


class UnavailableError(RetryableError):
    """A service did not answer, or answered with its own failure."""


class ProcessDiedError(RetryableError):
    """A child process ended without leaving an outcome."""


class PermanentError(GreenlightError):
    """A failure that a rerun with the same inputs cannot change."""


class ConfigError(PermanentError):
    """A setting is missing, unknown or out of its range."""


class InputError(PermanentError):
    """A model, a data set or a file that was handed in cannot be used."""


class ResourceError(PermanentError):
    """The machine has too little disk or memory for the work."""


class GateError(PermanentError):
    """A quality gate refused, or had too little evidence to let the work continue."""


class RefusedError(PermanentError):
    """An action that is not allowed."""


class LostLeaseError(RefusedError):
    """The right to act has passed to somebody else, who brings things to their end."""


def by_name(name: str) -> type[GreenlightError]:
    """Return the error class called `name`; an unknown name is a `PermanentError`.

    A bug (`KeyError`, `TypeError`) raised in a child process arrives here under its own name:
    running it again would raise it again, so it is permanent.
    """
    found = globals().get(name)
    if isinstance(found, type) and issubclass(found, GreenlightError):
        return found
    return PermanentError
