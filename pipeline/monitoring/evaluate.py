"""One look at the sums: KPIs with bands, everything that is watched, and the alarms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.core.contracts import DAY_MS
from pipeline.experiment.design.traffic_plan import TrafficPlan
from pipeline.monitoring.alarms import (
    Alarm,
    Drift,
    SampleRatio,
    check_sample_ratio,
    drift_alarms,
    drift_of,
    fallback_alarms,
    quality_alarms,
    sample_ratio_alarms,
    silence_alarms,
)
from pipeline.monitoring.calibrations import calibrations
from pipeline.monitoring.click_alarms import calibration_alarms, drop_alarms, lost_click_alarms
from pipeline.monitoring.following.database import Database
from pipeline.monitoring.following.features import FEATURES, FeatureStore
from pipeline.monitoring.following.ledger import Period, UserSums
from pipeline.monitoring.following.outcomes import FALLBACKS, ORDERS_WITHOUT_CLICK
from pipeline.monitoring.following.rows import Slice
from pipeline.monitoring.following.sums import lists_by_hour, read_sums, row_counts
from pipeline.monitoring.statistics.calibration import Calibration
from pipeline.monitoring.statistics.lost_clicks import LostClicks, lost_clicks_of
from pipeline.monitoring.statistics.rates import (
    Band,
    Baseline,
    Drop,
    Looks,
    band_of,
    drop_of,
    first_mixture,
    rate_of,
)
from pipeline.monitoring.statistics.silence import HOUR_SECONDS, expected_lists

_BASELINE_DAYS = 28
_SILENCE_DAYS = 29
_MIXTURES = "mixtures"
_MIN_USERS = 100
"""Of a band, below which its error is not known well enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What a study watches.

    Attributes:
        plan: Groups and their shares.
        kpis: KPIs with bands, as in the log.
        dropped: KPIs whose drops are looked for, in a group against the others.
        planned_users: Of the whole experiment, for which the bands are narrowest.
        silence_minutes: Of ``monitoring.silence_minutes``.
    """

    plan: TrafficPlan
    kpis: Sequence[str]
    dropped: Sequence[str]
    planned_users: float
    silence_minutes: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What one look has found.

    Attributes:
        at: Time of the look, in seconds since 1970.
        written: When impressions were last logged; 0 if never.
        rows: Rows by table and problem, since the log was first read.
        bands: KPIs by slice, with anytime-valid intervals.
        lists: Lists that count by hour since 1970 UTC, of the last 24 hours; hours without any are left out.
        sample_ratio: Users of the groups against the plan; None without users.
        drops: KPIs of groups against the other groups and the days before.
        lost_clicks: Orders without a click, by group, as drops.
        calibrations: Clicks against predicted clicks on the last complete day.
        drifts: Features on the last complete day.
        alarms: What is wrong.
    """

    at: float
    written: float
    rows: Mapping[tuple[str, str], int]
    bands: Mapping[Slice, Mapping[str, Band]]
    lists: Mapping[int, int]
    sample_ratio: SampleRatio | None
    drops: Sequence[Drop]
    lost_clicks: Sequence[LostClicks]
    calibrations: Sequence[Calibration]
    drifts: Sequence[Drift]
    alarms: Sequence[Alarm]


def evaluate(database: Database, watched: Watched, *, now: float, written: float) -> Findings:
    """Evaluate the sums in the database.

    Args:
        database: The monitor's.
        watched: What to look at.
        now: Seconds since 1970.
        written: When the log was last written.
    """
    everything = read_sums(database, Period.ALL)
    today = int(now * 1000) // DAY_MS
    hour = int(now) // HOUR_SECONDS
    ratio = _sample_ratio(everything, watched.plan)
    days = _DailySums(database, watched.plan.experiment, today)
    drops, lost = list[Drop](), list[LostClicks]()
    for day, is_end in ((today - 1, True), (today, False)):
        drops += _drops(days, watched, day, is_end=is_end)
        lost += _lost_clicks(days, watched, day, is_end=is_end)
    groups = [group.name for group in watched.plan.groups]
    calibrated = calibrations(database, watched.plan.experiment, groups, today - 1)
    drifts = [drift_of(counts) for counts in FeatureStore(database).counts(today - 1)]
    fallbacks = {name: sums[FALLBACKS] for name, sums in days.groups(today).items()}
    alarms = [
        *_silence(database, watched, now, written),
        *(sample_ratio_alarms(ratio) if ratio else []),
        *drop_alarms(drops),
        *lost_click_alarms(lost),
        *calibration_alarms(calibrated),
        *drift_alarms(drifts, len(FEATURES)),
        *quality_alarms(row_counts(database, hour - 24)),
        *fallback_alarms(fallbacks),
    ]
    return Findings(
        at=now,
        written=written,
        rows=row_counts(database),
        bands=_bands(database, everything, watched),
        lists=lists_by_hour(database, hour - 23),
        sample_ratio=ratio,
        drops=drops,
        lost_clicks=lost,
        calibrations=calibrated,
        drifts=drifts,
        alarms=alarms,
    )


def _silence(database: Database, watched: Watched, now: float, written: float) -> list[Alarm]:
    """Whether the log has stopped; four weeks of sums are read only if it is silent."""
    least = watched.silence_minutes
    if not written or now - written < 60 * least:
        return []
    usual = lists_by_hour(database, int(now) // HOUR_SECONDS - 24 * _SILENCE_DAYS)
    return silence_alarms(now - written, expected_lists(usual, written, now), least)


class _DailySums:
    """The sums of the experiment's groups by day; each day is read once per look."""

    def __init__(self, database: Database, experiment: str, today: int) -> None:
        self._database = database
        self._experiment = experiment
        self._found = {day: self._read(day) for day in range(today - _BASELINE_DAYS - 1, today + 1)}

    def groups(self, day: int) -> dict[str, dict[str, UserSums]]:
        """Sums by group and KPI."""
        return self._found.get(day, {})

    def of_kpi(self, day: int, kpi: str) -> dict[str, UserSums]:
        """The sums of one KPI by group."""
        return {name: sums[kpi] for name, sums in self.groups(day).items()}

    def before(self, day: int, kpi: str) -> Baseline:
        """The days before a day, of one KPI."""
        earlier = (self.of_kpi(past, kpi) for past in range(day - _BASELINE_DAYS, day))
        return Baseline.of([one for one in earlier if one])

    def _read(self, day: int) -> dict[str, dict[str, UserSums]]:
        return {
            part.group: sums
            for part, sums in read_sums(self._database, Period.DAY, day).items()
            if part.group and part.experiment == self._experiment
        }


def _drops(days: _DailySums, watched: Watched, day: int, *, is_end: bool) -> list[Drop]:
    """Drops on a day: at its end, or at any look before it."""
    names = [group.name for group in watched.plan.groups]
    looks = Looks(groups=len(names), is_end=is_end)
    found: list[Drop] = []
    for kpi in watched.dropped:
        today, before = days.of_kpi(day, kpi), days.before(day, kpi)
        drops = (drop_of(name, kpi, today, before, looks) for name in names)
        found += [one for one in drops if one is not None]
    return found


def _lost_clicks(days: _DailySums, watched: Watched, day: int, *, is_end: bool) -> list[LostClicks]:
    """Orders without a click on a day: at its end, or at any look before it."""
    names = [group.name for group in watched.plan.groups]
    looks = Looks(groups=len(names), is_end=is_end)
    today = days.of_kpi(day, ORDERS_WITHOUT_CLICK)
    before = days.before(day, ORDERS_WITHOUT_CLICK)
    found = (lost_clicks_of(name, today, before, looks) for name in names)
    return [one for one in found if one is not None]


def _sample_ratio(
    sums: Mapping[Slice, Mapping[str, UserSums]], plan: TrafficPlan
) -> SampleRatio | None:
    users = {
        part.group: one["ctr"].users
        for part, one in sums.items()
        if part.group and part.experiment == plan.experiment
    }
    if not users:
        return None
    return check_sample_ratio(users, {group.name: group.share for group in plan.groups})


def _bands(
    database: Database, sums: Mapping[Slice, Mapping[str, UserSums]], watched: Watched
) -> dict[Slice, dict[str, Band]]:
    """KPIs with confidence sequences, whose mixtures are fixed at their first look and stored."""
    mixtures: dict[str, float] = database.get(_MIXTURES, {})
    known, planned = len(mixtures), watched.planned_users / len(watched.plan.groups)
    bands: dict[Slice, dict[str, Band]] = {}
    for part, by_kpi in sums.items():
        for kpi in watched.kpis:
            rate, key = rate_of(by_kpi[kpi]), f"{part.key()} {kpi}"
            if rate is None or rate.users < _MIN_USERS or not rate.variance:
                continue
            mixtures.setdefault(key, first_mixture(rate, planned))
            bands.setdefault(part, {})[kpi] = band_of(rate, mixtures[key])
    if len(mixtures) > known:
        with database.transaction():
            database.put(_MIXTURES, mixtures)
    return bands
