"""The live page over HTTP: real files of a monitor and a rollout, values redone by hand."""

import asyncio
import json
import os
import re
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html import unescape
from itertools import product
from math import lgamma, log

import pytest
from fastapi.testclient import TestClient

from pipeline.monitoring.alarms import Alarm, AlertName, SampleRatio
from pipeline.monitoring.alert_book import ALERTS, ActiveAlert
from pipeline.monitoring.statistics.calibration import Calibration
from pipeline.monitoring.statistics.lost_clicks import LostClicks
from pipeline.monitoring.status import (
    STATUS,
    HourlyLists,
    KpiBand,
    MonitorStatus,
    RowCount,
    monitoring_folder,
    read_status,
    status_dict,
    write_status,
)
from pipeline.rollout.decisions.recorded import decision_file
from pipeline.rollout.operations import hold, roll_back
from pipeline.rollout.store import events_file
from pipeline.serving.http.app import build_app
from pipeline.serving.http.server import build_service
from pipeline.serving.live import files as live_files
from pipeline.serving.live import routes
from pipeline.serving.live.routes import LivePage
from pipeline.serving.ranking.snapshot import load_snapshot, with_rollout
from tests.pipeline.rollout.releases import ANNA
from tests.pipeline.serving.live.watched import watched
from tests.pipeline.serving.shop import start_rollout, write_study

KEY = "a key of more than sixteen"
HOSTILE = "<script>alert('x')</script>\"&"


@pytest.fixture
def shop(tmp_path, small_params):
    """A served study without a monitor and without a rollout."""
    return write_study(tmp_path, small_params)


def client_of(study, paths, key=None, rollout=None):
    snapshot = with_rollout(load_snapshot(study, paths), study, paths, rollout)
    service = build_service(snapshot, study, paths)
    return TestClient(build_app(service, paths, key=key), base_url="http://localhost")


def page_of(study, paths, route="/live"):
    with client_of(study, paths) as client:
        answer = client.get(route)
    assert answer.status_code == 200
    return answer.text


def text_of(html):
    """The visible words, with single spaces."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", html)))


def band(group, *, kpi="ctr", rate=0.2, low=0.184, high=0.216, users=1000, **changes):
    values = {"experiment": "spring", "group": group, "arm": None, "release": None, "stage": None}
    numbers = {"kpi": kpi, "rate": rate, "low": low, "high": high, "users": users}
    return KpiBand(**(values | numbers | changes))


def status(**changes):
    """The last look, 4 seconds ago, at an experiment of two groups."""
    now = time.time()
    values = {
        "study": "synthetic-shop",
        "experiment": "spring",
        "at": now - 4,
        "interval_seconds": 30.0,
        "written": now - 6,
        "kpis": (band("g1"), band("g2", rate=0.25, low=0.234, high=0.266)),
        "sample_ratio": SampleRatio(
            users={"g1": 5200, "g2": 4800},
            shares={"g1": 0.5, "g2": 0.5},
            e_value=38.6242634490343,
            largest_error=0.04,
        ),
        "overlaps": {},
        "lost_clicks": (),
        "calibrations": (),
        "lists": (HourlyLists(hour=int(now) // 3600, lists=30_000),),
        "log_rows": (
            RowCount(table="clicks", problem="", rows=6000),
            RowCount(table="clicks", problem="orphan", rows=7),
        ),
        "alarms": (),
        "alerts": (),
    }
    return MonitorStatus(**(values | changes))


def alert(name=AlertName.SAMPLE_RATIO, subject="", text="users are off", since=0.0):
    alarm = Alarm(name=name, subject=subject, text=text, value=1.0, limit=1.0)
    return ActiveAlert(alarm=alarm, since=time.time() - since, seen=time.time(), reported=0.0)


def test_the_page_shows_what_the_monitor_has_counted(tmp_path, small_params):
    """A real log, a real monitor: users, shares, e-value and rates are redone from the rows."""
    study, paths = watched(tmp_path, small_params, users=400, extra=400)
    rows = [
        json.loads(line)
        for line in "".join(
            file.read_text("utf-8") for file in sorted((tmp_path / "data/served").glob("impr*"))
        ).splitlines()
    ]
    clicked = {
        json.loads(line)["impression"]
        for file in (tmp_path / "data/served").glob("clicks*")
        for line in file.read_text("utf-8").splitlines()
    }
    page = page_of(study, paths)
    text = text_of(page)

    groups = ("g1", "g2", "g3")
    users = {name: len({row["user"] for row in rows if row["group"] == name}) for name in groups}
    total = sum(users.values())
    planned = read_status(paths).sample_ratio.shares
    a_G = [10_000 * share for share in planned.values()]
    evidence = lgamma(sum(a_G)) - lgamma(sum(a_G) + total)
    for a, n, share in zip(a_G, users.values(), planned.values(), strict=True):
        evidence += lgamma(a + n) - lgamma(a) - n * log(share)
    assert f"Users {total:,} in 3 groups" in text
    shown_e = float(re.search(r"e-value (\S+) \(alarm above 20\)", text)[1])
    assert log(shown_e) == pytest.approx(evidence, abs=0.01)
    assert "Sample ratio mismatch" in text
    for name in groups:
        share = users[name] / total
        off = f"{100 * (share / planned[name] - 1):+.1f}%".replace("-", "−")
        row = f"{users[name]:,} {100 * share:.2f}% {100 * planned[name]:.2f}% {off}"
        assert row in text, (name, text)
        shown = [one["impression"] for one in rows if one["group"] == name]
        rate = sum(one in clicked for one in shown) / len(shown)
        assert f"{name} {100 * rate:.1f}% " in text
    assert "1 alert is open" in text
    assert "Open alerts SampleRatio Sample ratio mismatch: users per group are" in text
    assert "docs/runbooks/SampleRatio.md" in text


def test_the_page_shows_the_rollout_its_decision_and_who_did_what(tmp_path, small_params):
    study, paths = watched(tmp_path, small_params, users=400)
    text = text_of(page_of(study, paths))

    assert "Rollout next canary" in text
    assert "5% canary , current 50% ramp , to come 95% full , to come" in text
    assert "candidate p1 to 5% of the users outside the groups, incumbent p0 to the others" in text
    assert (
        "canary, 1 of 3, for 0.0 of at least 1 day and 200 users of the smaller arm since the start"
        in text
    )
    assert "Decision wait , just now" in text or re.search(
        r"Decision wait , \d+ seconds? ago", text
    )
    assert "no row of the log since the stage began" in text
    assert "80 of 200 users in the smaller arm" in text  # one in ten of 800 gets the candidate
    assert "anna (person) approve canary, 5% a test" in text
    assert "anna (person) propose, 0%" in text
    assert "incumbent 2" in text  # its click-through rate, near 20%

    hold(paths, ANNA, "the shop moves")
    held = text_of(page_of(study, paths))
    assert "Rollout next holding" in held
    assert "by anna: the shop moves" in held
    assert "Go on: paretoscope rollout resume" in held

    roll_back(paths, ANNA, "it is late")
    rolled_back = text_of(page_of(study, paths))
    assert "Rollout rolled back candidate to 0% of the users; " in rolled_back
    assert "anna (person) roll back canary, 0% it is late" in rolled_back


def test_a_band_is_drawn_at_its_place(shop):
    """Bands of 0.184 to 0.216 and 0.234 to 0.266: the axis has 6% of 0.082 more at each end."""
    write_status(status(), shop[1])
    page = page_of(*shop)

    start, length = 0.184 - 0.06 * 0.082, 1.12 * 0.082
    bars = re.findall(r'class="ci" x="([\d.]+)%" y="5" width="([\d.]+)%"', page)
    dots = re.findall(r'class="dot" cx="([\d.]+)%"', page)
    expected = [100 * (at - start) / length for at in (0.184, 0.234)]
    assert [float(x) for x, _ in bars] == pytest.approx(expected, abs=0.01)
    assert {float(width) for _, width in bars} == {round(100 * 0.032 / length, 2)}
    assert [float(x) for x in dots] == pytest.approx(
        [100 * (at - start) / length for at in (0.2, 0.25)], abs=0.01
    )
    assert "g2 25.0% 23.4% to 26.6% 1,000 users" in text_of(page)


def test_the_split_and_the_log_are_in_words(shop):
    write_status(status(overlaps={"g1": 0.9876, "g2": 0.5}), shop[1])
    text = text_of(page_of(*shop))

    assert (
        "The split agrees with the plan: e-value 38.6 (alarm above 20), sequential p = 0.0259, shares off by up to 4.0%."
        in text
    )  # no alarm at this look: it is the monitor that decides
    assert "g1 p0 5,200 52.00% 50.00% +4.0% 0.988" in text
    assert (
        "Newest list 6 seconds ago looked 4 seconds ago" in text or "Newest list 7 seconds" in text
    )
    assert "30,000 lists in the last 24 hours, at most 30,000 in one." in text
    assert "clicks 6,000 7 orphan" in text


def test_lost_clicks_and_calibration_are_shown_by_group(shop):
    study, paths = shop
    assert "Per predicted click" not in page_of(study, paths)
    lost = LostClicks(
        group="g2", buyers=95, share=0.105, expected=0.002, p_value=2e-8, threshold=1e-4
    )
    numbers = {"users": 4000, "clicks": 810, "predicted": 1000.0, "low": 0.74, "high": 0.89}
    calibration = Calibration(model="m1", group=None, ratio=0.81, p_value=1e-4, **numbers)
    write_status(status(lost_clicks=(lost,), calibrations=(calibration,)), paths)

    page = page_of(study, paths)

    assert '<th scope="row">g2</th><td>10.5%</td><td>0.2%</td><td></td><td></td>' in page
    assert (
        '<th scope="row">all groups</th><td></td><td></td><td>0.810</td><td>0.740 to 0.890</td>'
        in page
    )


def test_only_the_arms_of_the_current_stage_are_shown(shop):
    start_rollout(shop[1])
    old = band(
        None, arm="candidate", release="before", stage="canary", rate=0.1, low=0.084, high=0.116
    )
    now = band(
        None, arm="candidate", release="next", stage="canary", rate=0.3, low=0.284, high=0.316
    )
    write_status(status(kpis=(old, now)), shop[1])

    text = text_of(page_of(*shop))

    assert "candidate 30.0%" in text
    assert "10.0%" not in text


def test_without_a_monitor_and_a_rollout_the_page_says_what_to_type(shop):
    text = text_of(page_of(*shop))

    assert "Nobody is watching" in text
    assert "No look of a monitor at study synthetic-shop is known." in text
    assert "paretoscope monitor " in text
    assert "No release. A candidate starts with paretoscope rollout start" in text


def test_old_data_are_said_to_be_old(shop):
    write_status(status(at=time.time() - 3 * 3600, alerts=(alert(since=4 * 3600),)), shop[1])
    text = text_of(page_of(*shop))

    assert "Nobody has been watching for 3 hours" in text
    assert "The monitor last looked 3 hours ago; while it runs, it looks every 30 seconds." in text
    assert "Newest list seen" in text
    assert "Start it again: paretoscope monitor" in text


def test_a_look_at_another_experiment_is_said_to_be_one(shop):
    write_status(status(experiment="autumn"), shop[1])
    text = text_of(page_of(*shop))

    assert (
        "The monitor's last look was at experiment autumn of study synthetic-shop, but this endpoint serves "
        "experiment spring of study synthetic-shop" in text
    )


def test_a_release_that_nobody_decides_on(shop):
    start_rollout(shop[1])
    assert "Nobody decides on this release yet: paretoscope rollout watch" in text_of(
        page_of(*shop)
    )

    file = decision_file(shop[1], "next")
    at = datetime.now(UTC) - timedelta(hours=5)
    values = {"release": "next", "at": at.isoformat(), "step": "wait", "reason": "waits: a day"}
    file.write_text(json.dumps(values), encoding="utf-8")
    text = text_of(page_of(*shop))
    assert "Nobody has decided for 5 hours; until somebody does, harm is not rolled back:" in text
    assert "Decision wait , 5 hours ago: waits: a day" in text


DAMAGED = (b"", b"{", b'{"format": 1}', b"\xff\x00", b"[" * 5000, b"null")


def test_damaged_files_take_nothing_else_away(shop, monkeypatch):
    study, paths = shop
    monkeypatch.setattr(routes, "_KEPT_SECONDS", 0.0)
    start_rollout(paths)
    write_status(status(), paths)
    damaged = {
        monitoring_folder(paths)
        / STATUS: "data/studies/synthetic-shop/monitoring/status.json cannot be read",
        monitoring_folder(paths) / ALERTS: "monitoring/alerts.jsonl cannot be read",
        decision_file(paths, "next"): "rollout/next/decision.json cannot be read",
        events_file(paths, "next"): "line 1 is not an event",
    }
    with client_of(study, paths) as client:
        for (file, message), content in product(damaged.items(), DAMAGED):
            before = file.read_bytes() if file.exists() else None
            file.write_bytes(content + b"\n" if file.suffix == ".jsonl" else content)
            answer = client.get("/live")
            text = text_of(answer.text)
            assert answer.status_code == 200
            assert message in text, text
            assert "A file cannot be read" in text
            assert ("KPIs Since the start" in text) is (file.name != STATUS)
            assert ("Rollout next" in text) is (file.name != "events.jsonl")
            assert "Traceback" not in text
            file.unlink() if before is None else file.write_bytes(before)


def test_edited_and_lost_events_are_not_shown_as_the_truth(shop):
    """An author is changed: the page says so. All events are lost: it says what the endpoint serves all the same."""
    study, paths = shop
    rollout = start_rollout(paths)
    file = events_file(paths, "next")
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b"anna", b"mallory"))
    assert "it was edited, or a line is missing" in text_of(page_of(study, paths))
    file.write_bytes(whole[:-40])
    assert "lines were deleted or edited. Restore" in text_of(page_of(study, paths))

    file.write_bytes(b"")
    with client_of(study, paths, rollout=rollout) as client:
        text = text_of(client.get("/live").text)
    assert "Rollout unknown a candidate to 5% of the users" in text
    assert "The endpoint serves a candidate to 5% of the users" in text
    assert "paretoscope rollout rollback" in text
    assert "the incumbent is served" not in text


def test_a_file_that_may_not_be_read_and_one_beyond_all_dates(shop):
    study, paths = shop
    write_status(status(), paths)
    file = monitoring_folder(paths) / STATUS
    for key, value in (("at", 1e300), ("interval_seconds", -1)):
        file.write_text(json.dumps(status_dict(status()) | {key: value}), encoding="utf-8")
        text = text_of(page_of(study, paths))
        assert f"status.json cannot be read ({key}: Input should be" in text

    file.unlink()
    file.mkdir()
    assert "status.json cannot be read (Is a directory)" in text_of(page_of(study, paths))


def test_a_pipe_in_place_of_a_file_is_not_waited_for(shop):
    study, paths = shop
    monitoring_folder(paths).mkdir(parents=True, exist_ok=True)
    os.mkfifo(monitoring_folder(paths) / ALERTS)

    text = text_of(page_of(study, paths))
    assert "alerts.jsonl is neither a file nor a folder; move it away" in text


def test_names_are_escaped(shop):
    study, paths = shop
    start_rollout(paths)
    hold(paths, replace(ANNA, who=HOSTILE), HOSTILE)
    one = status(
        experiment=HOSTILE,
        kpis=(band(HOSTILE, experiment=HOSTILE),),
        sample_ratio=SampleRatio(
            users={HOSTILE: 10}, shares={HOSTILE: 1.0}, e_value=1.0, largest_error=0.0
        ),
        log_rows=(RowCount(table=HOSTILE, problem=HOSTILE, rows=1),),
        alerts=(alert(subject=HOSTILE, text=HOSTILE),),
    )
    write_status(one, paths)
    record = {"ts": "2026-11-29T10:00:00+00:00", "state": HOSTILE, "alert": HOSTILE}
    record |= {"subject": HOSTILE, "text": HOSTILE}
    (monitoring_folder(paths) / ALERTS).write_text(json.dumps(record) + "\n", encoding="utf-8")

    page = page_of(study, paths)

    assert "alert(" in page
    assert "<script>alert" not in page
    assert page.count("<script") == 1  # the page's own
    assert HOSTILE not in page
    assert page.count("&lt;script&gt;") >= 10


def test_the_page_works_without_javascript_and_loads_nothing_from_elsewhere(shop):
    study, paths = shop
    write_status(status(), paths)
    with client_of(study, paths) as client:
        page = client.get("/live")
        found = [page, *(client.get(path) for path in ("/live/live.css", "/live/live.js"))]
        base, content = client.get("/pages/base.css"), client.get("/live/content")
        described = client.get("/openapi.json").json()["paths"]

    assert "KPIs" in page.text
    assert '<noscript><meta http-equiv="refresh" content="30"></noscript>' in page.text
    assert text_of(content.text)[:60] in text_of(page.text)
    assert "<html" not in content.text
    for answer in [*found, base, content]:
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert answer.headers["cache-control"] == "no-cache"
        assert "http" not in re.sub(r"http-equiv", "", answer.text)
    assert " style=" not in page.text
    assert "<style" not in page.text
    assert {"/live", "/live/content"} <= set(described)


def test_with_a_key_the_page_has_no_content_until_it_is_sent(shop):
    study, paths = shop
    write_status(status(), paths)
    with client_of(study, paths, key=KEY) as client:
        public = client.get("/live")
        assert [client.get(f"/live/live.{kind}").status_code for kind in ("css", "js")] == [200] * 2
        assert client.get("/pages/base.css").status_code == 200
        assert client.get("/live/content").status_code == 401
        sent = client.get("/live/content", headers={"Authorization": f"Bearer {KEY}"})

    assert public.status_code == 200
    assert 'data-key="required"' in public.text
    assert "synthetic-shop" not in public.text
    assert "spring" not in public.text
    assert "Users by group" in sent.text


def test_without_a_key_other_names_of_the_server_are_refused(shop):
    with client_of(*shop) as client:
        assert client.get("/live", headers={"host": "evil.example"}).status_code == 403


def test_files_are_read_when_they_change_and_rendered_once_for_all(shop, monkeypatch):
    study, paths = shop
    write_status(status(), paths)
    service = build_service(load_snapshot(study, paths), study, paths)
    reads, renders = [], []
    build = routes.build_view
    monkeypatch.setattr(
        live_files, "read_status", lambda of: reads.append(of.name) or read_status(of)
    )

    def counted(*arguments):
        renders.append(threading.current_thread())
        return build(*arguments)

    monkeypatch.setattr(routes, "build_view", counted)

    async def scenario():
        page = LivePage(service, paths)
        pages = await asyncio.gather(*(page.content() for _ in range(20)))
        assert len(set(pages)) == 1
        await asyncio.sleep(1.05)
        await page.content()
        write_status(status(study="another"), paths)
        await asyncio.sleep(1.05)
        return await page.content()

    last = asyncio.run(scenario())
    service.event_log.start()
    service.event_log.close()

    assert len(renders) == 3
    assert threading.main_thread() not in renders
    assert len(reads) == 2
    assert "of study another" in last


def test_a_service_that_fails_says_so(shop, monkeypatch):
    study, paths = shop
    write_status(status(), paths)
    service = build_service(load_snapshot(study, paths), study, paths)
    monkeypatch.setattr(service, "problems", lambda: ["the event log cannot be written: full"])
    service.fuse.blown_by = "5 of 10 lists failed"
    with TestClient(build_app(service, paths, key=None), base_url="http://localhost") as client:
        text = text_of(client.get("/live").text)

    assert "The endpoint is failing" in text
    assert "The event log cannot be written: full." in text
