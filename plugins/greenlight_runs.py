"""How our pages start a run inside the API server: as Airflow's own API does, without a log-in."""

from __future__ import annotations

from typing import Any


def start_run(
    dag_id: str,
    *,
    run_id: str,
    conf: dict[str, Any],
    by: str,
    note: str | None = None,
    way: str = "UI",
) -> bool:
    """Queue a run in somebody's name; return false when one of this id is there already.

    `way`: a member of Airflow's `DagRunTriggeredByType`.

    Raises:
        UnavailableError: Airflow has not parsed the DAG yet.
        InputError: a value of `conf` is not allowed.
    """
    from airflow.api.common.trigger_dag import trigger_dag
    from airflow.exceptions import DagNotFound, DagRunAlreadyExists
    from airflow.sdk.exceptions import ParamValidationError
    from airflow.utils.types import DagRunTriggeredByType
    from sqlalchemy.exc import IntegrityError

    from greenlight.core.errors import InputError, UnavailableError

    try:
        trigger_dag(
            dag_id,
            run_id=run_id,
            conf=conf,
            triggered_by=DagRunTriggeredByType[way],
            triggering_user_name=by,
            note=note,
        )
    except (DagRunAlreadyExists, IntegrityError):  # the second: two at the same instant
        return False
    except DagNotFound as error:
        raise UnavailableError(f"Airflow doesn't know {dag_id} yet: {error}") from error
    except (ParamValidationError, ValueError) as error:
        raise InputError(f"Airflow doesn't start {dag_id}: {error}") from error
    return True
