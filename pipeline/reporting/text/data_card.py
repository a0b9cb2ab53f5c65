"""The data card: the profile of :mod:`pipeline.sessions.profile` as Markdown."""

from collections.abc import Mapping
from typing import Any

from pipeline.reporting.render import MARKDOWN, jinja_environment, render

Json = Mapping[str, Any]


def data_card_markdown(profile: Json, events_summary: Json, sessions_summary: Json) -> str:
    """The data card in Markdown, without a title."""
    environment = jinja_environment(MARKDOWN, None)
    card = card_numbers(profile, events_summary, sessions_summary)
    values = {"profile": profile, "events": events_summary, "card": card}
    return render(environment, MARKDOWN, "data_card.md", values)


def card_numbers(profile: Json, events_summary: Json, sessions_summary: Json) -> dict[str, Any]:
    """Derived numbers of the card: counts, shares, and the change of conversion in points."""
    rows = events_summary["events"] + events_summary["rejected"]
    whole = {
        "sessions": sessions_summary["sessions_in"],
        "clicks": events_summary["event_types"]["click"],
    }
    left = {what: sum(part[what] for part in profile["by_split"].values()) for what in whole}
    change = profile["drift"]["conversion"]
    return {
        "days": len(profile["events_by_day"]),
        "files": len(events_summary["files"]),
        "rejected_shares": {
            why: _share(n, rows) for why, n in profile["rejected_by_reason"].items()
        },
        "dropped_shares": {
            what: _share(n, whole.get(what.split("_")[0])) for what, n in profile["dropped"].items()
        },
        "left": {
            what: {"left": left[what], "of": n, "share": _share(left[what], n)}
            for what, n in whole.items()
        },
        "conversion": _in_points(change["difference"], change["standard_error"]),
    }


def _share(part: int, whole: int | None) -> float | None:
    return part / whole if whole else None


def _in_points(difference: float | None, error: float | None) -> dict[str, Any]:
    """A difference of shares in percentage points, with its 95% CI."""
    if difference is None:
        return {"difference": None, "interval": None}
    ends = None if error is None else [100 * (difference + s * 1.96 * error) for s in (-1, 1)]
    return {"difference": 100 * difference, "interval": ends}
