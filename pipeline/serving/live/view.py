"""What the live page shows, in the order in which it shows it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Tone = Literal["good", "warn", "bad", "plain"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """What the endpoint knows of itself.

    Attributes:
        study: Name of the study.
        experiment: Name of the experiment.
        model: Version of the groups' model.
        rules: Version of the rules.
        preferences: Name of the preference by group.
        problems: Why it fails; empty if it does not.
        served_share: Share of the users who get the candidate; None without a rollout.
        fuse: Why the fuse has blown; None while it holds.
    """

    study: str
    experiment: str
    model: str
    rules: str
    preferences: dict[str, str]
    problems: Sequence[str]
    served_share: float | None
    fuse: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Something that a reader must know first, and the command to type, if one helps."""

    tone: Tone
    text: str
    command: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One number of the first row."""

    label: str
    value: str
    detail: str
    tone: Tone = "plain"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRow:
    """An open alert."""

    name: str
    subject: str
    text: str
    since: datetime
    age: str

    @property
    def runbook(self) -> str:
        """The page that says what to do."""
        return f"docs/runbooks/{self.name}.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class StageStep:
    """A stage of the rollout, and whether it is over, current or to come."""

    name: str
    share: str
    place: Literal["done", "current", "next"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A fact of a rollout: what is said first in bold, a sentence, and a list."""

    label: str
    text: str
    strong: str = ""
    items: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutView:
    """Where a release is.

    Attributes:
        release: Its name.
        state: Its state as text.
        tone: Of the state.
        stages: All of them.
        facts: What is served, since when, and what was decided.
        notes: What somebody should do.
    """

    release: str
    state: str
    tone: Tone
    stages: Sequence[StageStep]
    facts: Sequence[Fact]
    notes: Sequence[Note]


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitRow:
    """Users of a group; places are percent of the width of its bar."""

    group: str
    preference: str
    users: str
    share: str
    planned: str
    deviation: str
    overlap: str
    bar: float
    mark: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitView:
    """Users by group against the plan."""

    tone: Tone
    sentence: str
    rows: Sequence[SplitRow]
    has_overlap: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BandRow:
    """A KPI of a group or an arm; places are percent of the width."""

    name: str
    is_arm: bool
    value: str
    low: str
    high: str
    users: str
    start: float
    width: float
    dot: float


@dataclass(frozen=True, slots=True, kw_only=True)
class KpiCard:
    """One KPI, with the ends of its axis."""

    label: str
    rows: Sequence[BandRow]
    axis_low: str
    axis_high: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClicksRow:
    """Whether the clicks of a group arrive, and are as many as predicted; empty texts are unknown."""

    group: str
    without_click: str
    usual: str
    ratio: str
    limits: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HourBar:
    """Lists of one hour; ``height`` is percent of the largest."""

    place: float
    height: float
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRow:
    """Rows of a table of the log."""

    table: str
    counted: str
    problems: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LogView:
    """What has been logged."""

    sentence: str
    hours: Sequence[HourBar]
    first_hour: str
    last_hour: str
    rows: Sequence[LogRow]


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryRow:
    """An event of the rollout or of an alert."""

    ts: datetime
    ago: str
    what: str
    who: str
    why: str
    tone: Tone


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveView:
    """The page.

    Attributes:
        at: Time of the server's clock.
        endpoint: The endpoint.
        headline: The one thing to know.
        notes: What is missing, old or damaged.
        tiles: The first row.
        alerts: Open alerts, the oldest first.
        rollout: None without a release.
        split: None without users.
        kpis: KPIs with bands.
        clicks: Lost clicks and calibration by group; empty before there is enough of either.
        log: None without a look of the monitor.
        history: Newest first.
    """

    at: datetime
    endpoint: Endpoint
    headline: Note
    notes: Sequence[Note]
    tiles: Sequence[Tile]
    alerts: Sequence[AlertRow]
    rollout: RolloutView | None
    split: SplitView | None
    kpis: Sequence[KpiCard]
    clicks: Sequence[ClicksRow]
    log: LogView | None
    history: Sequence[HistoryRow]
