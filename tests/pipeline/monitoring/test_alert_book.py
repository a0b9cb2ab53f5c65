"""Grace, cooldown, all-clear, and what a crash or a deaf webhook leaves behind."""

import json

import pytest

from pipeline.core.errors import StudyError
from pipeline.monitoring.alarms import Alarm, AlertName
from pipeline.monitoring.alert_book import ALERTS, CLEAR_SECONDS, GRACE_SECONDS, AlertBook
from pipeline.monitoring.following.database import Database

COOLDOWN = 3600.0
NOW = 1_760_000_000.0


def alarm(subject="g1 ctr", value=-0.2):
    return Alarm(
        name=AlertName.KPI_DROPPED, subject=subject, text=f"{subject} fell", value=value, limit=0.1
    )


class Room:
    """A monitor's folder with what was sent from it."""

    def __init__(self, folder):
        self.folder = folder
        self.database = Database.open(folder / "monitor.sqlite")
        self.sent = []
        self.deaf = False

    @property
    def book(self):
        """A new one each time, as after a restart."""
        return AlertBook(
            self.database, self.folder, study="shop", cooldown_seconds=COOLDOWN, send=self._send
        )

    def _send(self, lines):
        if self.deaf:
            raise StudyError("the webhook cannot be reached")
        self.sent.append(list(lines))

    def states(self):
        text = (self.folder / ALERTS).read_text("utf-8")
        return [(row["state"], row["subject"]) for row in map(json.loads, text.splitlines())]


@pytest.fixture
def room(tmp_path):
    one = Room(tmp_path)
    yield one
    one.database.close()


def test_an_alarm_fires_once_after_its_grace_and_ends_with_an_all_clear(room):
    assert room.book.update([alarm()], NOW) == ()
    (active,) = room.book.update([alarm()], NOW + GRACE_SECONDS)
    room.book.update([alarm(value=-0.3)], NOW + 100)
    room.book.update([], NOW + 130)
    assert len(room.book.update([], NOW + 100 + CLEAR_SECONDS - 1)) == 1

    assert room.book.update([], NOW + 100 + CLEAR_SECONDS) == ()

    assert active.since == NOW
    assert room.states() == [("firing", "g1 ctr"), ("resolved", "g1 ctr")]
    assert room.sent == [
        [
            "Paretoscope, shop: KpiDropped g1 ctr firing",
            "g1 ctr fell",
            "since 2025-10-09T08:53:20+00:00; what to do: docs/runbooks/KpiDropped.md",
        ],
        [
            "Paretoscope, shop: KpiDropped g1 ctr resolved",
            "g1 ctr fell",
            "since 2025-10-09T08:53:20+00:00; what to do: docs/runbooks/KpiDropped.md",
        ],
    ]


def test_an_alarm_of_one_look_says_nothing(room):
    room.book.update([alarm()], NOW)
    room.book.update([], NOW + 30)
    room.book.update([alarm()], NOW + 60)

    assert room.sent == []


def test_an_alert_that_stays_is_repeated_after_the_cooldown(room):
    for minute in range(130):
        room.book.update([alarm()], NOW + 60 * minute)

    assert [state for state, _ in room.states()] == ["firing", "still firing", "still firing"]


def test_subjects_are_alerts_of_their_own(room):
    for second in (0, 60):
        room.book.update([alarm("a ctr"), alarm("b ctr")], NOW + second)

    assert room.states() == [("firing", "a ctr"), ("firing", "b ctr")]


def test_a_message_that_was_not_delivered_is_sent_at_the_next_look_and_once(room, caplog):
    room.deaf = True
    for second in (0, 60):
        room.book.update([alarm()], NOW + second)
    assert "not delivered, it is tried again" in caplog.text

    room.deaf = False
    for second in (90, 120):
        room.book.update([alarm()], NOW + second)

    assert len(room.sent) == 1


@pytest.mark.parametrize("left", [0, 10, -1])
def test_a_file_that_a_crash_has_cut_is_completed(room, left):
    for second in (0, 60):
        room.book.update([alarm("a ctr"), alarm("b ctr")], NOW + second)
    file = room.folder / ALERTS
    whole = file.read_bytes()

    file.write_bytes(whole[:left])
    room.book.update([], NOW + 90)

    assert file.read_bytes() == whole


def test_alerts_of_a_database_that_was_deleted_are_kept(room):
    (room.folder / ALERTS).write_text('{"state": "old"}\n', encoding="utf-8")

    for second in (0, 60):
        room.book.update([alarm()], NOW + second)

    assert room.states() == [("firing", "g1 ctr")]
    (old,) = room.folder.glob("alerts-*.jsonl")
    assert old.read_text("utf-8") == '{"state": "old"}\n'


def test_without_a_webhook_alerts_are_in_the_file_and_are_not_sent_later(room):
    silent = AlertBook(
        room.database, room.folder, study="shop", cooldown_seconds=COOLDOWN, send=None
    )
    for second in (0, 60):
        silent.update([alarm()], NOW + second)
    room.book.update([], NOW + 90)

    assert room.states() == [("firing", "g1 ctr")]
    assert room.sent == []
