"""The monitor's page for Prometheus; no label value comes from a request."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pipeline.core.errors import StudyError
from pipeline.experiment.design.traffic_plan import TrafficPlan
from pipeline.monitoring.alarms import AlertName
from pipeline.monitoring.alert_book import ActiveAlert
from pipeline.monitoring.evaluate import Findings

LOCAL = "127.0.0.1"
_PREFIX = "paretoscope_monitor_"
_SLICE = ("kpi", "group", "arm", "release", "stage")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What the page shows: the last look.

    Attributes:
        findings: Of the look.
        plan: The groups.
        overlaps: Mean rank-biased overlap of the panel by group; empty without a panel.
        active: Alerts that have fired and not ended.
    """

    findings: Findings
    plan: TrafficPlan
    overlaps: Mapping[str, float]
    active: Iterable[ActiveAlert]


class MetricsPage(Collector):
    """Shows the last look; nothing before the first one."""

    def __init__(self) -> None:
        self.page: Page | None = None
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """All metrics of the last look."""
        if self.page is not None:
            yield from _metrics(self.page)

    @contextmanager
    def serve(self, port: int) -> Iterator[str]:
        """Serve the page on this machine, and yield its address; port 0 selects a free one.

        Raises:
            StudyError: if the port cannot be used.
        """
        try:
            server, thread = start_http_server(port, addr=LOCAL, registry=self.registry)
        except OSError as error:
            msg = f"cannot listen on {LOCAL} port {port}: {error.strerror}; choose another --port"
            raise StudyError(msg) from error
        try:
            yield f"http://{LOCAL}:{server.server_port}/metrics"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


def _metrics(page: Page) -> Iterator[Metric]:
    found = page.findings
    yield _gauge("last_look_seconds", "Time of the last look.", found.at)
    if found.written:
        yield _gauge("newest_row_seconds", "When the log was last written.", found.written)
    rows = CounterMetricFamily(
        f"{_PREFIX}rows", "Rows of the log by problem; empty for none.", labels=("table", "problem")
    )
    for (table, problem), n in found.rows.items():
        rows.add_metric((table, problem), n)
    yield rows
    yield from _shares(page)
    yield from _bands(found)
    drift = _family("drift", "Last complete day against the reference.", ("feature", "statistic"))
    for one in found.drifts:
        drift.add_metric((one.feature, "psi"), one.psi)
        drift.add_metric((one.feature, "psi_excess"), one.excess)
        drift.add_metric((one.feature, "js"), one.js)
    yield drift
    change = _family("kpi_change", "Against the other groups and earlier days.", ("kpi", "group"))
    for one in {(drop.kpi, drop.group): drop for drop in found.drops}.values():
        change.add_metric((one.kpi, one.group), one.change)
    yield change
    yield from _clicks(found)
    overlap = _family("list_overlap", "Served lists and the model's own: RBO.", ("group",))
    for group, value in page.overlaps.items():
        overlap.add_metric((group,), value)
    yield overlap
    alerts = _family("alert", "Alerts that are on, by name.", ("alert",))
    on = [one.alarm.name for one in page.active]
    for name in AlertName:
        alerts.add_metric((name.value,), on.count(name))
    yield alerts


def _shares(page: Page) -> Iterator[Metric]:
    planned = GaugeMetricFamily(
        "paretoscope_plan_share", "Planned share of the experiment's users.", labels=("group",)
    )
    for group in page.plan.groups:
        planned.add_metric((group.name,), group.share)
    yield planned
    users = _family("users", "Users with a list.", ("group",))
    if (ratio := page.findings.sample_ratio) is not None:
        for name, n in ratio.users.items():
            users.add_metric((name,), n)
        yield _gauge("sample_ratio_evalue", "Evidence against the plan.", ratio.e_value)
    yield users


def _bands(found: Findings) -> Iterator[Metric]:
    kpi = _family("kpi", "KPI since the start.", _SLICE)
    low = _family("kpi_low", "Anytime-valid lower limit.", _SLICE)
    high = _family("kpi_high", "Anytime-valid upper limit.", _SLICE)
    for part, by_kpi in found.bands.items():
        where = [value or "" for value in (part.group, part.arm, part.release, part.stage)]
        for name, band in by_kpi.items():
            kpi.add_metric((name, *where), band.rate)
            low.add_metric((name, *where), band.low)
            high.add_metric((name, *where), band.high)
    yield from (kpi, low, high)


def _clicks(found: Findings) -> Iterator[Metric]:
    lost = _family(
        "orders_without_click",
        "Users with an order without a click today, of those with an order.",
        ("group", "statistic"),
    )
    for one in {lost.group: lost for lost in found.lost_clicks}.values():
        lost.add_metric((one.group, "share"), one.share)
        lost.add_metric((one.group, "expected"), one.expected)
    ratio = _family(
        "clicks_per_predicted_click",
        "Last complete day against the model's first days; an empty group is all of them.",
        ("model", "group", "statistic"),
    )
    for one in found.calibrations:
        where = (one.model, one.group or "")
        for statistic, value in (("ratio", one.ratio), ("low", one.low), ("high", one.high)):
            ratio.add_metric((*where, statistic), value)
    yield from (lost, ratio)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"{_PREFIX}{name}", text, value=value)


def _family(name: str, text: str, labels: tuple[str, ...]) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{_PREFIX}{name}", text, labels=labels)
