"""The FastAPI application and its routes."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from prometheus_client import CONTENT_TYPE_LATEST

from pipeline.artifacts.storage import StudyPaths
from pipeline.core.errors import LogError
from pipeline.serving.explorer.routes import add_explorer
from pipeline.serving.http.auth import AuthMiddleware
from pipeline.serving.http.schemas import (
    MAX_BODY_BYTES,
    EventsRequest,
    EventsResponse,
    ExperimentView,
    GroupView,
    Health,
    Problem,
    RecommendRequest,
    RecommendResponse,
    ValidationProblem,
)
from pipeline.serving.http.service import Service
from pipeline.serving.live.routes import add_live
from pipeline.serving.pages.static import SHARED, add_files

_JSON = "application/json"
_RETRY_SECONDS = 5
_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "The body is not valid JSON"},
    401: {"model": Problem, "description": "The key is missing or wrong"},
    403: {"model": Problem, "description": "Without a key: the Host is not this server's"},
    413: {
        "model": Problem,
        "content": {"text/plain": {"schema": {"type": "string"}}},
        "description": "The body is too large",
    },
    422: {"model": ValidationProblem, "description": "A field is invalid"},
    503: {"model": Problem, "description": "The event log cannot be written, and why"},
}
_CONFLICT: dict[int | str, dict[str, Any]] = {
    409: {
        "model": Problem,
        "description": "An order has a revenue, or lacks it, against serving.orders_have_revenue",
    }
}
_LENGTH: dict[int | str, dict[str, Any]] = {
    409: {"model": Problem, "description": "The experiment varies the length of lists, against k"}
}
_REJECTED: dict[int | str, dict[str, Any]] = {status: _ERRORS[status] for status in (401, 403)}

_MESSAGES = {
    "union_tag_invalid": "event_type is not one of shown, click, order",
    "union_tag_not_found": "event_type is required: shown, click or order",
}
"""Messages in place of those that would repeat a value of the request."""

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def build_app(
    service: Service,
    paths: StudyPaths,
    *,
    key: str | None,
    host: str = "",
    background: Lifespan | None = None,
) -> FastAPI:
    """The application; requests require ``key`` unless it is None.

    ``paths`` are those of the study; ``host`` is a further name that requests without a key may be sent to; ``background`` runs
    while the application does.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.event_log.start()
        service.batcher.start()
        try:
            if background is None:
                yield
            else:
                async with background(app):
                    yield
        finally:
            service.batcher.close()
            service.event_log.close()

    app = FastAPI(
        title="Paretoscope",
        description="Recommendation lists for the groups of an experiment, and their events.",
        version="1",
        lifespan=lifespan,
        max_body_size=MAX_BODY_BYTES,
        docs_url=None,  # its page loads scripts from a CDN
        redoc_url=None,
    )
    app.add_exception_handler(RequestValidationError, _invalid_request)
    app.add_exception_handler(OSError, _log_unavailable)
    app.add_exception_handler(LogError, _conflict)
    _add_routes(app, service)
    add_files(app, SHARED, needs_key=key is not None)
    add_explorer(app, service, _ERRORS, needs_key=key is not None)
    add_live(app, service, paths, _REJECTED, needs_key=key is not None)
    routes = {path for route in app.routes if (path := getattr(route, "path", None))}
    app.add_middleware(AuthMiddleware, key=key, host=host, routes=routes, metrics=service.metrics)
    return app


def _add_routes(app: FastAPI, service: Service) -> None:
    @app.post("/recommend", response_model=RecommendResponse, responses=_ERRORS | _LENGTH)
    async def recommend(request: RecommendRequest) -> Response:  # pyright: ignore[reportUnusedFunction]
        """Recommend a list to a user; the impression is durably logged before the response."""
        return Response(orjson.dumps(await service.recommend(request)), media_type=_JSON)

    @app.post("/events", response_model=EventsResponse, responses=_ERRORS | _CONFLICT)
    async def events(request: EventsRequest) -> Response:  # pyright: ignore[reportUnusedFunction]
        """Record events of impressions; they are durably logged before the response."""
        recorded = await service.record_events(request.events)
        return Response(orjson.dumps(recorded._asdict()), media_type=_JSON)

    @app.get("/experiment", responses=_REJECTED)
    async def experiment() -> ExperimentView:  # pyright: ignore[reportUnusedFunction]
        """The groups of the experiment, and the versions of their model and rules."""
        snapshot, plan = service.snapshot, service.snapshot.plan
        return ExperimentView(
            experiment=plan.experiment,
            list_length=plan.list_length,
            second_axis=plan.second_axis and plan.second_axis.kind.value,
            groups=[GroupView.model_validate(one, from_attributes=True) for one in plan.groups],
            model=snapshot.model.version,
            rules=snapshot.model.rules.version,
            items=len(snapshot.model.recommender.items),
        )

    @app.get(
        "/health",
        responses={
            403: _ERRORS[403],
            503: {"model": Health, "description": "The server is failing"},
        },
    )
    async def health(response: Response) -> Health:  # pyright: ignore[reportUnusedFunction]
        """The health of the server."""
        problems = service.problems()
        response.status_code = 503 if problems else 200
        return Health(status="failing" if problems else "ok", problems=problems)

    text = {200: {"content": {CONTENT_TYPE_LATEST: {"schema": {"type": "string"}}}}}

    @app.get("/metrics", response_class=Response, responses=text | _REJECTED)
    async def metrics() -> Response:  # pyright: ignore[reportUnusedFunction]
        """Metrics in Prometheus' text format."""
        return Response(service.metrics.page(), media_type=CONTENT_TYPE_LATEST)


def _invalid_request(_request: Request, error: Exception) -> Response:
    """The invalid fields without their values, which may be personal data."""
    assert isinstance(error, RequestValidationError)
    fields = [
        {"loc": list(one["loc"]), "msg": _MESSAGES.get(one["type"], one["msg"])}
        for one in error.errors()
    ]
    return Response(orjson.dumps({"detail": fields}), status_code=422, media_type=_JSON)


def _conflict(_request: Request, error: Exception) -> Response:
    return Response(orjson.dumps({"detail": str(error)}), status_code=409, media_type=_JSON)


def _log_unavailable(_request: Request, error: Exception) -> Response:
    assert isinstance(error, OSError)
    reason = f"the event log cannot be written ({error.strerror}); nothing is acknowledged"
    body = orjson.dumps({"detail": f"{reason}, retry later"})
    headers = {"retry-after": str(_RETRY_SECONDS)}
    return Response(body, status_code=503, media_type=_JSON, headers=headers)
