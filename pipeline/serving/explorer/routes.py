"""The routes of the front explorer."""

from typing import Any

from fastapi import FastAPI, Request

from pipeline.serving.explorer.explorer import Explorer
from pipeline.serving.explorer.page import add_page
from pipeline.serving.explorer.schemas import (
    ExplorerState,
    ListsRequest,
    ListsView,
    PreferenceRequest,
    PreferenceView,
)
from pipeline.serving.http.schemas import Problem
from pipeline.serving.http.service import Service

Responses = dict[int | str, dict[str, Any]]
_PLACES: Responses = {
    404: {"model": Problem, "description": "The experiment has no such group"},
    409: {"model": Problem, "description": "The weights are no preference of the model's"},
}
_LISTS: Responses = _PLACES | {
    429: {"model": Problem, "description": "Lists are being made for this client already"},
    503: {"model": Problem, "description": "The model had no time, or failed"},
}


def add_explorer(app: FastAPI, service: Service, refusals: Responses, *, needs_key: bool) -> None:
    """Add the page and what it asks for; ``refusals`` are those of every route with a body."""
    explorer = Explorer(service)
    add_page(app, needs_key=needs_key)

    @app.get("/explore/state", responses={401: refusals[401]})
    async def state() -> ExplorerState:  # pyright: ignore[reportUnusedFunction]
        """The front, the groups and some sessions."""
        return explorer.state()

    @app.post("/explore/place", responses=refusals | _PLACES)
    async def place(request: PreferenceRequest) -> PreferenceView:  # pyright: ignore[reportUnusedFunction]
        """Offline metrics and expected KPIs at a preference."""
        return explorer.preference_view(request)

    @app.post("/explore/lists", responses=refusals | _LISTS)
    async def lists(request: ListsRequest, sent: Request) -> ListsView:  # pyright: ignore[reportUnusedFunction]
        """A session's lists under a preference and as a group; no impressions, not in the log."""
        return await explorer.lists(request, sent.client.host if sent.client else "")
