"""What every request passes: the key, if there is one, and the count of answers."""

import hmac
import time
from typing import Any

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.serving.explorer.page import PAGE
from pipeline.serving.http.prometheus import ServerMetrics

_OPEN_TO_ALL = {"/health", *PAGE}
"""The explorer's page and its parts say nothing of the study; what they ask for does."""

_NO_KEY = b'{"detail":"send the key as Authorization: Bearer ..."}'


class AuthMiddleware:
    """Middleware around the whole application."""

    def __init__(
        self, app: ASGIApp, *, key: str | None, routes: set[str], metrics: ServerMetrics
    ) -> None:
        """Requests need ``key``, unless it is None; ``routes`` are the paths that are told apart."""
        self._app = app
        self._expected = None if key is None else f"Bearer {key}".encode()
        self._routes = routes
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or let the application do it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        route = scope["path"] if scope["path"] in self._routes else "other"
        headers = dict(scope["headers"])
        started = time.perf_counter()
        status = 500

        async def count(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            if not self._may(scope["path"], headers):
                await _refuse(count, 401, _NO_KEY, (b"www-authenticate", b"Bearer"))
            else:
                await self._app(scope, receive, count)
        except HTTPException as error:  # a request that turns out to be too large
            status = error.status_code
            raise
        finally:
            self._metrics.requests.labels(route, status).inc()
            self._metrics.seconds.labels(route).observe(time.perf_counter() - started)

    def _may(self, path: str, headers: dict[bytes, bytes]) -> bool:
        if self._expected is None or path in _OPEN_TO_ALL:
            return True
        return hmac.compare_digest(headers.get(b"authorization", b""), self._expected)


async def _refuse(send: Send, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    start: dict[str, Any] = {
        "type": "http.response.start",
        "status": status,
        "headers": [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            *headers,
        ],
    }
    await send(start)
    await send({"type": "http.response.body", "body": body})
