"""How long a run takes: from the rates of the last run, or general ones where there is none."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from models.progress import readable_duration
from pipeline.artifacts.storage import StudyPaths, read_json
from pipeline.core.contracts import Split
from pipeline.core.errors import USER_ERRORS
from pipeline.study import LogSource, Study

_GENERAL: Mapping[str, tuple[float, float]] = {
    "raw_events": (1, 500_000),
    "events": (1, 100_000),
    "sessions": (1, 200_000),
    "conditioned_model": (1, 20_000),
    "preference_scores": (1, 1e8),
    "offline_metrics": (1, 100_000),
    "pareto_front": (1, 1),
    "traffic_plan": (5, 1),
    "experiment_log_files": (1, 700),
    "experiment_log": (1, 15_000),
    "group_kpis": (1, 40_000),
    "regression_estimates": (10, 1),
    "regression_report": (7, 1),
    "paired_lists": (10, 400),
    "counterfactual_estimates": (10, 400),
    "counterfactual_report": (3, 1),
    "candidate_gate_offline": (1, 1),
    "candidate_gate_counterfactual": (20, 400),
    "candidate_gate_simulation": (60, 1),
    "rollout_plan": (1, 1),
}
"""Seconds of each asset whatever its size, and its units of work per second: of the default study, on a
machine with two cores. They predict the first run."""

RUN_TAKES = "the run will take "
"""How :meth:`DurationModel.announce` begins."""

_GUESSED = (0.5, 4.0)
_KNOWN = (0.7, 1.6)
"""Factors from a prediction to the ends of its range: by general rates, and by those of the last run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSize:
    """What is counted in the raw log; all 0 if no model is trained.

    Attributes:
        events: Events of the raw log.
        items: Items of the catalogue.
        train_clicks: Clicks of an epoch.
        test_clicks: Clicks of the test sessions that are scored.
    """

    events: int = 0
    items: int = 0
    train_clicks: int = 0
    test_clicks: int = 0

    @classmethod
    def of(cls, study: Study, paths: StudyPaths) -> Self | None:
        """The counts of a study's artifacts; None where they are missing or damaged, which the steps report."""
        if not study.trains:
            return cls()
        try:
            events = read_json(paths.require("events", "summary.json"))["events"]
            sessions = read_json(paths.require("sessions", "summary.json"))
        except USER_ERRORS:
            return None
        samples = {
            Split.TRAIN: study.training.sessions_per_epoch,
            Split.TEST: study.evaluation.sessions,
        }
        train, test = (
            round(clicks * min(1, sample / n) if sample else clicks)
            for split, sample in samples.items()
            for clicks, n in [(sessions[f"{split}_clicks"], sessions[f"{split}_sessions"])]
        )
        return cls(events=events, items=sessions["items"], train_clicks=train, test_clicks=test)

    @classmethod
    def expected(cls, *, events: int, items: int) -> Self:
        """The counts of a log that has been read but not prepared."""
        return cls(events=events, items=items, train_clicks=events, test_clicks=events // 10)


@dataclass(frozen=True, slots=True)
class Work:
    """What an asset has to do: a number of units, such as 12,000 clicks."""

    amount: float
    unit: str

    def seconds(self, asset: str) -> float:
        """How long it takes at the general rate."""
        fixed, rate = _GENERAL[asset]
        return fixed + self.amount / rate


def work_of(asset: str, study: Study, size: DataSize) -> Work:
    """The work of an asset; 0 units where it depends on no count that is known before."""
    k, simulates = study.evaluation.preferences, study.experiment.source is not LogSource.FILES
    users = study.experiment.users if simulates else 0
    match asset:
        case "raw_events" | "events" | "sessions":
            return Work(size.events, "events")
        case "conditioned_model":
            return Work(size.train_clicks * study.training.epochs, "clicks")
        case "preference_scores":
            return Work(size.test_clicks * size.items * k, "scores")
        case "offline_metrics":
            return Work(size.test_clicks * k, "targets")
        case (
            "experiment_log_files"
            | "experiment_log"
            | "group_kpis"
            | "paired_lists"
            | "counterfactual_estimates"
            | "candidate_gate_counterfactual"
        ):
            return Work(users, "users")
        case _:
            return Work(0, "events")


@dataclass(frozen=True, slots=True)
class LastRun:
    """What an asset took when it was last materialised.

    Attributes:
        seconds: Its duration.
        rate: Its units per second; None if it had none.
    """

    seconds: float
    rate: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Duration:
    """A predicted duration, in seconds.

    Attributes:
        low: Lower end.
        high: Upper end.
        is_measured: Whether it is from the last run alone.
    """

    low: float
    high: float
    is_measured: bool

    def __str__(self) -> str:
        low, high = (readable_duration(one) for one in (self.low, self.high))
        if low == high:
            return f"about {low}"
        number, unit = low.split()
        return f"{number if unit == high.split()[1] else low} to {high}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DurationModel:
    """Predicts how long assets of a study take.

    Attributes:
        study: The study.
        size: Of its data; None before it has been counted.
        last_run: The last run of an asset; None without one.
    """

    study: Study
    size: DataSize | None
    last_run: Callable[[str], LastRun | None] = lambda _: None

    def predict(self, assets: Iterable[str]) -> Duration | None:
        """How long some assets take; None if that depends on data that has not been counted."""
        low, high, is_measured = 0.0, 0.0, True
        for asset in assets:
            found = self._seconds(asset)
            if found is None:
                return None
            seconds, known = found
            ends = _KNOWN if known else _GUESSED
            low, high = low + seconds * ends[0], high + seconds * ends[1]
            is_measured &= known
        return Duration(low=low, high=high, is_measured=is_measured)

    def announce(self, assets: Iterable[str]) -> str:
        """What a run says at its start."""
        found = self.predict(assets)
        if found is None:
            return f"{RUN_TAKES}an unknown time: its data has not been counted yet (first run)"
        by = "from the rates of the last run" if found.is_measured else "no earlier run to go by"
        return f"{RUN_TAKES}{found} ({by})"

    def _seconds(self, asset: str) -> tuple[float, bool] | None:
        """The expected seconds of an asset, and whether an earlier run is behind them."""
        last = self.last_run(asset)
        if self.size is None:
            return None if last is None else (last.seconds, True)
        work = work_of(asset, self.study, self.size)
        general = work.seconds(asset)
        if last is None:
            return general, False
        if last.rate is None or not work.amount:
            return last.seconds, True
        before = Work(last.rate * last.seconds, work.unit).seconds(asset)
        return last.seconds * general / before, True
