"""The routes."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from prometheus_client import CONTENT_TYPE_LATEST

from pipeline.core.errors import LogError
from pipeline.serving.explorer.routes import add_explorer
from pipeline.serving.http.auth import AuthMiddleware
from pipeline.serving.http.schemas import (
    MAX_BODY_BYTES,
    EventsRequest,
    EventsResponse,
    ExperimentView,
    ValidationProblem,
    Health,
    Problem,
    RecommendRequest,
    RecommendResponse,
)
from pipeline.serving.http.service import Service

_JSON = "application/json"
_REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "The body is no JSON"},
    401: {"model": Problem, "description": "The key is missing or wrong"},
    413: {
        "model": Problem,
        "content": {"text/plain": {"schema": {"type": "string"}}},
        "description": "The request is too large",
    },
    422: {"model": ValidationProblem, "description": "A field is wrong"},
    503: {"model": Problem, "description": "The log cannot be written"},
}
_CONFLICT: dict[int | str, dict[str, Any]] = {
    409: {
        "model": Problem,
        "description": "An order says its revenue and should not, or the reverse",
    }
}
_UNKEYED: dict[int | str, dict[str, Any]] = {401: _REFUSALS[401]}

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def build_app(service: Service, *, key: str | None, background: Lifespan | None = None) -> FastAPI:
    """The application; requests need ``key`` unless it is None.

    ``background`` runs beside it from beginning to end.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.journal.start()
        service.batcher.start()
        try:
            if background is None:
                yield
            else:
                async with background(app):
                    yield
        finally:
            service.batcher.close()
            service.journal.close()

    app = FastAPI(
        title="Paretoscope",
        description="Lists for the groups of an experiment, and what came of them.",
        version="1",
        lifespan=lifespan,
        max_body_size=MAX_BODY_BYTES,
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
    )
    app.add_exception_handler(RequestValidationError, _say_faults)
    app.add_exception_handler(OSError, _say_no_log)
    app.add_exception_handler(LogError, _say_conflict)
    _add_routes(app, service)
    add_explorer(app, service, _REFUSALS, needs_key=key is not None)
    routes = {path for route in app.routes if (path := getattr(route, "path", None))}
    app.add_middleware(AuthMiddleware, key=key, routes=routes, metrics=service.metrics)
    return app


def _add_routes(app: FastAPI, service: Service) -> None:
    @app.post("/recommend", response_model=RecommendResponse, responses=_REFUSALS)
    async def recommend(request: RecommendRequest) -> Response:  # pyright: ignore[reportUnusedFunction]
        """A list for a user; it is in the log when it is returned."""
        return Response(orjson.dumps(await service.recommend(request)), media_type=_JSON)

    @app.post("/events", response_model=EventsResponse, responses=_REFUSALS | _CONFLICT)
    async def events(request: EventsRequest) -> Response:  # pyright: ignore[reportUnusedFunction]
        """What came of lists; it is in the log when it is acknowledged."""
        accepted, repeated = await service.record_events(request.events)
        body = orjson.dumps({"accepted": accepted, "repeated": repeated})
        return Response(body, media_type=_JSON)

    @app.get("/experiment", responses=_UNKEYED)
    async def experiment() -> ExperimentView:  # pyright: ignore[reportUnusedFunction]
        """The groups, and the versions that are served."""
        snapshot = service.snapshot
        return ExperimentView.model_validate(
            {
                "experiment": snapshot.plan.experiment,
                "list_length": snapshot.plan.list_length,
                "groups": [
                    {"name": g.name, "preference": list(g.preference), "share": g.share}
                    for g in snapshot.plan.groups
                ],
                "model": snapshot.version,
                "rules": snapshot.rules.version,
                "items": len(snapshot.recommender.items),
            }
        )

    @app.get("/health", responses={503: {"model": Health, "description": "It is failing"}})
    async def health(response: Response) -> Health:  # pyright: ignore[reportUnusedFunction]
        """Whether requests are answered as they should be."""
        problems = service.problems()
        response.status_code = 503 if problems else 200
        return Health(status="failing" if problems else "ok", problems=problems)

    @app.get(
        "/metrics",
        response_class=Response,
        responses={200: {"content": {CONTENT_TYPE_LATEST: {"schema": {"type": "string"}}}}}
        | _UNKEYED,
    )
    async def metrics() -> Response:  # pyright: ignore[reportUnusedFunction]
        """Counters in Prometheus' text format."""
        return Response(service.metrics.page(), media_type=CONTENT_TYPE_LATEST)


def _say_faults(_request: Request, error: Exception) -> Response:
    """What is wrong, without what was sent: that may be anything, and a user's."""
    assert isinstance(error, RequestValidationError)
    faults = [{"loc": list(one["loc"]), "msg": one["msg"]} for one in error.errors()]
    return Response(orjson.dumps({"detail": faults}), status_code=422, media_type=_JSON)


def _say_conflict(_request: Request, error: Exception) -> Response:
    return Response(orjson.dumps({"detail": str(error)}), status_code=409, media_type=_JSON)


def _say_no_log(_request: Request, _error: Exception) -> Response:
    body = {"detail": "the log cannot be written; nothing is acknowledged, send it again later"}
    return Response(orjson.dumps(body), status_code=503, media_type=_JSON)
