"""The monitor's last look as a file, and its alerts read back."""

import json

import pytest

from pipeline.artifacts.storage import StudyPaths
from pipeline.core.errors import DataError
from pipeline.monitoring.alert_book import ALERTS
from pipeline.monitoring.alert_history import read_last_alerts
from pipeline.monitoring.monitor import open_monitor
from pipeline.monitoring.status import STATUS, monitoring_folder, read_status
from tests.pipeline.monitoring.endpoint_log import START
from tests.pipeline.monitoring.traffic import HOUR, Traffic
from tests.pipeline.serving.shop import write_params, write_plan

BEGIN = START / 1000


@pytest.fixture
def shop(tmp_path, small_params):
    study = write_params(tmp_path, small_params)
    paths = StudyPaths.of(study, tmp_path)
    return study, paths, write_plan(paths)


def test_the_file_is_what_the_look_has_found(shop):
    study, paths, plan = shop
    traffic = Traffic(paths, plan)
    for hour in range(26):
        traffic.hour(BEGIN + HOUR * hour, users=20)
    assert read_status(paths) is None
    with open_monitor(study, paths) as monitor:
        look = monitor.look(BEGIN + 26 * HOUR)

    found = read_status(paths)

    assert found == look.status
    assert (found.study, found.experiment) == ("synthetic-shop", "spring")
    assert found.at == BEGIN + 26 * HOUR
    assert found.written == BEGIN + 26 * HOUR
    first = int(BEGIN) // HOUR
    # the hour of the look has begun, so that 23 whole ones are left of the last 24
    assert {one.hour: one.lists for one in found.lists} == {first + n: 60 for n in range(3, 26)}
    assert sum(found.sample_ratio.users.values()) == 26 * 20
    bands = look.findings.bands
    assert {(one.group, one.kpi): (one.rate, one.low, one.high) for one in found.kpis} == {
        (part.group, kpi): (band.rate, band.low, band.high)
        for part, by_kpi in bands.items()
        for kpi, band in by_kpi.items()
    }


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "the whole file: Invalid JSON"),
        ('{"format": 2}', "format: Input should be 1"),
        ('{"format": 1}', "study: Field required"),
    ],
)
def test_a_damaged_file_is_one_line(shop, content, problem):
    _, paths, _ = shop
    file = monitoring_folder(paths) / STATUS
    file.parent.mkdir(parents=True)
    file.write_text(content, encoding="utf-8")

    with pytest.raises(DataError) as error:
        read_status(paths)

    assert str(error.value).startswith(
        f"data/studies/synthetic-shop/monitoring/status.json cannot be read ({problem}"
    )
    assert str(error.value).endswith("The next look writes it again: paretoscope monitor")


def test_the_last_alerts_are_read_and_a_cut_line_is_not(shop):
    _, paths, _ = shop
    assert read_last_alerts(paths, 3) == ()
    file = monitoring_folder(paths) / ALERTS
    file.parent.mkdir(parents=True)
    lines = [
        json.dumps(
            {
                "ts": f"2026-11-29T10:{n % 60:02}:00+00:00",
                "state": "firing",
                "alert": "Drift",
                "subject": f"s{n}",
                "text": "x" * 500,
                "runbook": "docs/runbooks/Drift.md",
            }
        )
        for n in range(400)
    ]
    file.write_text("".join(f"{line}\n" for line in lines) + lines[0][:20], encoding="utf-8")

    found = read_last_alerts(paths, 3)

    assert [one.subject for one in found] == ["s397", "s398", "s399"]
    assert found[-1].ts.isoformat() == "2026-11-29T10:39:00+00:00"
    file.write_text("no alert\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"monitoring/alerts\.jsonl cannot be read\. The next look"):
        read_last_alerts(paths, 3)
