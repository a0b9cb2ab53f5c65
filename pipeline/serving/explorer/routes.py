"""The routes of the front explorer: a static page of three files, and its data."""

from typing import Any

from fastapi import FastAPI, Request

from pipeline.serving.explorer.explorer import Explorer
from pipeline.serving.explorer.schemas import (
    ExplorerState,
    ListsRequest,
    ListsView,
    PreferenceRequest,
    PreferenceView,
)
from pipeline.serving.http.schemas import Problem
from pipeline.serving.http.service import Service
from pipeline.serving.pages.static import CSS, HTML, JAVASCRIPT, StaticFiles, add_files

Responses = dict[int | str, dict[str, Any]]

PAGE: StaticFiles = {
    "/explore": ("pipeline.serving.explorer", "explorer.html", HTML),
    "/explore/explorer.css": ("pipeline.serving.explorer", "explorer.css", CSS),
    "/explore/explorer.js": ("pipeline.serving.explorer", "explorer.js", JAVASCRIPT),
}
"""The page's files, by path."""

_PREFERENCE_ERRORS: Responses = {
    404: {"model": Problem, "description": "The experiment has no such group"},
    409: {"model": Problem, "description": "The weights are not a preference of the model"},
}
_LIST_ERRORS: Responses = _PREFERENCE_ERRORS | {
    429: {"model": Problem, "description": "Lists are already being ranked for this client"},
    503: {"model": Problem, "description": "The model timed out or failed"},
}


def add_explorer(app: FastAPI, service: Service, errors: Responses, *, needs_key: bool) -> None:
    """Add the explorer's routes; ``errors`` are the error responses of all routes.

    With ``needs_key``, the page asks for the bearer token and keeps it in memory.
    """
    explorer = Explorer(service)
    add_files(app, PAGE, needs_key=needs_key)

    @app.get("/explore/state", responses={status: errors[status] for status in (401, 403)})
    async def state() -> ExplorerState:  # pyright: ignore[reportUnusedFunction]
        """The Pareto front, the groups and sample sessions."""
        return explorer.state()

    @app.post("/explore/preference", responses=errors | _PREFERENCE_ERRORS)
    async def preference(request: PreferenceRequest) -> PreferenceView:  # pyright: ignore[reportUnusedFunction]
        """Offline metrics and expected KPIs of a preference."""
        return explorer.preference_view(request)

    @app.post("/explore/lists", responses=errors | _LIST_ERRORS)
    async def lists(request: ListsRequest, sent: Request) -> ListsView:  # pyright: ignore[reportUnusedFunction]
        """A session's lists under a preference and under a group's; they are not logged."""
        return await explorer.lists(request, sent.client.host if sent.client else "")
