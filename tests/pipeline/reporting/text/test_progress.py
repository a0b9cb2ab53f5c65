"""The words of an experiment's progress."""

from datetime import date

from pipeline.reporting.text.progress import progress_lines, progress_words
from pipeline.results.hypothesis import Days
from pipeline.results.progress import DayProgress, State
from tests.pipeline.results.samples import hypothesis_result


def day(number, state, **values):
    return DayProgress(day=date(2026, 3, number), state=state, **values)


OPEN = day(1, State.OPEN, chance=0.4, days_to_go=5.25)
DECIDED = (OPEN, day(2, State.DECIDED, positive=False), day(3, State.DECIDED, positive=False))
FUTILE = (OPEN, OPEN, day(3, State.NOT_ANY_MORE, chance=0.021))
STILL = (OPEN, OPEN, day(3, State.OPEN, chance=0.55, days_to_go=3.0))


def result(name, progress, *, planned=10):
    return hypothesis_result(id=name, days=Days(observed=3, planned=planned, progress=progress))


def test_each_state_has_words():
    assert progress_words(DECIDED) == "decided since 2026-03-02, negative"
    assert progress_words(FUTILE) == ("cannot be decided any more by the planned end (chance 2%)")
    assert progress_words(STILL) == (
        "open: 55% chance to be decided by the planned end, expected 3.0 more days"
    )
    assert progress_words(()) == "–"


def test_the_experiment_goes_on_for_the_hypothesis_that_takes_longest():
    head, _, history, *_ = progress_lines([result("H1", DECIDED), result("H2", STILL)], 20)

    assert head == "day 3 of 10 (2026-03-03): go on: expected 3.0 more days"
    assert history == "  open on day 1; decided on days 2 to 3"


def test_it_may_end_when_no_hypothesis_is_open():
    head, *_ = progress_lines([result("H1", DECIDED), result("H2", FUTILE)], 20)

    assert "the experiment may end: every hypothesis is decided, or cannot be any more" in head


def test_days_beyond_the_plan_are_said():
    head, *_ = progress_lines([result("H1", DECIDED, planned=2)], 20)

    assert head.startswith("3 days, 2 planned (2026-03-03): ")


def test_without_days_there_is_nothing_to_say():
    (line,) = progress_lines([hypothesis_result()], 20)

    assert line.startswith("no days are known")
