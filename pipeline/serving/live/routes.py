"""The routes of the live page: the page, its style and script, and its content alone.

The content is rendered in a thread, at most once a second for all clients together, so that the page takes
nothing from requests for lists.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import jinja2
from fastapi import FastAPI, Response

from pipeline.artifacts.storage import StudyPaths
from pipeline.serving.http.service import Service
from pipeline.serving.live.build import build_view
from pipeline.serving.live.files import FileCache, LiveFiles
from pipeline.serving.live.view import Endpoint
from pipeline.serving.pages.static import CSS, HEADERS, HTML, JAVASCRIPT, StaticFiles, add_files

_LOG = logging.getLogger(__name__)
_PACKAGE = "pipeline.serving.live"
_KEPT_SECONDS = 1.0

_FILES: StaticFiles = {
    "/live/live.css": (_PACKAGE, "live.css", CSS),
    "/live/live.js": (_PACKAGE, "live.js", JAVASCRIPT),
}
PAGE = ("/live", *_FILES)
"""The paths that need no key; with one, the page is sent without its content."""

_UNREADABLE = LiveFiles(
    status=None,
    alerts=(),
    rollout=None,
    decision=None,
    problems=("What the files say cannot be shown; the server's log says why",),
)


class LivePage:
    """The page of the study that is served."""

    def __init__(self, service: Service, paths: StudyPaths) -> None:
        self._service = service
        self._paths = paths
        self._cache = FileCache()
        self._lock = asyncio.Lock()
        self._kept = ""
        self._kept_at = float("-inf")
        self._templates = jinja2.Environment(
            loader=jinja2.PackageLoader(_PACKAGE, "."),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    async def content(self) -> str:
        """The content as HTML, at most a second old."""
        async with self._lock:
            if time.monotonic() - self._kept_at > _KEPT_SECONDS:
                self._kept = await asyncio.to_thread(self._render, self._endpoint())
                self._kept_at = time.monotonic()
            return self._kept

    async def page(self, *, needs_key: bool) -> str:
        """The whole page; with ``needs_key``, it asks for the bearer token and has no content yet."""
        content = "" if needs_key else await self.content()
        template = self._templates.get_template("page.html")
        return template.render(content=content, needs_key=needs_key)

    def _endpoint(self) -> Endpoint:
        service, snapshot = self._service, self._service.snapshot
        return Endpoint(
            study=snapshot.study,
            experiment=snapshot.plan.experiment,
            model=snapshot.model.version,
            rules=snapshot.model.rules.version,
            preferences={one.name: one.preference_id for one in snapshot.plan.groups},
            problems=service.problems(),
            served_share=snapshot.rollout and snapshot.rollout.share,
            fuse=service.fuse.blown_by,
        )

    def _render(self, endpoint: Endpoint) -> str:
        template, now = self._templates.get_template("content.html"), datetime.now(UTC)
        try:
            files = self._cache.read(replace(self._paths, name=endpoint.study))
            return template.render(view=build_view(files, endpoint, now))
        except Exception:  # noqa: BLE001 - a page for emergencies shows what else it knows
            _LOG.exception("the live page cannot show what the files say")
            return template.render(view=build_view(_UNREADABLE, endpoint, now))


def add_live(
    app: FastAPI,
    service: Service,
    paths: StudyPaths,
    errors: Mapping[int | str, dict[str, Any]],
    *,
    needs_key: bool,
) -> None:
    """Add the live page; ``errors`` are the responses without a key or under another name."""
    live = LivePage(service, paths)
    html: dict[int | str, dict[str, Any]] = {
        200: {"content": {HTML: {"schema": {"type": "string"}}}}
    }
    add_files(app, _FILES, needs_key=needs_key)

    @app.get("/live", response_class=Response, responses=html)
    async def page() -> Response:  # pyright: ignore[reportUnusedFunction]
        """What the monitor and the rollout say now, as a page."""
        return Response(await live.page(needs_key=needs_key), media_type=HTML, headers=HEADERS)

    @app.get("/live/content", response_class=Response, responses={**html, **errors})
    async def content() -> Response:  # pyright: ignore[reportUnusedFunction]
        """The content of the page."""
        return Response(await live.content(), media_type=HTML, headers=HEADERS)
