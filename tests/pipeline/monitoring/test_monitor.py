"""The monitor of a study, by a clock that the test turns."""

import json
import signal
import subprocess
import sys
import threading
import time
from urllib.request import urlopen

import polars as pl
import pytest

from pipeline.artifacts.storage import StudyPaths
from pipeline.cli import main
from pipeline.core.errors import DataError, StudyError
from pipeline.monitoring.alarms import AlertName
from pipeline.monitoring.alert_book import ALERTS
from pipeline.monitoring.monitor import TABLE, Monitor, open_monitor, run
from pipeline.monitoring.status import monitoring_folder
from pipeline.reporting.webhook import WEBHOOK_VARIABLE
from tests.pipeline.monitoring.endpoint_log import START, impression, write
from tests.pipeline.monitoring.traffic import HOUR, Traffic
from tests.pipeline.serving.shop import write_params, write_plan

PREFIX = "paretoscope_monitor_"
DAY = 86_400
BEGIN = START / 1000


@pytest.fixture
def shop(tmp_path, small_params, monkeypatch):
    """A study with a plan; nothing else is needed to watch its log."""
    monkeypatch.delenv(WEBHOOK_VARIABLE, raising=False)
    study = write_params(tmp_path, small_params)
    paths = StudyPaths.of(study, tmp_path)
    plan = write_plan(paths)
    return study, paths, plan


def alerts_of(paths):
    file = monitoring_folder(paths) / ALERTS
    return (
        [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.exists() else []
    )


@pytest.mark.slow
def test_a_log_that_stops_alerts_within_five_minutes_and_a_quiet_night_does_not(shop):
    study, paths, plan = shop
    traffic = Traffic(paths, plan)
    with open_monitor(study, paths) as monitor:
        for day in range(2):
            for hour in (11, 12, 13, 22, 23):  # none from midnight to six
                traffic.hour(BEGIN + DAY * day + HOUR * hour, users=40, lists=20)
            for minute in range(0, 6 * 60, 20):
                monitor.look(BEGIN + DAY * (day + 1) + 60 * minute)
        assert alerts_of(paths) == []

        stopped = BEGIN + DAY * 2 + HOUR * 12
        traffic.hour(stopped - HOUR, users=40, lists=20)
        seconds = next(
            after for after in range(0, HOUR, 30) if monitor.look(stopped + after).status.alerts
        )

    assert seconds < 300
    (alert,) = alerts_of(paths)
    assert (alert["alert"], alert["state"]) == ("LogStopped", "firing")
    assert "no list has been logged for" in alert["text"]


@pytest.mark.slow
def test_lost_clicks_of_one_group_are_found_the_same_day_and_nothing_else(shop):
    study, paths, plan = shop
    traffic = Traffic(paths, plan, seed=1)
    with open_monitor(study, paths) as monitor:
        for hour in range(10, 4 * 24, 8):
            traffic.hour(BEGIN + HOUR * hour, users=300)
        monitor.look(BEGIN + 4 * DAY)
        assert alerts_of(paths) == []
        for hour in (10, 12, 14):
            begin = BEGIN + 4 * DAY + HOUR * hour
            traffic.hour(begin, users=300, loses={"g2"}, loss=0.5)
            monitor.look(begin + HOUR)
            found = monitor.look(begin + HOUR + 60)

    (active,) = [one for one in found.status.alerts if one.alarm.name is AlertName.KPI_DROPPED]
    assert active.alarm.subject == "g2 ctr"
    assert -0.65 < active.alarm.value < -0.35


def test_metrics_table_and_command_show_the_same(shop, capsys, monkeypatch):
    _, paths, plan = shop
    Traffic(paths, plan).hour(time.time() - HOUR - 60)
    monkeypatch.chdir(paths.root)

    assert main(["monitor", "--once", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert main(["monitor", "--once"]) == 0
    text = capsys.readouterr().out

    ctr = {row["group"]: row for row in values["kpis"] if row["kpi"] == "ctr"}
    table = pl.read_parquet(monitoring_folder(paths) / TABLE).filter(statistic="ctr")
    sums = table.group_by("group").agg(pl.col("successes").sum() / pl.col("trials").sum())
    assert dict(sums.iter_rows()) == pytest.approx({name: row["rate"] for name, row in ctr.items()})
    assert sum(values["sample_ratio"]["users"].values()) == 600
    assert values["alarms"] == []
    assert text.startswith("0 new rows; 600 users in the groups\ng1: ctr 0.")
    assert "sample ratio: e-value" in text
    assert text.endswith("no alarm\n")


def test_the_page_has_what_the_look_has_found(shop):
    study, paths, plan = shop
    Traffic(paths, plan).hour(BEGIN)
    with open_monitor(study, paths) as monitor:
        found = monitor.look(BEGIN + HOUR)
        with monitor.metrics.serve(0) as address, urlopen(address) as answer:
            page = answer.read().decode()

    band = next(by["ctr"] for part, by in found.findings.bands.items() if part.group == "g1")
    labels = '{arm="",group="g1",kpi="ctr",release="",stage=""}'
    assert f"paretoscope_monitor_kpi{labels} {band.rate}" in page
    assert f"paretoscope_monitor_kpi_low{labels} {band.low}" in page
    assert 'paretoscope_plan_share{group="g2"} 0.5' in page
    assert 'paretoscope_monitor_rows_total{problem="",table="impressions"} 1800.0' in page
    assert 'paretoscope_monitor_alert{alert="SampleRatio"} 0.0' in page
    newest = next(line for line in page.splitlines() if line.startswith(f"{PREFIX}newest_row"))
    assert float(newest.split()[1]) == BEGIN + HOUR


def test_users_who_are_divided_otherwise_are_found(shop):
    study, paths, plan = shop
    traffic = Traffic(paths, plan)
    traffic.hour(BEGIN, users=3000, lists=1)
    extra = [impression(f"x{n}", f"x{n}", START + n, group="g2") for n in range(400)]
    write(traffic.log, "impressions", extra)
    with open_monitor(study, paths) as monitor:
        alarms = monitor.look(BEGIN + HOUR).findings.alarms

    (alarm,) = [one for one in alarms if one.name is AlertName.SAMPLE_RATIO]
    assert alarm.value > 20


def test_a_damaged_database_ends_a_look_and_not_the_monitor(shop, monkeypatch, caplog):
    """Its pages are overwritten while the monitor runs: the next looks say so, until it is stopped."""
    study, paths, plan = shop
    Traffic(paths, plan).hour(BEGIN)
    stop = threading.Event()
    with open_monitor(study, paths) as monitor:
        monitor.look(BEGIN + HOUR)
        monitor._database.connection.execute("DROP TABLE problems")
        with pytest.raises(DataError, match=r"monitor.sqlite cannot be used: no such table"):
            monitor.look(BEGIN + HOUR)
        monkeypatch.setattr(stop, "wait", lambda _: len(caplog.records) == 2)
        run(monitor, interval=0, stop=stop)

    assert "the look failed, the next one is tried" in caplog.text


def test_one_monitor_per_study(shop):
    study, paths, _ = shop
    message = "another monitor of this study is running"
    with (
        open_monitor(study, paths),
        pytest.raises(StudyError, match=message),
        open_monitor(study, paths),
    ):
        pass
    with open_monitor(study, paths) as monitor:
        assert isinstance(monitor, Monitor)


@pytest.mark.slow
def test_the_command_runs_until_it_is_stopped(shop, tmp_path):
    """A real process: it serves metrics and ends with 0."""
    _, paths, plan = shop
    traffic = Traffic(paths, plan)
    traffic.hour(time.time() - HOUR)
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", "monitor", "--port", "0"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    line = process.stderr.readline()
    url = line.split(" on ")[1].strip()
    page = ""
    while "paretoscope_monitor_kpi{" not in page:
        with urlopen(url) as answer:
            page = answer.read().decode()
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.stderr.close()

    assert process.wait(timeout=60) == 0
    assert (monitoring_folder(paths) / TABLE).exists()
