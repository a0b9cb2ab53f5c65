"""Rows of the endpoint's log as types; docs/serving.md describes the columns."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from typing import Any, NamedTuple, Self, TypeGuard

from pipeline.monitoring.following.outcomes import Event

_ID_BYTES = 16
_USER_BYTES = 8
_EVENT_BYTES = 8
_LATEST = 1 << 62


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """The users whose sums are kept together: a group of the experiment, or an arm in a stage.

    Attributes:
        experiment: Its name; of an arm, that of the experiment it is outside of.
        group: The group; None for an arm.
        arm: ``incumbent`` or ``candidate``; None for a group.
        release: The release that is rolled out.
        stage: The stage of the rollout in which the list was served.
    """

    experiment: str
    group: str | None = None
    arm: str | None = None
    release: str | None = None
    stage: str | None = None

    @property
    def label(self) -> str:
        """The group, or the arm with its stage."""
        return self.group or "/".join(part for part in (self.arm, self.release, self.stage) if part)

    def key(self) -> str:
        """The slice as JSON, by which the database knows it."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_key(cls, key: str) -> Self:
        """Read back what :meth:`key` wrote."""
        return cls(**json.loads(key))


class Impression(NamedTuple):
    """A list that was shown. ``slice`` is None if it is not evaluated, for the reason ``outside``."""

    id: bytes
    user: bytes
    ts: int
    slice: Slice | None
    outside: str
    fallback: str | None
    model: str
    features: Mapping[str, float]


class Outcome(NamedTuple):
    """A click or an order of an impression, and whether this study's endpoint issued that."""

    impression: bytes
    event: Event
    known: bool


def impression_of(row: Mapping[str, Any], forced: Mapping[str, str]) -> Impression | None:
    """An impression; None if a column is missing or of the wrong type.

    ``forced`` are the users of forced assignment, whose impressions are not evaluated.
    """
    found, user, ts = row.get("impression"), row.get("user"), row.get("ts")
    if not (isinstance(found, str) and isinstance(user, str) and _is_time(ts)):
        return None
    part, outside = _slice_of(row)
    if part is not None and user in forced:
        part, outside = None, "forced assignment"
    return Impression(
        id=digest(found),
        user=_digest(user, _USER_BYTES),
        ts=ts,
        slice=part,
        outside=outside,
        fallback=None if (reason := row.get("fallback")) is None else str(reason),
        model=str(row.get("model")),
        features=_features(row) if part is not None and part.group else {},
    )


def outcome_of(row: Mapping[str, Any], *, is_order: bool) -> Outcome | None:
    """A click or an order; None if a column is missing or of the wrong type."""
    found, ts, units, revenue = (row.get(name) for name in ("impression", "ts", "units", "revenue"))
    if not (isinstance(found, str) and _is_time(ts)):
        return None
    if is_order and type(units) is not int:
        return None
    amounts = (units, revenue if type(revenue) is int else None) if is_order else (None, None)
    event = row.get("event")
    known = _digest(event, _EVENT_BYTES).hex() if isinstance(event, str) and event else None
    is_known = row.get("known_impression") is not False
    return Outcome(digest(found), Event(ts, *amounts, known), is_known)


def digest(impression: str) -> bytes:
    """The key of an impression in the database."""
    return _digest(impression, _ID_BYTES)


def _digest(text: str, size: int) -> bytes:
    return blake2b(text.encode(), digest_size=size).digest()


def _slice_of(row: Mapping[str, Any]) -> tuple[Slice | None, str]:
    """Where an impression counts, or why it does not."""
    experiment = str(row.get("experiment"))
    if row.get("explored") is True:
        return None, "explored list"
    if (group := row.get("group")) is not None:
        return Slice(experiment=experiment, group=str(group)), ""
    if row.get("switched") is True:
        return None, "switched arm"
    if (arm := row.get("arm")) is None:
        return None, "outside the experiment"
    release, stage = (row.get(name) for name in ("release", "stage"))
    return Slice(
        experiment=experiment,
        arm=str(arm),
        release=None if release is None else str(release),
        stage=None if stage is None else str(stage),
    ), ""


def _features(row: Mapping[str, Any]) -> dict[str, float]:
    """What may drift: the session, and the model's scores; those of a fallback are unknown."""
    session, scores = row.get("session"), row.get("scores")
    found: dict[str, float] = {}
    if isinstance(session, list):
        found["session_length"] = len(session)
        unknown = row.get("unknown_items")
        if session and isinstance(unknown, int):
            found["unknown_items"] = unknown / len(session)
    if (
        isinstance(scores, list)
        and len(scores) > 1
        and {type(one) for one in scores} <= {float, int}
    ):
        found |= score_features(scores)
    return found


def score_features(scores: Sequence[float]) -> dict[str, float]:
    """Of a list's scores, best first: the first, its margin over the second, and the entropy in nats.

    The entropy is that of the softmax of the list's own scores.
    """
    weights = [math.exp(min(score - scores[0], 0.0)) for score in scores]
    total = sum(weights)
    mean = sum(weight * math.log(weight) for weight in weights if weight) / total
    return {
        "top_score": float(scores[0]),
        "score_margin": float(scores[0] - scores[1]),
        "score_entropy": math.log(total) - mean,
    }


def _is_time(ts: object) -> TypeGuard[int]:
    return type(ts) is int and 0 <= ts < _LATEST
