"""Where MLflow tells Airflow of aliases and tags: they start the deploy, once, or are refused.

The signature in the headers is the log-in. What is decided, and why, is in
`greenlight.entrypoints.review`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.plugins_manager import AirflowPlugin

from greenlight_runs import start_run

if TYPE_CHECKING:
    from fastapi import FastAPI
    from fastapi.requests import Request
    from fastapi.responses import JSONResponse

PREFIX = "/greenlight-review"
NAME = "MLflow"
"""Whom Airflow's pages name as the one who triggered a run."""


def build_app() -> FastAPI:
    """Return the application that Airflow mounts under `PREFIX`."""
    from fastapi import FastAPI
    from fastapi.concurrency import run_in_threadpool
    from fastapi.responses import JSONResponse

    from greenlight.entrypoints import review
    from greenlight.registry.webhook import (
        DELIVERY_HEADER,
        LARGEST_BODY,
        SIGNATURE_HEADER,
        TIMESTAMP_HEADER,
        Delivery,
    )

    app = FastAPI(title="Greenlight review", docs_url=None, redoc_url=None, openapi_url=None)

    async def mlflow(request: Request) -> JSONResponse:
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > LARGEST_BODY:
                return JSONResponse({"refused": f"more than {LARGEST_BODY} bytes"}, 413)
        delivery = Delivery(
            id=request.headers.get(DELIVERY_HEADER),
            timestamp=request.headers.get(TIMESTAMP_HEADER),
            signature=request.headers.get(SIGNATURE_HEADER),
            body=body,
        )
        made = await run_in_threadpool(
            review.answer, delivery, start=partial(start_run, by=NAME, way="REST_API")
        )
        return JSONResponse(made.body, made.status)

    app.add_route("/mlflow", mlflow, methods=["POST"])
    return app


class GreenlightReview(AirflowPlugin):
    """Takes MLflow's webhook."""

    name = "greenlight_review"

    @property
    def fastapi_apps(self) -> list[Any]:
        """Asked for by the API server only: the other components never build it."""
        return [{"app": build_app(), "url_prefix": PREFIX, "name": "review"}]
