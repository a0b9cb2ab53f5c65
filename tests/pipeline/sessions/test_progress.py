"""Progress: pieces pass unchanged and one by one; lines in a log, a bar on a terminal."""

import logging

import pytest

from pipeline.sessions import progress
from pipeline.sessions.progress import shown


@pytest.mark.parametrize("terminal", [False, True], ids=["log", "terminal"])
@pytest.mark.parametrize("total", [0, 2, 9], ids=["none-expected", "fewer-expected", "more"])
def test_pieces_pass_unchanged_and_only_when_asked_for(terminal, total, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1" if terminal else "")
    taken = []

    def pieces():
        for piece in "abc":
            taken.append(piece)
            yield piece

    passed = shown(pieces(), total, "reading")

    assert taken == []
    assert next(passed) == "a"
    assert taken == ["a"]
    assert list(passed) == ["b", "c"]


def test_a_terminal_shows_a_bar_with_the_words(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")

    list(shown("abc", 3, "reading"))

    shown_text = capsys.readouterr()
    assert "reading" in shown_text.err
    assert "100%" in shown_text.err
    assert shown_text.out == ""


def test_elsewhere_a_line_now_and_then_says_how_far_it_is(monkeypatch, caplog):
    caplog.set_level(logging.INFO, logger="pipeline.sessions.progress")
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", -1.0)

    list(shown("abc", 2, "reading"))

    assert caplog.messages == [
        "reading: piece 1 of about 2",
        "reading: piece 2 of about 2",
        "reading: piece 3 of about 3",
    ]


def test_quick_work_logs_nothing(caplog):
    caplog.set_level(logging.INFO, logger="pipeline.sessions.progress")

    list(shown("abc", 3, "reading"))

    assert caplog.messages == []
