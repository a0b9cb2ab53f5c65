"""Progress: pieces pass unchanged and one by one; lines in a log, a bar on a terminal."""

import logging

import pytest

from models import progress
from models.progress import lines_on_stderr, track


@pytest.mark.parametrize("terminal", [False, True], ids=["log", "terminal"])
@pytest.mark.parametrize("total", [0, 2, 9], ids=["none-expected", "fewer-expected", "more"])
def test_pieces_pass_unchanged_and_only_when_asked_for(terminal, total, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1" if terminal else "")
    taken = []

    def pieces():
        for piece in "abc":
            taken.append(piece)
            yield piece

    passed = track(pieces(), total, "reading", unit="rows")

    assert taken == []
    assert next(passed) == "a"
    assert taken == ["a"]
    assert list(passed) == ["b", "c"]


def test_a_terminal_shows_a_bar_with_the_words(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")

    list(track("abc", 3, "reading", unit="rows"))

    shown_text = capsys.readouterr()
    assert "reading" in shown_text.err
    assert "100%" in shown_text.err
    assert "rows/s, 5 seconds left" in shown_text.err
    assert shown_text.out == ""


class Clock:
    """A clock that a test moves."""

    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def test_elsewhere_a_line_now_and_then_says_rate_and_time_left(clock, caplog):
    caplog.set_level(logging.INFO, logger="models.progress")

    # 30 seconds per piece of 600 rows; 4 pieces in all
    for _ in track([600] * 4, 4, "reading", unit="rows", size=int):
        clock.now += 30

    assert caplog.messages == [
        "reading: 25%, 20 rows/s, 90 seconds left",
        "reading: 50%, 20 rows/s, 60 seconds left",
        "reading: 75%, 20 rows/s, 30 seconds left",
        "reading: 100%, 20 rows/s, 5 seconds left",
    ]


def test_lines_are_at_least_15_seconds_apart(clock, caplog):
    caplog.set_level(logging.INFO, logger="models.progress")

    for _ in track(range(1000), 1000, "reading", unit="rows"):
        clock.now += 0.1

    assert len(caplog.messages) == 6  # of 100 seconds


def test_an_estimate_that_is_too_small_stays_at_100_percent(clock, caplog):
    caplog.set_level(logging.INFO, logger="models.progress")

    for _ in track("abc", 2, "reading", unit="rows"):
        clock.now += 20

    assert [line.split(",")[0] for line in caplog.messages] == [
        "reading: 50%",
        "reading: 100%",
        "reading: 100%",
    ]


def test_work_that_goes_on_counts_what_was_done_before_but_not_in_its_rate(clock, caplog):
    caplog.set_level(logging.INFO, logger="models.progress")

    for _ in track([7, 8], 4, "epoch 2 of 3", unit="clicks", size=lambda n: 1000 * n, done=2):
        clock.now += 20

    # 7,000 clicks in 20 s, one batch left of 20 s; then 15,000 in 40 s
    assert caplog.messages == [
        "epoch 2 of 3: 75%, 350 clicks/s, 20 seconds left",
        "epoch 2 of 3: 100%, 375 clicks/s, 5 seconds left",
    ]


def test_quick_work_logs_nothing(caplog):
    caplog.set_level(logging.INFO, logger="models.progress")

    list(track("abc", 3, "reading", unit="rows"))

    assert caplog.messages == []


def test_a_run_that_collects_lines_has_no_bar(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    library, collector = logging.getLogger("pipeline"), logging.NullHandler()
    library.addHandler(collector)

    list(track("abc", 3, "reading", unit="rows"))

    library.removeHandler(collector)
    assert capsys.readouterr().err == ""


def test_a_script_prints_nothing_and_a_command_plain_lines(clock, capsys):
    def work():
        for _ in track("abc", 3, "reading", unit="rows"):
            clock.now += 20

    work()
    assert capsys.readouterr() == ("", "")
    with lines_on_stderr():
        work()
    assert capsys.readouterr().err.splitlines()[0] == "reading: 33%, 0.05 rows/s, 40 seconds left"
    work()
    assert capsys.readouterr() == ("", "")


def test_a_command_that_shows_its_log_prints_each_line_once(clock, capsys):
    root, shown = logging.getLogger(), logging.StreamHandler()
    root.addHandler(shown)
    try:
        with lines_on_stderr():
            for _ in track("abc", 3, "reading", unit="rows"):
                clock.now += 20
    finally:
        root.removeHandler(shown)

    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(set(lines)) == 3


def test_work_within_work_has_no_bar_of_its_own(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")

    for _ in track("ab", 2, "outer", unit="rows"):
        assert list(track("cd", 2, "inner", unit="rows")) == ["c", "d"]
    list(track("ef", 2, "later", unit="rows"))

    err = capsys.readouterr().err
    assert "outer" in err
    assert "inner" not in err
    assert "later" in err


def test_work_that_is_left_early_makes_room_for_the_next_bar(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")

    left = track("abc", 3, "left", unit="rows")
    next(left)
    left.close()
    list(track("abc", 3, "next", unit="rows"))

    assert "next" in capsys.readouterr().err
