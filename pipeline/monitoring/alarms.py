"""What is wrong at one look. An alarm is significant and has an effect above a floor."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy.special import bdtrc, ndtr

from pipeline.core.labels import counted
from pipeline.inference.diagnostics.sample_ratio import sample_ratio_e_value
from pipeline.monitoring.following.features import FeatureCounts
from pipeline.monitoring.following.follower import DAMAGED_FILE
from pipeline.monitoring.following.ledger import UserSums
from pipeline.monitoring.statistics.distances import (
    expected_stability,
    jensen_shannon,
    population_stability,
    stability_p_value,
)
from pipeline.monitoring.statistics.rates import FAMILY_ALPHA, MONTH_DAYS, rate_of
from pipeline.monitoring.statistics.silence import LEAST_EXPECTED
from pipeline.results.family import Floats

SMALLEST_SHARE_ERROR = 0.01
"""Relative deviation from a group's planned share of users below which no alarm is raised."""

SMALLEST_DRIFT = 0.1
"""PSI beyond its expectation below which no alarm is raised."""

SMALLEST_OVERLAP = 0.9
"""Mean rank-biased overlap of served lists and the model's own below which an alarm is raised. Scores that
agree to six digits may swap neighbours, which costs less than 0.01."""

_LOOKS = 24 * MONTH_DAYS
_MIN_USERS = 100


class AlertName(StrEnum):
    """The alerts of the monitor; docs/runbooks has a page for each."""

    LOG_STOPPED = "LogStopped"
    SAMPLE_RATIO = "SampleRatio"
    KPI_DROPPED = "KpiDropped"
    CLICKS_LOST = "ClicksLost"
    CALIBRATION = "Calibration"
    DRIFT = "Drift"
    LISTS_DIFFER = "ListsDiffer"
    PANEL_FAILED = "PanelFailed"
    ORPHANS = "Orphans"
    DUPLICATES = "Duplicates"
    UNREADABLE_ROWS = "UnreadableRows"
    FALLBACKS = "Fallbacks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """One thing that is wrong.

    Attributes:
        name: Of the alert.
        subject: What it is about, such as a group and a KPI; empty for the whole log.
        text: One sentence with the numbers.
        value: What was found.
        limit: What it was compared with.
    """

    name: AlertName
    subject: str
    text: str
    value: float
    limit: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRatio:
    """Users per group against the plan, at any look.

    Attributes:
        users: Users of each group.
        shares: Their planned shares.
        e_value: Evidence against the plan; above 20 with a probability of 5% at most, ever.
        largest_error: Largest relative deviation of a group's share.
    """

    users: dict[str, int]
    shares: dict[str, float]
    e_value: float
    largest_error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """A feature on one day against its reference.

    Attributes:
        feature: Its name.
        model: The model's version.
        psi: Population stability index.
        excess: The PSI less its expectation without drift.
        p_value: Of that PSI without drift.
        js: Jensen–Shannon divergence in bits.
    """

    feature: str
    model: str
    psi: float
    excess: float
    p_value: float
    js: float


def check_sample_ratio(users: Mapping[str, int], shares: Mapping[str, float]) -> SampleRatio:
    """Compare users with the plan; groups without users count as 0."""
    counts = {name: users.get(name, 0) for name in shares}
    planned = {name: share / sum(shares.values()) for name, share in shares.items()}
    total = sum(counts.values())
    errors = (
        [abs(counts[n] / total / share - 1) for n, share in planned.items()] if total else [0.0]
    )
    return SampleRatio(
        users=counts,
        shares=planned,
        e_value=sample_ratio_e_value(_floats(counts.values()), _floats(planned.values())),
        largest_error=max(errors),
    )


def sample_ratio_alarms(found: SampleRatio) -> list[Alarm]:
    """Whether the sample ratio is mismatched."""
    limit = 1 / FAMILY_ALPHA
    if found.e_value <= limit or found.largest_error <= SMALLEST_SHARE_ERROR:
        return []
    counted = ", ".join(f"{name} {n:,}" for name, n in found.users.items())
    text = (
        f"sample ratio mismatch: users per group are {counted}; e-value {found.e_value:.3g}, above {limit:g}; a "
        f"share is off by {found.largest_error:.1%}"
    )
    return [_alarm(AlertName.SAMPLE_RATIO, text, found.e_value, limit)]


def drift_of(counts: FeatureCounts) -> Drift:
    """How far a feature is from its reference."""
    reference, current = counts.reference, counts.current
    psi = population_stability(reference, current)
    expected = expected_stability(len(reference), float(reference.sum()), float(current.sum()))
    return Drift(
        feature=counts.feature,
        model=counts.model,
        psi=psi,
        excess=psi - expected,
        p_value=stability_p_value(reference, current),
        js=jensen_shannon(reference, current),
    )


def drift_alarms(drifts: Iterable[Drift], features: int) -> list[Alarm]:
    """Features of a complete day that have drifted; ``features`` are watched."""
    limit = FAMILY_ALPHA / MONTH_DAYS / features
    return [
        Alarm(
            name=AlertName.DRIFT,
            subject=one.feature,
            text=(
                f"{one.feature} under model {one.model} has drifted: PSI {one.psi:.3f}, {one.excess:.3f} more "
                f"than without drift (p = {one.p_value:.2g}), {one.js:.3f} bits of Jensen–Shannon divergence"
            ),
            value=one.excess,
            limit=SMALLEST_DRIFT,
        )
        for one in drifts
        if one.p_value < limit and one.excess > SMALLEST_DRIFT
    ]


def silence_alarms(silent_seconds: float, expected: float, least_minutes: float) -> list[Alarm]:
    """Whether the log has stopped: silent for long enough, while lists were to be expected."""
    if silent_seconds < 60 * least_minutes or expected < LEAST_EXPECTED:
        return []
    minutes = silent_seconds / 60
    text = f"no list has been logged for {minutes:.1f} minutes, in which {expected:,.0f} are usual"
    return [_alarm(AlertName.LOG_STOPPED, text, minutes, least_minutes)]


def quality_alarms(rows: Mapping[tuple[str, str], int]) -> list[Alarm]:
    """Rows of the last day that have a problem, by table and problem; the empty one is none."""
    found: list[Alarm] = []
    for name, problems, limit, word in _PROBLEMS:
        for log in sorted({log for log, _ in rows}):
            bad = sum(rows.get((log, problem), 0) for problem in problems)
            total = sum(n for (table, _), n in rows.items() if table == log)
            if bad and is_above(bad, total, limit):
                share = bad / total
                text = f"{bad:,} of {total:,} rows of {log} in a day {word}: {share:.1%}, above {limit:.0%}"
                found.append(Alarm(name=name, subject=log, text=text, value=share, limit=limit))
    for (log, problem), files in rows.items():
        if problem == DAMAGED_FILE and files:
            text = f"{counted(files, 'file')} of {log} damaged in the last day: rows are lost, the monitor's log names them"
            found.append(
                Alarm(name=AlertName.UNREADABLE_ROWS, subject=log, text=text, value=files, limit=0)
            )
    return found


_PROBLEMS = (
    (AlertName.ORPHANS, ("no impression", "unknown impression"), 0.05, "have no impression"),
    (AlertName.DUPLICATES, ("duplicate",), 0.05, "repeat another one"),
    (AlertName.UNREADABLE_ROWS, ("unreadable line", "invalid row"), 0.01, "cannot be read"),
)
"""Alert, problems, the largest share without a fault, and what to call them."""


def is_above(bad: int, total: int, limit: float) -> bool:
    """Whether a share of independent rows is significantly above a limit, at one of a month's looks."""
    return float(bdtrc(bad - 1, total, limit)) < FAMILY_ALPHA / _LOOKS


_LARGEST_FALLBACK = 0.05
"""The largest share of popular items without a fault."""


def fallback_alarms(sums: Mapping[str, UserSums]) -> list[Alarm]:
    """Groups whose lists are popular items too often, on one day."""
    found, limit = list[Alarm](), _LARGEST_FALLBACK
    for group, one in sums.items():
        rate = rate_of(one)
        if rate is None or rate.users < _MIN_USERS or rate.rate <= limit:
            continue
        z = (rate.rate - limit) / rate.variance**0.5 if rate.variance > 0 else float("inf")
        if float(ndtr(-z)) < FAMILY_ALPHA / _LOOKS:
            text = (
                f"{rate.rate:.1%} of the lists of {group} today are popular items, above {limit:.0%}: the "
                "model does not answer in time, or knows no item of the session"
            )
            found.append(
                Alarm(
                    name=AlertName.FALLBACKS,
                    subject=group,
                    text=text,
                    value=rate.rate,
                    limit=limit,
                )
            )
    return found


def overlap_alarms(overlaps: Mapping[str, float]) -> list[Alarm]:
    """Groups whose served lists are not those of the study's model and rules."""
    return [
        Alarm(
            name=AlertName.LISTS_DIFFER,
            subject=group,
            text=(
                f"the endpoint's lists of {group} are not those of this study's model and rules: mean "
                f"rank-biased overlap {overlap:.3f} on the panel, below {SMALLEST_OVERLAP:g}"
            ),
            value=overlap,
            limit=SMALLEST_OVERLAP,
        )
        for group, overlap in overlaps.items()
        if overlap < SMALLEST_OVERLAP
    ]


def _alarm(name: AlertName, text: str, value: float, limit: float) -> Alarm:
    return Alarm(name=name, subject="", text=text, value=value, limit=limit)


def _floats(values: Iterable[float]) -> Floats:
    return np.array(list(values), dtype=np.float64)
