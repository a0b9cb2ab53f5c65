"""Differences between the parameters and data of studies, and reasons why they may be dependent."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from pipeline.reporting.comparison.reading import Report, StudyReport
from pipeline.study import flatten

_SIMULATED = {"simulated-shop", "direct"}

_DATA: dict[str, Callable[[Report], Any]] = {
    "raw data, md5": lambda report: report.provenance.get("dataset", {}).get("md5"),
    "events": lambda report: _of(report.data, "events.events"),
    "sessions": lambda report: _of(report.data, "events.sessions"),
    "rejected rows": lambda report: _of(report.data, "events.rejected"),
    "items": lambda report: _of(report.data, "sessions.items"),
    "train clicks": lambda report: _of(report.data, "sessions.train_clicks"),
    "test sessions": lambda report: _of(report.data, "sessions.test_sessions"),
    "test clicks": lambda report: _of(report.data, "sessions.test_clicks"),
    "drift of session length": lambda report: _of(report.data, f"{_DRIFT}.length_distance.value"),
    "drift of clicked items": lambda report: _of(report.data, f"{_DRIFT}.item_distance.value"),
    "change of conversion rate": lambda report: _of(report.data, f"{_DRIFT}.conversion.difference"),
    "experiment": lambda report: report.experiment.plan.get("experiment"),
    "origin of the log": lambda report: report.experiment.origin,
    "groups": lambda report: len(report.experiment.plan.get("groups", [])),
    "users": lambda report: _sum(report, "users"),
    "impressions": lambda report: _sum(report, "trials"),
    "clicked impressions": lambda report: _sum(report, "successes"),
    "code": lambda report: report.provenance.get("code"),
}
_DRIFT = "profile.drift"


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
    flats = [flatten(one.report.parameters) for one in studies]
    keys = dict.fromkeys(key for values in flats for key in values)
    rows = [ComparedParameter(key=key, values=tuple(one.get(key) for one in flats)) for key in keys]
    return [row for row in rows if not _all_equal(row.values)]


def equal_parameters(studies: Sequence[StudyReport]) -> int:
    """The number of parameters with the same value in all studies."""
    keys = {key for one in studies for key in flatten(one.report.parameters)}
    return len(keys) - len(changed_parameters(studies))


def compare_data(studies: Sequence[StudyReport]) -> list[ComparedFact]:
    """The data of the studies, one row per fact that a report contains."""
    rows = {fact: tuple(read(one.report) for one in studies) for fact, read in _DATA.items()}
    return [
        ComparedFact(fact=fact, values=values, same=_all_equal(values))
        for fact, values in rows.items()
        if any(value is not None for value in values)
    ]


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
    names = [one.experiment.plan.get("experiment") for one in (first, second)]
    if names[0] is not None and names[0] == names[1]:
        found.append(f"both use the experiment {names[0]!r} and may share users")
    raw = [one.provenance.get("dataset", {}).get("md5") for one in (first, second)]
    if raw[0] is not None and raw[0] == raw[1]:
        found.append("the offline metrics are measured on the same raw data")
    logs = [set(one.provenance.get("log", {}).values()) for one in (first, second)]
    if logs[0] & logs[1]:
        found.append("the experiment logs share files")
    if _simulated_users(first) == _simulated_users(second) is not None:
        found.append("the simulated users have the same seeds")
    found += [
        f"{one.study} is an interim result"
        for one in (first, second)
        if any(answer.reading == "early look" for answer in one.hypotheses)
    ]
    return found


def _simulated_users(report: Report) -> tuple[Any, ...] | None:
    """The source and seeds of simulated users; None for other logs."""
    known = flatten(report.parameters)
    if known.get("experiment.source") not in _SIMULATED:
        return None
    return known["experiment.source"], known.get("study.seed"), known.get("synthetic.seed")


def _of(values: Any, key: str) -> Any:
    for part in key.split("."):
        if not isinstance(values, dict):
            return None
        values = values.get(part)
    return values


def _sum(report: Report, column: str) -> int | None:
    counts = [row.get(column) for row in report.group_kpis if row.get("kpi") == "ctr"]
    known = [count for count in counts if isinstance(count, int)]
    return sum(known) if known else None
