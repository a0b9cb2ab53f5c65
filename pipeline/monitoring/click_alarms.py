"""What is wrong with the clicks and orders of groups: dropped KPIs, lost clicks, clicks that were predicted."""

from collections.abc import Iterable

from pipeline.core.labels import counted
from pipeline.monitoring.alarms import Alarm, AlertName
from pipeline.monitoring.statistics.calibration import SMALLEST_MISCALIBRATION, Calibration
from pipeline.monitoring.statistics.lost_clicks import SMALLEST_LOSS, LostClicks
from pipeline.monitoring.statistics.rates import Drop


def drop_alarms(drops: Iterable[Drop]) -> list[Alarm]:
    """KPIs of groups that have fallen."""
    return [
        Alarm(
            name=AlertName.KPI_DROPPED,
            subject=f"{one.group} {one.kpi}",
            text=(
                f"{one.kpi} of {one.group} against the other groups changed by {one.change:+.1%} against "
                f"the days before (p = {one.p_value:.2g}, significant below {one.threshold:.2g})"
            ),
            value=one.change,
            limit=one.threshold,
        )
        for one in drops
        if one.is_alarm
    ]


def lost_click_alarms(found: Iterable[LostClicks]) -> list[Alarm]:
    """Groups with too many orders whose list has no click."""
    return [
        Alarm(
            name=AlertName.CLICKS_LOST,
            subject=one.group,
            text=(
                f"{one.share:.1%} of {counted(one.buyers, 'user')} of {one.group} with an order have one without "
                f"a click, {one.expected:.1%} are usual (p = {one.p_value:.2g}, significant below "
                f"{one.threshold:.2g}): clicks are lost"
            ),
            value=one.share - one.expected,
            limit=SMALLEST_LOSS,
        )
        for one in found
        if one.is_alarm
    ]


def calibration_alarms(found: Iterable[Calibration]) -> list[Alarm]:
    """Models that no longer predict the clicks of their lists."""
    return [
        Alarm(
            name=AlertName.CALIBRATION,
            subject=one.model,
            text=(
                f"lists of model {one.model} had {one.clicks:,} clicks on one day, {one.predicted:,.0f} were "
                f"predicted from its first days: ratio {one.ratio:.3f}, 95% {one.low:.3f} to {one.high:.3f} "
                f"(p = {one.p_value:.2g})"
            ),
            value=one.ratio - 1,
            limit=SMALLEST_MISCALIBRATION,
        )
        for one in found
        if one.is_alarm
    ]
