"""What the page shows of the monitor's last look: users, KPIs, the log and alerts."""

from collections.abc import Sequence
from datetime import UTC, datetime

from pipeline.core.contracts import Kpi
from pipeline.core.labels import counted
from pipeline.monitoring.alarms import AlertName
from pipeline.monitoring.statistics.rates import FAMILY_ALPHA
from pipeline.monitoring.status import KpiBand, MonitorStatus
from pipeline.reporting.text.formatting import kpi as kpi_label
from pipeline.reporting.text.formatting import number, p_statement, percent, signed
from pipeline.rollout.fold import Rollout
from pipeline.serving.live.view import (
    AlertRow,
    BandRow,
    ClicksRow,
    HourBar,
    KpiCard,
    LogRow,
    LogView,
    SplitRow,
    SplitView,
)
from pipeline.serving.live.words import age, capitalised, rates

HOURS = 24
ALL = "all groups"
_HOUR_SECONDS = 3600
_ROOM = 1.1
"""Length of the axis of shares, in multiples of the largest one."""

_MARGIN = 0.06
"""Of the axis of a KPI, on each side, in multiples of the range of its bands."""


def split_view(status: MonitorStatus, preferences: dict[str, str]) -> SplitView | None:
    """Users by group against the plan; None without users."""
    found = status.sample_ratio
    if found is None:
        return None
    total = sum(found.users.values())
    shares = {name: n / total for name, n in found.users.items()}
    longest = _ROOM * max(*shares.values(), *found.shares.values())
    rows = [
        SplitRow(
            group=name,
            preference=preferences.get(name, ""),
            users=f"{found.users[name]:,}",
            share=percent(shares[name], 2),
            planned=percent(planned, 2),
            deviation=f"{signed(100 * (shares[name] / planned - 1), 1)}%",
            overlap=number(status.overlaps.get(name), 3),
            bar=round(100 * shares[name] / longest, 2),
            mark=round(100 * planned / longest, 2),
        )
        for name, planned in found.shares.items()
    ]
    is_mismatch = any(one.name is AlertName.SAMPLE_RATIO for one in status.alarms)
    limit = 1 / FAMILY_ALPHA
    numbers = (
        f"e-value {found.e_value:.3g} (alarm above {limit:g}), sequential "
        f"{p_statement(min(1.0, 1 / found.e_value) if found.e_value else 1.0)}, shares off by up to "
        f"{found.largest_error:.1%}"
    )
    verdict = "Sample ratio mismatch" if is_mismatch else "The split agrees with the plan"
    return SplitView(
        tone="bad" if is_mismatch else "good",
        sentence=f"{verdict}: {numbers}.",
        rows=rows,
        has_overlap=bool(status.overlaps),
    )


def kpi_cards(status: MonitorStatus, rollout: Rollout | None) -> list[KpiCard]:
    """The KPIs of the groups and of the arms that are served now, in the order of the KPIs."""
    names = [kpi.value for kpi in Kpi]
    shown = [one for one in status.kpis if _is_shown(one, status, rollout)]
    order = list(status.sample_ratio.shares) if status.sample_ratio else []
    shown.sort(key=lambda one: (one.group is None, _place(one.group, order), one.arm or ""))
    cards = {name: [one for one in shown if one.kpi == name] for name in names}
    return [_card(name, bands) for name, bands in cards.items() if bands]


def _place(group: str | None, order: Sequence[str]) -> int:
    """The position of a group in the plan; last if it is not there."""
    return order.index(group) if group in order else len(order)


def _is_shown(band: KpiBand, status: MonitorStatus, rollout: Rollout | None) -> bool:
    """Whether a band is of a group of the experiment, or of an arm of what is rolled out now."""
    if band.group is not None:
        return band.experiment == status.experiment
    now: tuple[str | None, str | None] = (None, None)
    if rollout is not None and rollout.state.is_live and rollout.stage is not None:
        now = (rollout.release, rollout.stage.name)
    return (band.release, band.stage) == now and band.experiment == status.experiment


def _card(name: str, bands: Sequence[KpiBand]) -> KpiCard:
    low, high = min(one.low for one in bands), max(one.high for one in bands)
    room = _MARGIN * (high - low) or max(high, 1.0)
    start, end = max(low - room, 0.0), high + room
    axis = rates(name, (start, end), start, end)
    return KpiCard(
        label=kpi_label(name),
        rows=[_row(one, start, end) for one in bands],
        axis_low=axis[0],
        axis_high=axis[1],
    )


def _row(band: KpiBand, start: float, end: float) -> BandRow:
    value, low, high = rates(band.kpi, (band.rate, band.low, band.high), band.low, band.high)

    def place(at: float) -> float:
        return 100 * (at - start) / (end - start)

    return BandRow(
        name=band.group or band.arm or "",
        is_arm=band.group is None,
        value=value,
        low=low,
        high=high,
        users=counted(band.users, "user"),
        start=round(place(band.low), 2),
        width=round(place(band.high) - place(band.low), 2),
        dot=round(place(band.rate), 2),
    )


def clicks_rows(status: MonitorStatus) -> list[ClicksRow]:
    """Orders without a click and clicks per predicted click, by group in the order of the plan, and of all."""
    lost = {one.group: one for one in status.lost_clicks}
    ratios = {one.group or ALL: one for one in status.calibrations}
    order = [*status.sample_ratio.shares, ALL] if status.sample_ratio else []
    rows: list[ClicksRow] = []
    for name in (name for name in order if name in lost or name in ratios):
        orders, clicks = lost.get(name), ratios.get(name)
        rows.append(
            ClicksRow(
                group=name,
                without_click=percent(orders.share, 1) if orders else "",
                usual=percent(orders.expected, 1) if orders else "",
                ratio=number(clicks.ratio, 3) if clicks else "",
                limits=f"{number(clicks.low, 3)} to {number(clicks.high, 3)}" if clicks else "",
            )
        )
    return rows


def log_view(status: MonitorStatus) -> LogView:
    """Lists by hour and rows by table."""
    last = int(status.at) // _HOUR_SECONDS
    found = {one.hour: one.lists for one in status.lists}
    hours = range(last - HOURS + 1, last + 1)
    lists = [found.get(hour, 0) for hour in hours]
    largest = max(lists)
    written = (
        "No list has been logged"
        if status.written is None
        else f"At the last look, the newest list was {age(status.at - status.written)} old"
    )
    return LogView(
        sentence=f"{counted(sum(lists), 'list')} in the last {HOURS} hours, at most {largest:,} in one. {written}.",
        hours=[
            HourBar(
                place=round(100 * n / HOURS, 2),
                height=round(100 * lists[n] / largest, 2) if largest else 0.0,
                words=f"{_hour(hour)}: {counted(lists[n], 'list')}",
            )
            for n, hour in enumerate(hours)
        ],
        first_hour=_hour(hours[0]),
        last_hour=_hour(last),
        rows=_log_rows(status),
    )


def _hour(hour: int) -> str:
    return f"{datetime.fromtimestamp(hour * _HOUR_SECONDS, UTC):%d %b %H:00}"


def _log_rows(status: MonitorStatus) -> list[LogRow]:
    rows: list[LogRow] = []
    for table in dict.fromkeys(one.table for one in status.log_rows):
        counts = {one.problem: one.rows for one in status.log_rows if one.table == table}
        good = counts.pop("", 0)
        problems = ", ".join(f"{n:,} {problem}" for problem, n in counts.items() if n)
        rows.append(LogRow(table=table, counted=f"{good:,}", problems=problems or "none"))
    return rows


def alert_rows(status: MonitorStatus, now: float) -> list[AlertRow]:
    """The alerts that were on at the last look, the oldest first."""
    return [
        AlertRow(
            name=one.alarm.name.value,
            subject=one.alarm.subject,
            text=capitalised(one.alarm.text),
            since=datetime.fromtimestamp(one.since, UTC),
            age=age(now - one.since),
        )
        for one in sorted(status.alerts, key=lambda one: one.since)
    ]
