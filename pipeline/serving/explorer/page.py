"""The front explorer's page: three files that are sent as they are."""

from collections.abc import Awaitable, Callable
from importlib.resources import files

from fastapi import FastAPI, Response

PAGE = {
    "/explore": ("explorer.html", "text/html; charset=utf-8"),
    "/explore/explorer.css": ("explorer.css", "text/css; charset=utf-8"),
    "/explore/explorer.js": ("explorer.js", "text/javascript; charset=utf-8"),
}
"""Files by their path, with what they are."""

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
_NO_KEY_NEEDED = 'data-key="none"'
_KEY_NEEDED = 'data-key="needed"'


def add_page(app: FastAPI, *, needs_key: bool) -> None:
    """Serve the page; it asks for the key if there is one, and keeps it in memory only."""
    for path, (name, kind) in PAGE.items():
        text = (files("pipeline.serving.explorer") / name).read_text(encoding="utf-8")
        if needs_key:
            text = text.replace(_NO_KEY_NEEDED, _KEY_NEEDED)
        app.get(
            path,
            response_class=Response,
            summary=f"The explorer's {name.partition('.')[2]}",
            responses={200: {"content": {kind: {"schema": {"type": "string"}}}}},
        )(_sender(text, kind))


def _sender(text: str, kind: str) -> Callable[[], Awaitable[Response]]:
    async def send() -> Response:
        return Response(text, media_type=kind, headers=HEADERS)

    return send
