"""From the rows of a log to the calibration of a model, its alarm, its metric and its rows of the table."""

import numpy as np
import polars as pl
import pytest

from pipeline.artifacts.storage import StudyPaths
from pipeline.monitoring.alarms import AlertName
from pipeline.monitoring.calibrations import STATISTIC, days_with_reference
from pipeline.monitoring.following.click_cells import Cell, ClickCells
from pipeline.monitoring.following.database import Database
from pipeline.monitoring.monitor import TABLE, open_monitor
from pipeline.monitoring.status import monitoring_folder, read_status
from tests.pipeline.monitoring.endpoint_log import (
    HOUR_MS,
    START,
    click,
    follower_of,
    impression,
    write,
)
from tests.pipeline.serving.shop import write_params, write_plan

DAY_MS = 24 * HOUR_MS
FIRST_DAY = START // DAY_MS


def rows_of(day, rng, *, users=400, factor=1.0):
    """Lists of users; better scores have more clicks. A fifth has a second list, which is always clicked."""
    shown, clicks = [], []
    for user in range(users):
        score = float(rng.uniform(0, 1))
        for number in range(1 + (user % 5 == 0)):
            ts = START + day * DAY_MS + user * 1000 + number * 100
            name = f"{day}-{user}-{number}"
            group = "g2" if user % 4 == 0 else "g1"
            scores = [score, -1.0, -2.0]
            shown.append(impression(name, f"u{user}", ts, group=group, scores=scores))
            if number or rng.random() < (0.2 + 0.4 * score) * factor:
                clicks += [click(name, ts + 50), click(name, ts + 60)]
    return shown, clicks


@pytest.fixture(scope="module")
def days():
    """Ten days: the first one is incomplete, seven are the reference, on the last one two thirds are lost."""
    rng = np.random.default_rng(5)
    return [rows_of(day, rng, factor=1 / 3 if day == 9 else 1.0) for day in range(10)]


def cells_of(database):
    return ClickCells(database).read("spring")


def test_cells_have_first_lists_and_clicks_in_whichever_sequence_they_are_read(tmp_path, days):
    """Day by day, or all lists before all clicks, as by a monitor that starts later; four days."""
    found = []
    for name, parts in (("daily", [[day] for day in days[:4]]), ("later", [days[:4]])):
        log = tmp_path / name
        database = Database.open(tmp_path / f"{name}.sqlite")
        for part in parts:
            for shown, _ in part:
                write(log, "impressions", shown)
            for _, clicks in part:
                write(log, "clicks", clicks)
            follower_of(database, log).look(START / 1000)
        found.append(cells_of(database))
        database.close()

    assert found[0] == found[1]
    (by_day,) = found[0].values()
    # the deciles are those of the first 24 hours: day 0
    assert list(by_day) == [FIRST_DAY + n for n in range(1, 4)]
    for day, cells in by_day.items():
        shown, clicks = days[day - FIRST_DAY]
        first = {one["impression"] for one in shown if one["impression"].endswith("-0")}
        clicked = {one["impression"] for one in clicks} & first
        assert sum(cell.lists for cell in cells.values()) == len(first) == 400
        assert sum(cell.clicks for cell in cells.values()) == len(clicked)
        assert {number for _, number in cells} == set(range(10))


def test_a_model_that_is_no_longer_clicked_has_an_alarm_and_all_see_it(
    tmp_path, small_params, days
):
    study = write_params(tmp_path, small_params)
    paths = StudyPaths.of(study, tmp_path)
    write_plan(paths)
    log = tmp_path / "data/served"
    with open_monitor(study, paths) as monitor:
        looks = []
        for number, (shown, clicks) in enumerate(days):
            write(log, "impressions", shown)
            write(log, "clicks", clicks)
            looks.append(monitor.look((START + (number + 1) * DAY_MS) / 1000))
        page = "".join(
            f"{sample.name} {sample.labels} {sample.value}\n"
            for metric in monitor.metrics.collect()
            for sample in metric.samples
        )

    # the first day whose deciles are known may be incomplete; seven others are the reference
    assert [len(one.findings.calibrations) for one in looks] == [0] * 9 + [2]
    (alarm,) = [one for one in looks[-1].findings.alarms if one.name is AlertName.CALIBRATION]
    # g2 has too few clicks
    everything, first = looks[-1].findings.calibrations
    assert (everything.group, first.group, everything.users) == (None, "g1", 400)
    assert everything.low < 1 / 3 < everything.high < 0.7
    assert alarm.value == everything.ratio - 1
    labels = "{'model': 'm1', 'group': '', 'statistic': 'ratio'}"
    assert f"paretoscope_monitor_clicks_per_predicted_click {labels} {everything.ratio}" in page
    assert read_status(paths).calibrations[0] == everything
    table = pl.read_parquet(monitoring_folder(paths) / TABLE).filter(statistic=STATISTIC)
    assert table["hour"].dt.epoch("d").to_list() == [FIRST_DAY + 9] * 2
    assert table["trials"].sum() == pytest.approx(everything.predicted)
    assert table["successes"].sum() == everything.clicks
    assert table["sum_yy"].sum() == everything.clicks


def test_the_reference_has_four_weeks_at_most_and_no_day_with_a_fault():
    """Days of about 100 clicks; one with 20, then two weeks with half of them from the twelfth on."""
    clicks = [100 + day % 5 for day in range(60)]
    clicks[4] = 20
    clicks[12:26] = [50] * 14
    days = {day: {("g1", 0): Cell(1000, n)} for day, n in enumerate(clicks)}

    found = dict(days_with_reference(days))

    # without the first day and the one with 20 clicks, a week is over before day 9
    assert list(found) == list(range(9, 60))
    usual = [day for day in range(1, 60) if day != 4 and not 12 <= day < 26]
    for day, reference in found.items():
        assert reference == [days[one] for one in usual if one < day][:28]
