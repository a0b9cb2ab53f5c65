"""Messages to a chat: one POST of ``{"text": …}``, which Slack, Mattermost, Teams and others accept."""

import os
from collections.abc import Iterable
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

import orjson

from pipeline.core.errors import StudyError

WEBHOOK_VARIABLE = "PARETOSCOPE_WEBHOOK_URL"
"""The environment variable with the address, which is a secret: it is never printed or logged."""

_TIMEOUT_SECONDS = 10
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


class _NoRedirect(HTTPRedirectHandler):
    """Refuses redirects: the message goes where it was declared to go, or nowhere."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def send_message(lines: Iterable[str]) -> None:
    """Send a message to the address of :data:`WEBHOOK_VARIABLE`.

    Raises:
        StudyError: if the address is not set or not https, cannot be reached, or does not accept the
            message. The error does not contain the address.
    """
    address = _address()
    body = orjson.dumps({"text": "\n".join(lines)})
    request = Request(address, body, {"content-type": "application/json"})  # noqa: S310 - checked
    try:
        with build_opener(_NoRedirect).open(request, timeout=_TIMEOUT_SECONDS):
            return
    except HTTPError as error:
        msg = f"the webhook answered {error.code}, so the message was not delivered; see {WEBHOOK_VARIABLE}"
    except URLError as error:
        msg = f"the webhook cannot be reached: {error.reason}; see {WEBHOOK_VARIABLE}"
    except (OSError, HTTPException, ValueError) as error:  # some of them quote the address
        msg = f"the webhook cannot be reached: {type(error).__name__}; see {WEBHOOK_VARIABLE}"
    raise StudyError(msg) from None


def _address() -> str:
    address = os.environ.get(WEBHOOK_VARIABLE, "")
    try:
        parts = urlsplit(address)
    except ValueError:
        found = "is not an address"
    else:
        if parts.scheme == "https" and parts.hostname:
            return address
        if parts.scheme == "http" and parts.hostname in _LOOPBACK:
            return address
        found = f"is a {parts.scheme or 'relative'} address" if address else "is not set"
    msg = f"{WEBHOOK_VARIABLE} {found}; expected https://… (http only for this machine)"
    raise StudyError(msg)
