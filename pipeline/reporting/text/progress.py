"""How far an experiment has come, as lines of text: decided, not to be decided any more, or open."""

from collections.abc import Sequence
from itertools import groupby

from pipeline.core.labels import KPI_LABELS, metric_label
from pipeline.reporting.text.formatting import number, percent
from pipeline.results.hypothesis import HypothesisResult
from pipeline.results.progress import DayProgress, State


def progress_lines(hypotheses: Sequence[HypothesisResult], cutoff: int | None) -> list[str]:
    """Whether the experiment may end today, and each hypothesis's state with the days before."""
    known = [one for one in hypotheses if one.days.progress]
    if not known:
        return [
            "no days are known: the log has none, or every hypothesis has two groups or no slope"
        ]
    last = [one.days.progress[-1] for one in known]
    days = known[0].days
    seen = f"day {days.observed} of {days.planned}"
    if (days.observed or 0) > (days.planned or 0):  # it went on, or past midnight
        seen = f"{days.observed} days, {days.planned} planned"
    head = f"{seen} ({max(one.day for one in last)}): {_ending(last)}"
    return [head, *(line for one in known for line in _of_hypothesis(one, cutoff))]


def _ending(last: Sequence[DayProgress]) -> str:
    """Whether the experiment may end, and when else."""
    waiting = [one.days_to_go for one in last if one.state is State.OPEN]
    if not waiting:
        return "the experiment may end: every hypothesis is decided, or cannot be any more"
    longest = max((days for days in waiting if days is not None), default=None)
    if longest is None:
        return "go on: no slope is known yet"
    return f"go on: expected {number(longest, 1)} more days"


def _of_hypothesis(one: HypothesisResult, cutoff: int | None) -> list[str]:
    name = f"{one.id}, {metric_label(one.metric, cutoff)} → {KPI_LABELS[one.response]}"
    states = [(day + 1, found.state) for day, found in enumerate(one.days.progress)]
    runs = [
        (state, [day for day, _ in days]) for state, days in groupby(states, key=lambda one: one[1])
    ]
    history = "; ".join(f"{state.value} on {_days(days)}" for state, days in runs)
    return [f"{name}: {progress_words(one.days.progress)}", f"  {history}"]


def _days(days: Sequence[int]) -> str:
    return f"day {days[0]}" if len(days) == 1 else f"days {days[0]} to {days[-1]}"


def progress_words(progress: Sequence[DayProgress]) -> str:
    """The state at the end of the last day."""
    if not progress:
        return "–"
    last = progress[-1]
    if last.state is State.DECIDED:
        first = next(one.day for one in progress if one.state is State.DECIDED)
        return f"decided since {first}, {'positive' if last.positive else 'negative'}"
    chance = percent(last.chance, 0)
    if last.state is State.NOT_ANY_MORE:
        return f"{last.state.value} by the planned end (chance {chance})"
    wait = "" if last.days_to_go is None else f", expected {number(last.days_to_go, 1)} more days"
    return f"open: {chance} chance to be decided by the planned end{wait}"
