"""The routes of the front explorer: a static page of three files, and its data."""

from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Any

from fastapi import FastAPI, Request, Response

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

Responses = dict[int | str, dict[str, Any]]

PAGE = {
    "/explore": ("explorer.html", "text/html; charset=utf-8"),
    "/explore/explorer.css": ("explorer.css", "text/css; charset=utf-8"),
    "/explore/explorer.js": ("explorer.js", "text/javascript; charset=utf-8"),
}
"""The page's files and media types, by path."""

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
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
    _add_page(app, needs_key=needs_key)

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


def _add_page(app: FastAPI, *, needs_key: bool) -> None:
    for path, (name, media_type) in PAGE.items():
        text = (files("pipeline.serving.explorer") / name).read_text(encoding="utf-8")
        if needs_key:
            text = text.replace('data-key="none"', 'data-key="required"')
        app.get(
            path,
            response_class=Response,
            summary=f"The explorer's {name.partition('.')[2]}",
            responses={200: {"content": {media_type: {"schema": {"type": "string"}}}}},
        )(_static(text, media_type))


def _static(text: str, media_type: str) -> Callable[[], Awaitable[Response]]:
    async def send() -> Response:
        return Response(text, media_type=media_type, headers=HEADERS)

    return send
