"""What is not the same in two studies: parameters and data; and whether they are independent."""

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

from pipeline.core.contracts import Kpi
from pipeline.results.document import Report
from pipeline.results.reader import StudyReport
from pipeline.study import flatten

_SIMULATED = {"simulated-shop", "direct"}


def _dataset(report: Report) -> str | None:
    return report.provenance.dataset.md5 if report.provenance.dataset else None


def _experiment(report: Report) -> str | None:
    return report.experiment.plan.experiment if report.experiment else None


_DATA: dict[str, Callable[[Report], Any]] = {
    "raw data, md5": _dataset,
    "events": lambda report: _of(report.data, "events.events"),
    "sessions": lambda report: _of(report.data, "events.sessions"),
    "events set aside": lambda report: _of(report.data, "events.rejected"),
    "items": lambda report: _of(report.data, "sessions.items"),
    "train clicks": lambda report: _of(report.data, "sessions.train_clicks"),
    "test sessions": lambda report: _of(report.data, "sessions.test_sessions"),
    "test clicks": lambda report: _of(report.data, "sessions.test_clicks"),
    "drift of session lengths": lambda report: _of(report.data, f"{_DRIFT}.length_distance.value"),
    "drift of clicked items": lambda report: _of(report.data, f"{_DRIFT}.item_distance.value"),
    "change of conversion": lambda report: _of(report.data, f"{_DRIFT}.conversion.difference"),
    "experiment": _experiment,
    "origin of its log": lambda report: report.experiment and report.experiment.origin,
    "groups": lambda report: report.experiment and len(report.experiment.plan.groups),
    "users": lambda report: _sum(report, "users"),
    "impressions": lambda report: _sum(report, "trials"),
    "clicked impressions": lambda report: _sum(report, "successes"),
    "code": lambda report: report.provenance.code,
}
_DRIFT = "profile.drift"


def changed_parameters(studies: Sequence[StudyReport]) -> list[dict[str, Any]]:
    """Parameters that are not the same in all studies, by dotted key; absent ones are None."""
    flats = [flatten(one.report.parameters or {}) for one in studies]
    keys = dict.fromkeys(key for values in flats for key in values)
    rows = [{"key": key, "values": [values.get(key) for values in flats]} for key in keys]
    return [row for row in rows if any(value != row["values"][0] for value in row["values"])]


def same_parameters(studies: Sequence[StudyReport]) -> int:
    """How many parameters are the same in all studies."""
    keys = {key for one in studies for key in flatten(one.report.parameters or {})}
    return len(keys) - len(changed_parameters(studies))


def data_of(studies: Sequence[StudyReport]) -> list[dict[str, Any]]:
    """What the studies were made of, a row a fact; None where a report does not say it."""
    rows = [
        {"what": what, "values": [read(one.report) for one in studies]}
        for what, read in _DATA.items()
    ]
    return [
        row | {"same": all(value == row["values"][0] for value in row["values"])}
        for row in rows
        if any(value is not None for value in row["values"])
    ]


def dependence_warnings(studies: Sequence[StudyReport]) -> dict[tuple[str, str], list[str]]:
    """Of every two studies, why their errors may have something in common."""
    return {
        (first.label, second.label): _doubts(first.report, second.report)
        for first, second in combinations(studies, 2)
    }


def _doubts(first: Report, second: Report) -> list[str]:
    found: list[str] = []
    names = [_experiment(one) for one in (first, second)]
    if names[0] is not None and names[0] == names[1]:
        found.append(f"both are of the experiment {names[0]!r}, so users may be the same")
    raw = [_dataset(one) for one in (first, second)]
    if raw[0] is not None and raw[0] == raw[1]:
        found.append("the offline metrics were measured on the same raw data")
    logs = [set(one.provenance.log.values()) for one in (first, second)]
    if logs[0] & logs[1]:
        found.append("files of the experiment's log are the same")
    if _simulated_users(first) == _simulated_users(second) is not None:
        found.append("the same simulated users were drawn from the same seeds")
    found += [
        f"{one.study} is an interim analysis, before its planned end"
        for one in (first, second)
        if any(answer.is_interim for answer in one.hypotheses)
    ]
    return found


def _simulated_users(report: Report) -> tuple[Any, ...] | None:
    """What simulated users are drawn from; None if the log is of others."""
    known = flatten(report.parameters or {})
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
    counts = [getattr(row, column) for row in report.group_kpis if row.kpi is Kpi.CTR]
    return sum(counts) if counts else None
