"""A fixed panel of sessions: the endpoint's lists against those of the study's own model and rules.

It needs no traffic, and finds a wrong model, rule or catalogue at the next look.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from statistics import mean
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from pipeline.core.errors import EndpointError
from pipeline.monitoring.statistics.distances import rank_biased_overlap
from pipeline.study import SERVING_KEY

_TIMEOUT_SECONDS = 5.0
_BUSY = {429, 503}


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelSession:
    """A session, and the list that a group gets.

    Attributes:
        session: Clicked items, oldest first.
        group: Name of the group.
        preference: Its preference.
        items: The list of the study's model and rules.
    """

    session: tuple[str, ...]
    group: str
    preference: tuple[float, ...]
    items: tuple[str, ...]


def compare(endpoint: str, panel: Sequence[PanelSession]) -> dict[str, float]:
    """The mean rank-biased overlap by group, 0 to 1; sessions that a busy endpoint refuses are left out.

    Raises:
        EndpointError: if the endpoint cannot be reached, or refuses a request.
    """
    found: dict[str, list[float]] = {}
    for one in panel:
        served = _served(endpoint, one)
        if served is not None:
            found.setdefault(one.group, []).append(rank_biased_overlap(served, one.items))
    return {group: mean(values) for group, values in sorted(found.items())}


def _served(endpoint: str, one: PanelSession) -> list[str] | None:
    """The endpoint's list; None if it is busy."""
    body = {"preference": one.preference, "group": one.group, "session": one.session}
    headers = {"content-type": "application/json"}
    if key := os.environ.get(SERVING_KEY):
        headers["authorization"] = f"Bearer {key}"
    url = f"{endpoint}/explore/lists"
    request = Request(url, json.dumps(body).encode(), headers)  # noqa: S310 - http(s), by its parameter
    try:
        with urlopen(request, timeout=_TIMEOUT_SECONDS) as response:  # noqa: S310 - as above
            answer: Mapping[str, Any] = json.load(response)
            return [item["item"] for item in answer["group_list"]]
    except HTTPError as error:
        if error.code in _BUSY:
            return None
        if error.code in {404, 409}:  # another plan
            return []
        raise EndpointError(f"{url} answered {error.code}; see monitoring.endpoint") from error
    except (OSError, HTTPException) as error:
        msg = f"{url} cannot be reached: {error}; is 'paretoscope serve' running there?"
        raise EndpointError(msg) from error
    except (ValueError, KeyError, TypeError) as error:
        msg = f"{url} answered without a list of the group: {error!r}; is it that of 'paretoscope serve'?"
        raise EndpointError(msg) from error
