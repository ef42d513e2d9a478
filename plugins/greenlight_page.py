"""The Greenlight page in Airflow's menu; what it shows and does is `greenlight.entrypoints.page`.

Every component of Airflow imports this file: the page itself is made when the API server is first
asked for it. Annotations aren't postponed here, as FastAPI reads those of `visitor`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar
from urllib.parse import urlsplit

from airflow.configuration import conf as configuration
from airflow.plugins_manager import AirflowPlugin

from greenlight_runs import start_run

NAME, PREFIX = "Greenlight", "/greenlight"
BASE = urlsplit(configuration.get("api", "base_url", fallback=None) or "")
"""Where browsers find Airflow: its host, and a path where it isn't at the root."""


def make_page() -> Any:
    """Return the application, with Airflow's word about who may do what."""
    from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
    from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
    from airflow.api_fastapi.core_api.security import get_user, requires_access_dag
    from fastapi import Depends, HTTPException, Request

    from greenlight.adapters.page.render import Visitor
    from greenlight.core.settings import load_settings
    from greenlight.entrypoints.page.actions import COST, DEPLOY
    from greenlight.entrypoints.page.sources import Sources
    from greenlight.entrypoints.page.web import Access, Page, build

    def may_start(dag_id: str) -> Callable[..., None]:
        return requires_access_dag("POST", DagAccessEntity.RUN, param_dag_id=dag_id)

    def is_allowed(check: Callable[..., None], request: Request, user: BaseUser) -> bool:
        try:
            check(request, user)
        except HTTPException:
            return False
        return True

    go_back, answer = may_start(DEPLOY), may_start(COST)
    known = Depends(get_user)

    def visitor(request: Request, user=known) -> Visitor:
        return Visitor(
            name=user.get_name(),
            may_go_back=is_allowed(go_back, request, user),
            may_answer=is_allowed(answer, request, user),
        )

    page = Page(Sources(load_settings()), start_run=start_run)
    access = Access(
        read=requires_access_dag("GET", param_dag_id=DEPLOY),
        go_back=go_back,
        answer=answer,
        visitor=visitor,
    )
    return build(page, access=access, hosts=[BASE.netloc] if BASE.netloc else [])


class WhenAsked:
    """An application that is made by the first request for it."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make, self._app = make, None
        self._making = asyncio.Lock()

    async def __call__(
        self, scope: Any, receive: Any, send: Callable[..., Awaitable[None]]
    ) -> None:
        """Answer one request."""
        async with self._making:
            if self._app is None:
                self._app = await asyncio.to_thread(self._make)
        await self._app(scope, receive, send)


class GreenlightPage(AirflowPlugin):
    """Where Airflow finds the page."""

    name = "greenlight_page"
    fastapi_apps: ClassVar = [{"app": WhenAsked(make_page), "url_prefix": PREFIX, "name": NAME}]
    external_views: ClassVar = [
        {
            "name": NAME,
            "href": f"{BASE.path.rstrip('/')}{PREFIX}/",
            "url_route": "greenlight",
            "destination": "nav",
            "icon": f"{BASE.path.rstrip('/')}{PREFIX}/icon.svg",
        }
    ]
