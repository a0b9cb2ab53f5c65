"""Middleware: bearer authentication, and request metrics."""

import hmac
import time

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.serving.explorer.routes import PAGE
from pipeline.serving.http.prometheus import ServerMetrics

_PUBLIC = {"/health", *PAGE}
"""The explorer's page is static; the data that it requests is protected."""

_UNAUTHORIZED = JSONResponse(
    {"detail": "send the key as Authorization: Bearer ..."}, 401, {"www-authenticate": "Bearer"}
)


class AuthMiddleware:
    """Authenticates and counts every request."""

    def __init__(
        self, app: ASGIApp, *, key: str | None, routes: set[str], metrics: ServerMetrics
    ) -> None:
        """Wrap ``app``; requests require ``key`` unless it is None.

        Metrics are labelled by ``routes``, and ``other`` for other paths.
        """
        self._app = app
        self._expected = None if key is None else f"Bearer {key}".encode()
        self._routes = routes
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Reject an unauthenticated request, or pass it to the application."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        route = scope["path"] if scope["path"] in self._routes else "other"
        headers = dict(scope["headers"])
        started = time.perf_counter()
        status = 500

        async def record_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            if self._is_allowed(scope["path"], headers):
                await self._app(scope, receive, record_status)
            else:
                await _UNAUTHORIZED(scope, receive, record_status)
        except HTTPException as error:  # a body that exceeds the limit while it is read
            status = error.status_code
            raise
        finally:
            self._metrics.requests.labels(route, status).inc()
            self._metrics.seconds.labels(route).observe(time.perf_counter() - started)

    def _is_allowed(self, path: str, headers: dict[bytes, bytes]) -> bool:
        if self._expected is None or path in _PUBLIC:
            return True
        return hmac.compare_digest(headers.get(b"authorization", b""), self._expected)
