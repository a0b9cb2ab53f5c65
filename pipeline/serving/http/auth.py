"""Middleware: bearer authentication, or a check of the host; request metrics."""

import hmac
import ipaddress
import socket
import time
from collections.abc import Iterable
from functools import lru_cache

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.serving.explorer.routes import PAGE as EXPLORER
from pipeline.serving.http.prometheus import ServerMetrics
from pipeline.serving.live.routes import PAGE as LIVE
from pipeline.serving.pages.static import SHARED
from pipeline.study import SERVING_KEY

_PUBLIC = {"/health", *EXPLORER, *LIVE, *SHARED}
"""Pages are static where there is a key; the data that they request are protected."""

_UNAUTHORIZED = JSONResponse(
    {"detail": "send the key as Authorization: Bearer ..."}, 401, {"www-authenticate": "Bearer"}
)

_FOREIGN_HOST = JSONResponse(
    {
        "detail": "without a key, requests must name this server by IP address, localhost or its "
        f"host name; set {SERVING_KEY} to serve under other names"
    },
    403,
)


class AuthMiddleware:
    """Authenticates and counts every request."""

    def __init__(
        self, app: ASGIApp, *, key: str | None, host: str, routes: set[str], metrics: ServerMetrics
    ) -> None:
        """Wrap ``app``; requests require ``key`` unless it is None.

        Without a key, the Host header must be an IP address, ``localhost``, the machine's name or
        ``host``. Otherwise a web page could reach a local server by a name that it lets point to
        127.0.0.1 (DNS rebinding). Metrics are labelled by ``routes``, and ``other`` for other paths.
        """
        self._app = app
        self._expected = None if key is None else f"Bearer {key}".encode()
        self._names = {None, "", "localhost", socket.gethostname().lower(), host.lower()}
        self._routes = routes
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Reject an unauthenticated request, or pass it to the application."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        route = scope["path"] if scope["path"] in self._routes else "other"
        started = time.perf_counter()
        status = 500

        async def record_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            rejected = self._rejection(scope["path"], scope["headers"])
            await (rejected or self._app)(scope, receive, record_status)
        except HTTPException as error:  # a body that exceeds the limit while it is read
            status = error.status_code
            raise
        finally:
            self._metrics.requests.labels(route, status).inc()
            self._metrics.seconds.labels(route).observe(time.perf_counter() - started)

    def _rejection(self, path: str, headers: Iterable[tuple[bytes, bytes]]) -> JSONResponse | None:
        if self._expected is None:
            names = {_host_name(value) for name, value in headers if name == b"host"}
            return None if names <= self._names else _FOREIGN_HOST
        if path in _PUBLIC:
            return None
        sent = dict(headers).get(b"authorization", b"")
        return None if hmac.compare_digest(sent, self._expected) else _UNAUTHORIZED


@lru_cache(maxsize=64)
def _host_name(header: bytes) -> str | None:
    """The name in a Host header in lower case, without the port; None for an IP address."""
    text = header.decode("latin-1").strip().lower()
    name, _, port = text.rpartition(":")
    name = name.rstrip(".") if port.isdecimal() and name else text.rstrip(".")
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return name
    return None
