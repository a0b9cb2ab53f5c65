"""Files of pages, and the headers with which pages are sent. They have no data of the study."""

from collections.abc import Awaitable, Callable, Mapping
from importlib.resources import files

from fastapi import FastAPI, Response

HTML, CSS, JAVASCRIPT = (f"text/{name}; charset=utf-8" for name in ("html", "css", "javascript"))

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}

StaticFiles = Mapping[str, tuple[str, str, str]]
"""Package, name and media type of files, by path."""

SHARED: StaticFiles = {"/pages/base.css": ("pipeline.serving.pages", "base.css", CSS)}
"""The style of all pages."""


def add_files(app: FastAPI, found: StaticFiles, *, needs_key: bool) -> None:
    """Add a route for each file; with ``needs_key``, a page asks for the bearer token."""
    for path, (package, name, media_type) in found.items():
        text = (files(package) / name).read_text(encoding="utf-8")
        if needs_key:
            text = text.replace('data-key="none"', 'data-key="required"')
        app.get(
            path,
            response_class=Response,
            summary=f"A page's {name.partition('.')[2]}",
            responses={200: {"content": {media_type: {"schema": {"type": "string"}}}}},
        )(_sender(text, media_type))


def _sender(text: str, media_type: str) -> Callable[[], Awaitable[Response]]:
    async def send() -> Response:
        return Response(text, media_type=media_type, headers=HEADERS)

    return send
