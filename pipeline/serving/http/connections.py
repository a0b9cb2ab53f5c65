"""HTTP connections with limits: time of a request, size of its header, number of connections.

uvicorn limits requests (``limit_concurrency``) and idle connections (``timeout_keep_alive``), but with
httptools neither the time that a client takes to send a request nor the size of its header. It also
parses whatever arrives: a client that sends request after request without reading makes it queue
requests without bound, and each of them counts as a sign of life. Here, a request is parsed when the
responses to those before it have been sent.
"""

import asyncio
import resource
import socket
from typing import Any

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

MAX_HEADER_BYTES = 16 * 1024
"""The largest request line with header."""

RECEIVE_SECONDS = 10.0
"""Time from the first byte of a request, or the opening of a connection, to the last byte."""

RESPONSE_SECONDS = 30.0
"""Time from the last byte of a request to the last byte of the response that the client takes."""

IDLE_SECONDS = 75
"""Time that a connection stays open without a request.

Longer than load balancers and browsers mostly keep theirs, so that a request seldom meets a closing
connection; where connections are used up, idle ones make room.
"""

UNREAD_BYTES = 64 * 1024
"""Size of unread responses from which on the next request waits until the client has read all of them.

The kernel's buffers of a connection have the same size (:func:`limit_kernel_buffers`).
"""

_PARSED_BYTES = 4096
"""Bytes that are parsed at a time, which limits the number of requests in the queue."""

MAX_CONNECTIONS = 4096
_SPARE_DESCRIPTORS = 128
"""Descriptors for the event log, the study's files and the libraries."""


class _HoldingFlowControl(FlowControl):
    """Flow control that does not read on while received bytes are held back."""

    is_held = False

    def resume_reading(self) -> None:
        """Read on, unless received bytes are held back."""
        if not self.is_held:
            super().resume_reading()


class LimitedProtocol(HttpToolsProtocol):
    """Closes connections that are too slow, and rejects headers that are too large.

    Bytes after a complete request are held back, and no more are read, until the request is answered
    and the client reads the responses. Thus the time limits hold for a client that goes on sending. If
    the connections are used up, the oldest one without a request in work makes room.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._held = b""
        self._timer: asyncio.TimerHandle | None = None
        self._is_receiving = False
        self._unanswered = 0
        self._header_bytes = 0
        self._unparsed_bytes = 0
        self._idle_since = 0.0

    @property
    def is_idle(self) -> bool:
        """Whether no request is in work; one whose header is incomplete is not in work."""
        return not self.cycle or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Make room for a connection and start its clock."""
        self._idle_since = self.loop.time()
        if len(self.connections) + 1 >= (self.limit_concurrency or MAX_CONNECTIONS):
            self._make_room()
        super().connection_made(transport)
        self.flow = self._reading = _HoldingFlowControl(transport)
        transport.set_write_buffer_limits(high=UNREAD_BYTES, low=0)
        self._start_timer(RECEIVE_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._held = b""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse bytes as far as the requests in work allow."""
        self._held += data
        self._parse()

    def resume_writing(self) -> None:
        """The client has taken all responses."""
        super().resume_writing()
        self._parse()

    def on_message_begin(self) -> None:
        """A request begins; the response to one before it has its own time."""
        self._is_receiving, self._header_bytes = True, 0
        if not self._unanswered:
            self._start_timer(RECEIVE_SECONDS)
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Count a part of the URL."""
        self._count_header(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header field."""
        self._count_header(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Start the request."""
        self._unparsed_bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Receive a part of the body, whose size FastAPI limits."""
        self._unparsed_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request has arrived; its response is due."""
        self._is_receiving, self._unparsed_bytes = False, 0
        super().on_message_complete()
        self._unanswered += not self.cycle.response_complete
        self._start_timer(RESPONSE_SECONDS if self._unanswered else self.timeout_keep_alive)

    def on_response_complete(self) -> None:
        """The connection is idle, unless the client is still sending or has not read."""
        super().on_response_complete()
        self._idle_since = self.loop.time()
        self._unanswered -= bool(self._unanswered)  # else a request that has not ended was rejected
        if self._unanswered or self.transport.get_write_buffer_size():
            self._start_timer(RESPONSE_SECONDS)
        elif self._is_receiving:
            self._start_timer(RECEIVE_SECONDS)
        else:
            self._stop_timer()
        self._parse()

    def send_400_response(self, msg: str) -> None:
        """Reject bytes that are not HTTP, or a header that is too large."""
        if self._header_bytes > MAX_HEADER_BYTES:
            self._refuse(431, "the header is too large")
        else:
            self._refuse(400, msg)

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection; one that has not read its response has its own timer."""
        if not self.transport.get_write_buffer_size():
            super().timeout_keep_alive_handler()

    def _parse(self) -> None:
        """Parse received bytes until a request is complete; hold back the rest and read no more."""
        while self._held and not (self._unanswered or self.flow.write_paused):
            if self._timer is None:  # uvicorn stops its own for idle connections
                self._start_timer(RECEIVE_SECONDS)
            piece, self._held = self._held[:_PARSED_BYTES], self._held[_PARSED_BYTES:]
            self._unparsed_bytes += len(piece)
            super().data_received(piece)
            if self._unparsed_bytes > MAX_HEADER_BYTES and not self.transport.is_closing():
                self._refuse(431, "the header is too large")
            if self.transport.is_closing():
                self._held = b""
        if self._held:
            self._reading.is_held = True
            self.flow.pause_reading()
        elif self._reading.is_held:
            self._reading.is_held = False
            self.flow.resume_reading()

    def _count_header(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > MAX_HEADER_BYTES:
            raise ValueError  # httptools stops and uvicorn calls send_400_response

    def _make_room(self) -> None:
        waiting = [
            connection
            for connection in self.connections
            if isinstance(connection, LimitedProtocol) and connection.is_idle
        ]
        if waiting:
            oldest = min(waiting, key=lambda connection: connection._idle_since)  # noqa: SLF001
            self.connections.discard(oldest)
            oldest.transport.abort()

    def _start_timer(self, seconds: float) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(seconds, self._too_late)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_late(self) -> None:
        self._timer = None
        if self._is_receiving and not self._unanswered:
            self._refuse(408, "the request took too long")
        elif self.is_idle and not self.transport.get_write_buffer_size():
            self.transport.close()
        else:
            self.transport.abort()

    def _refuse(self, status: int, reason: str) -> None:
        """Answer unless another response is due, and close the connection."""
        if self._unanswered or self.transport.get_write_buffer_size():
            self.transport.abort()
            return
        if self.is_idle or not self.cycle.response_started:
            head = b"content-type: text/plain\r\nconnection: close\r\ncontent-length: "
            lines = [STATUS_LINE[status], head, str(len(reason)).encode(), b"\r\n\r\n"]
            self.transport.write(b"".join([*lines, reason.encode()]))
        self.transport.close()


def limit_kernel_buffers(listening: socket.socket) -> None:
    """Bound the memory of the kernel for each accepted connection; Linux doubles the size."""
    for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        listening.setsockopt(socket.SOL_SOCKET, option, UNREAD_BYTES)


def connection_limit() -> int:
    """The number of connections at a time; raises the process's limit of open files for it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_CONNECTIONS + _SPARE_DESCRIPTORS
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return MAX_CONNECTIONS
    soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(1, soft - _SPARE_DESCRIPTORS)
