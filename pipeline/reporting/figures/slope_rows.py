"""Every analysis of a slope side by side, for the forest plot and the table behind it."""

from collections.abc import Callable
from typing import Any

Json = dict[str, Any]

ODDS, RATE = "slope", "elasticity of the rate"


def slopes_of(hypothesis: Json) -> list[Json]:
    """The slope of a hypothesis under every analysis that was made, the paper's first.

    A row has a ``name``, ``slope``, ``interval``, the ``scale`` of both and what the analysis
    ``takes_for_granted``. The range without one group has no slope of its own.
    """
    if hypothesis["slope"] is None:
        return []
    rows: list[Json] = []
    for name, of, scale, words in _ANALYSES:
        found = of(hypothesis)
        if found is None:
            continue
        rows.append(
            {
                "name": name,
                "slope": found["slope"],
                "interval": list(found["interval"]),
                "scale": scale,
                "takes_for_granted": words,
            }
        )
    return rows


def _paper(hypothesis: Json) -> Json:
    return {"slope": hypothesis["slope"], "interval": hypothesis["interval"]}


def _few(name: str) -> Callable[[Json], Json | None]:
    return lambda hypothesis: (hypothesis["few_groups"] or {}).get(name)


def _error_in_x(hypothesis: Json) -> Json | None:
    return (hypothesis["error_in_x"] or {}).get("propagated")


def _day_intercepts(hypothesis: Json) -> Json | None:
    return (hypothesis["day_effects"] or {}).get("fixed")


def _looks(hypothesis: Json) -> Json | None:
    return hypothesis["looks"][-1] if hypothesis["looks"] else None


def _left_out(hypothesis: Json) -> Json | None:
    ends = hypothesis["leave_one_out_range"]
    return {"slope": None, "interval": ends} if ends else None


def _cuped(hypothesis: Json) -> Json | None:
    return (hypothesis["cuped"] or {}).get("clustered")


def _log_link(hypothesis: Json) -> Json | None:
    return hypothesis["log_rate"]


_ANALYSES: tuple[tuple[str, Callable[[Json], Json | None], str, str], ...] = (
    ("paper", _paper, ODDS, "impressions are independent"),
    ("users clustered", lambda one: one["user_clustered"], ODDS, "users are independent"),
    ("few groups", _few("hartung_knapp"), ODDS, "groups deviate from the line at random"),
    ("few groups, dispersion", _few("quasi_binomial"), ODDS, "groups deviate as far as they do"),
    ("error in x", _error_in_x, ODDS, "the metrics are estimates, users are independent"),
    ("day intercepts", _day_intercepts, ODDS, "days differ, users are independent"),
    ("all days at once", _looks, ODDS, "one may look every day"),
    ("past of the users", _cuped, ODDS, "what users did before is taken out (CUPED)"),
    ("without one group", _left_out, ODDS, "the flattest and the steepest slope, no interval"),
    ("log link", _log_link, RATE, "the KPI's logarithm is the line; users are independent"),
)
