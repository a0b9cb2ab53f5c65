"""Progress: pieces pass unchanged and one by one; lines in a log, a bar on a terminal."""

import logging

import pytest

from models import progress
from models.progress import track


@pytest.mark.parametrize("terminal", [False, True], ids=["log", "terminal"])
@pytest.mark.parametrize("total", [0, 2, 9], ids=["none-expected", "fewer-expected", "more"])
def test_pieces_pass_unchanged_and_only_when_asked_for(terminal, total, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1" if terminal else "")
    taken = []

    def pieces():
        for piece in "abc":
            taken.append(piece)
            yield piece

    passed = track(pieces(), total, "reading")

    assert taken == []
    assert next(passed) == "a"
    assert taken == ["a"]
    assert list(passed) == ["b", "c"]


def test_a_terminal_shows_a_bar_with_the_words(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")

    list(track("abc", 3, "reading"))

    shown_text = capsys.readouterr()
    assert "reading" in shown_text.err
    assert "100%" in shown_text.err
    assert shown_text.out == ""


def test_elsewhere_a_line_now_and_then_says_how_far_it_is(monkeypatch, caplog):
    caplog.set_level(logging.INFO, logger="models.progress")
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", -1.0)

    list(track("abc", 2, "reading"))

    assert caplog.messages == [
        "reading: piece 1 of about 2",
        "reading: piece 2 of about 2",
        "reading: piece 3 of about 3",
    ]


def test_quick_work_logs_nothing(caplog):
    caplog.set_level(logging.INFO, logger="models.progress")

    list(track("abc", 3, "reading"))

    assert caplog.messages == []


def test_a_run_that_collects_lines_has_no_bar(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    library, collector = logging.getLogger("pipeline"), logging.NullHandler()
    library.addHandler(collector)

    list(track("abc", 3, "reading"))

    library.removeHandler(collector)
    assert capsys.readouterr().err == ""


def test_where_stderr_is_no_terminal_nothing_is_printed(capfd):
    list(track("abc", 3, "reading"))

    assert capfd.readouterr() == ("", "")


def test_work_within_work_has_no_bar_of_its_own(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")

    for _ in track("ab", 2, "outer"):
        assert list(track("cd", 2, "inner")) == ["c", "d"]
    list(track("ef", 2, "later"))

    err = capsys.readouterr().err
    assert "outer" in err
    assert "inner" not in err
    assert "later" in err


def test_work_that_is_left_early_makes_room_for_the_next_bar(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")

    left = track("abc", 3, "left")
    next(left)
    left.close()
    list(track("abc", 3, "next"))

    assert "next" in capsys.readouterr().err


def test_work_that_goes_on_begins_where_it_was_and_tells_its_rate(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")

    list(track([7, 8], 4, "epoch 2", done=2, clicks=lambda clicked: 1_000_000 * clicked))

    err = capsys.readouterr().err
    assert "100%" in err
    assert "clicks/s" in err
