"""Differences between the parameters and data of studies, and reasons why they may be dependent."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from pipeline.core.contracts import Kpi
from pipeline.reporting.comparison.front_comparison import raw_md5
from pipeline.results.document import Report
from pipeline.results.reader import StudyReport
from pipeline.study import flatten

_SIMULATED = {"simulated-shop", "direct"}

_IN_DATA = {
    "events": "events.events",
    "sessions": "events.sessions",
    "rejected rows": "events.rejected",
    "items": "sessions.items",
    "train clicks": "sessions.train_clicks",
    "test sessions": "sessions.test_sessions",
    "test clicks": "sessions.test_clicks",
    "drift of session length": "profile.drift.length_distance.value",
    "drift of clicked items": "profile.drift.item_distance.value",
    "change of conversion rate": "profile.drift.conversion.difference",
}
"""Facts by their dotted key in ``report.data``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedParameter:
    """A parameter that differs between studies, one value per study; None where absent."""

    key: str
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedFact:
    """A fact about the data, one value per study; None where the report does not contain it."""

    fact: str
    values: tuple[Any, ...]
    same: bool


def changed_parameters(studies: Sequence[StudyReport]) -> list[ComparedParameter]:
    """Parameters that differ between studies, by dotted key."""
    flats = [flatten(one.report.parameters or {}) for one in studies]
    keys = dict.fromkeys(key for values in flats for key in values)
    rows = [ComparedParameter(key=key, values=tuple(one.get(key) for one in flats)) for key in keys]
    return [row for row in rows if not _all_equal(row.values)]


def equal_parameters(studies: Sequence[StudyReport]) -> int:
    """The number of parameters with the same value in all studies."""
    keys = {key for one in studies for key in flatten(one.report.parameters or {})}
    return len(keys) - len(changed_parameters(studies))


def compare_data(studies: Sequence[StudyReport]) -> list[ComparedFact]:
    """The data of the studies, one row per fact that a report contains."""
    facts = [_facts(one.report) for one in studies]
    rows = {name: tuple(one[name] for one in facts) for name in facts[0]}
    return [
        ComparedFact(fact=name, values=values, same=_all_equal(values))
        for name, values in rows.items()
        if any(value is not None for value in values)
    ]


def _facts(report: Report) -> dict[str, Any]:
    data, experiment = flatten(report.data or {}), report.experiment
    impressions = [row for row in report.group_kpis if row.kpi is Kpi.CTR]
    return {
        "raw data, md5": raw_md5(report),
        **{name: data.get(key) for name, key in _IN_DATA.items()},
        "experiment": experiment and experiment.plan.experiment,
        "origin of the log": experiment and experiment.origin,
        "groups": experiment and len(experiment.plan.groups),
        "users": sum(row.users or 0 for row in impressions),
        "impressions": sum(row.trials for row in impressions),
        "clicked impressions": sum(row.successes for row in impressions),
        "code": report.provenance.code,
    }


def _all_equal(values: tuple[Any, ...]) -> bool:
    return all(value == values[0] for value in values)


def dependence_warnings(studies: Sequence[StudyReport]) -> dict[tuple[str, str], list[str]]:
    """Why the errors of two studies may be dependent, for every pair."""
    return {
        (first.label, second.label): _reasons(first.report, second.report)
        for first, second in combinations(studies, 2)
    }


def _reasons(first: Report, second: Report) -> list[str]:
    found: list[str] = []
    names = [one.experiment and one.experiment.plan.experiment for one in (first, second)]
    if names[0] is not None and names[0] == names[1]:
        found.append(f"both use the experiment {names[0]!r} and may share users")
    if raw_md5(first) == raw_md5(second) is not None:
        found.append("the offline metrics are measured on the same raw data")
    if set(first.provenance.log.values()) & set(second.provenance.log.values()):
        found.append("the experiment logs share files")
    if _simulated_users(first) == _simulated_users(second) is not None:
        found.append("the simulated users have the same seeds")
    found += [
        f"{one.study} is an interim result"
        for one in (first, second)
        if any(result.is_interim for result in one.hypotheses)
    ]
    return found


def _simulated_users(report: Report) -> tuple[Any, ...] | None:
    """The source and seeds of simulated users; None for other logs."""
    known = flatten(report.parameters or {})
    if known.get("experiment.source") not in _SIMULATED:
        return None
    return known["experiment.source"], known.get("study.seed"), known.get("synthetic.seed")
