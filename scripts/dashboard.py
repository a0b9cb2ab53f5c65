"""Write the Grafana dashboard: ``python scripts/dashboard.py``."""

import json
from pathlib import Path
from typing import Any, NamedTuple

TARGET = Path(__file__).parent.parent / "monitoring/grafana/dashboards/paretoscope.json"
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_COLUMNS, _WIDTH, _HEIGHT = 3, 8, 7


class Panel(NamedTuple):
    """A chart over time: its title, unit, and expressions with their legends."""

    title: str
    unit: str
    lines: dict[str, str]


PANELS = (
    Panel("Requests per second, by route", "reqps", {"paretoscope:requests:rate5m": "{{route}}"}),
    Panel("Failed requests", "percentunit", {"paretoscope:request_errors:ratio_rate5m": "5xx"}),
    Panel(
        "Response time of /recommend",
        "s",
        {
            "histogram_quantile(0.5, sum by (le) "
            '(rate(paretoscope_request_seconds_bucket{route="/recommend"}[5m])))': "p50",
            'paretoscope:request_seconds:p99_5m{route="/recommend"}': "p99",
        },
    ),
    Panel(
        "Share of lists by group, and the plan",
        "percentunit",
        {
            "paretoscope:list_share:ratio_rate1h": "{{group}}",
            "paretoscope_plan_share": "plan {{group}}",
        },
    ),
    Panel(
        "Fallback lists", "percentunit", {"paretoscope:fallbacks:ratio_rate15m": "popular items"}
    ),
    Panel("Clicks per list", "percentunit", {"paretoscope:clicks:ratio_rate1h": "all groups"}),
    Panel(
        "CTR by group, with anytime-valid 95% limits",
        "percentunit",
        {
            'paretoscope_monitor_kpi{kpi="ctr"}': "{{group}} {{arm}} {{stage}}",
            'paretoscope_monitor_kpi_low{kpi="ctr"}': "{{group}} {{arm}} {{stage}} low",
            'paretoscope_monitor_kpi_high{kpi="ctr"}': "{{group}} {{arm}} {{stage}} high",
        },
    ),
    Panel(
        "KPIs of a group against the others and the days before",
        "percentunit",
        {"paretoscope_monitor_kpi_change": "{{group}} {{kpi}}"},
    ),
    Panel(
        "Orders without a click, and what is usual",
        "percentunit",
        {"paretoscope_monitor_orders_without_click": "{{group}} {{statistic}}"},
    ),
    Panel(
        "Clicks per predicted click yesterday, with 95% limits",
        "percentunit",
        {'paretoscope_monitor_clicks_per_predicted_click{group=""}': "{{model}} {{statistic}}"},
    ),
    Panel(
        "Sample ratio: e-value, alarm above 20",
        "short",
        {"paretoscope_monitor_sample_ratio_evalue": "e-value"},
    ),
    Panel("Users by group", "short", {"paretoscope_monitor_users": "{{group}}"}),
    Panel(
        "Drift: PSI beyond its expectation, alarm above 0.1",
        "short",
        {'paretoscope_monitor_drift{statistic="psi_excess"}': "{{feature}}"},
    ),
    Panel(
        "Served lists and the model's own: rank-biased overlap",
        "percentunit",
        {"paretoscope_monitor_list_overlap": "{{group}}"},
    ),
    Panel(
        "Rows of the log with a problem, per hour",
        "short",
        {
            'sum by (table, problem) (increase(paretoscope_monitor_rows_total{problem!=""}[1h]))': "{{table}}: {{problem}}"
        },
    ),
    Panel(
        "Age of the log",
        "s",
        {
            "time() - paretoscope_monitor_newest_row_seconds": "since the last list",
            "time() - paretoscope_monitor_last_look_seconds": "since the last look",
        },
    ),
    Panel(
        "Duration of a commit",
        "s",
        {
            "histogram_quantile(0.99, sum by (le) (rate(paretoscope_commit_seconds_bucket[5m])))": "p99"
        },
    ),
    Panel(
        "Share of the candidate",
        "percentunit",
        {"paretoscope_rollout_share": "{{release}} {{stage}}"},
    ),
    Panel("Alerts of the monitor", "short", {"paretoscope_monitor_alert > 0": "{{alert}}"}),
)


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana stores it."""
    reloads = {
        "name": "New model, plan or rules",
        "datasource": _SOURCE,
        "enable": True,
        "expr": "changes(paretoscope_reloads_total[1m]) > 0",
        "iconColor": "blue",
    }
    source = {"name": "datasource", "type": "datasource", "query": "prometheus", "hide": 0}
    return {
        "uid": "paretoscope",
        "title": "Paretoscope: serving and experiment",
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-24h", "to": "now"},
        "tags": ["paretoscope"],
        "templating": {"list": [source]},
        "annotations": {"list": [reloads]},
        "panels": [_panel(number, panel) for number, panel in enumerate(PANELS)],
    }


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    row, column = divmod(number, _COLUMNS)
    targets = [
        {"refId": chr(ord("A") + n), "expr": expression, "legendFormat": legend}
        for n, (expression, legend) in enumerate(panel.lines.items())
    ]
    place = {"x": column * _WIDTH, "y": row * _HEIGHT, "w": _WIDTH, "h": _HEIGHT}
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "gridPos": place,
        "datasource": _SOURCE,
        "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
        "targets": targets,
    }


def text() -> str:
    """The file's content."""
    return json.dumps(dashboard(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
