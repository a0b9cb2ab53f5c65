"""The rows of the forest plot and its data table: the slope under every analysis."""

from collections.abc import Callable
from typing import Any

Json = dict[str, Any]

ODDS, RATE = "slope", "elasticity of the rate"


def slopes_of(hypothesis: Json) -> list[Json]:
    """The slope of a hypothesis under every analysis that was run, the paper's first.

    A row has a ``name``, ``slope``, ``interval``, the ``scale`` of both and the assumption
    (``takes_for_granted``). The leave-one-out range has no slope.
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
    ("naive (i.i.d.)", _paper, ODDS, "impressions are independent, as in the paper"),
    ("cluster-robust", lambda one: one["user_clustered"], ODDS, "users are independent"),
    ("small-sample (Hartung–Knapp)", _few("hartung_knapp"), ODDS, "random deviations of groups"),
    ("quasi-binomial", _few("quasi_binomial"), ODDS, "overdispersion equal in all groups"),
    ("measurement error", _error_in_x, ODDS, "metrics are estimates, users are independent"),
    ("day fixed effects", _day_intercepts, ODDS, "days differ, users are independent"),
    ("anytime-valid", _looks, ODDS, "holds at every look, users are independent"),
    ("CUPED", _cuped, ODDS, "adjusted for pre-experiment data, users are independent"),
    ("leave-one-out", _left_out, ODDS, "smallest and largest slope without one group; not a CI"),
    ("log link", _log_link, RATE, "the logarithm of the KPI is linear, users are independent"),
)
