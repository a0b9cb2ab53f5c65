"""A study is ``params.yaml``: these frozen dataclasses are all it can say.

This is the only place that reads configuration. A wrong key, type or range raises
:class:`StudyError` before any work, naming the key, the value and what is accepted.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import yaml
from annotated_types import Ge, Gt, Interval, Len
from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from models.configuration import STRICT, ModelConfig, TrainingConfig
from models.errors import ModelError
from models.ranking import TieRule
from pipeline.errors import StudyError
from pipeline.schemas import EventKind, Kpi, Metric, Segmentation

PARAMS_FILE = "params.yaml"


class DatasetFormat(StrEnum):
    """The layout of the raw data; one adapter in ``pipeline.sessions.adapters`` each."""

    OTTO = "otto"
    YOOCHOOSE = "yoochoose"
    DIGINETICA = "diginetica"
    RETAILROCKET = "retailrocket"
    REES46 = "rees46"
    JDATA = "jdata"
    GENERIC = "generic"


class IdType(StrEnum):
    """How ids are kept."""

    INTEGER = "integer"
    TEXT = "text"


class Duplicates(StrEnum):
    """What becomes of an event that repeats another: same session, time, item and kind."""

    REJECT = "reject"
    KEEP = "keep"


class LogSource(StrEnum):
    """Where the experiment's log comes from."""

    SIMULATED_SHOP = "simulated-shop"
    REPLAY = "replay"
    FILES = "files"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class StudySection:
    """The study's name (its folder under ``data/studies``) and the seed of all its randomness."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    seed: Annotated[int, Interval(ge=0, lt=2**63)]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class WorldSection:
    """The synthetic shop.

    Attributes:
        seed: Of the world alone, so that a study can change its own seed and keep the shop.
        items: Size of the catalogue.
        categories: Number of categories the items fall into.
        neighbours: Related items a product page links to.
        users: People who visit the shop.
        sessions: Visits in the log.
        days: Days the log covers, from 2025-09-01 UTC.
    """

    seed: Annotated[int, Ge(0)] = 7
    items: Annotated[int, Ge(50)] = 3000
    categories: Annotated[int, Ge(2)] = 40
    neighbours: Annotated[int, Ge(5)] = 20
    users: Annotated[int, Ge(10)] = 20000
    sessions: Annotated[int, Ge(10)] = 40000
    days: Annotated[int, Ge(3)] = 28

    def __post_init__(self) -> None:
        if self.categories > self.items:
            msg = (
                f"world.categories = {self.categories} exceeds world.items = {self.items}; "
                "every category needs an item of its own"
            )
            raise StudyError(msg)


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class GenericLayout:
    """Where an event's fields stand in a parquet, CSV or JSON lines file of one's own.

    Attributes:
        session: Column of the session; or None, and sessions are cut from those of ``user``.
        user: Column of the user, if there is none of the session.
        item: Column of the item.
        time: Column of the time.
        time_unit: ``s``, ``ms`` or ``us`` since 1970 UTC; ``iso8601`` (with a zone);
            ``iso8601-utc`` (without one, read as UTC); or a ``strptime`` pattern such as
            ``%Y-%m-%d %H:%M:%S`` (read as UTC unless it holds ``%z``). Fractions of a millisecond
            are cut off.
        kind: Column of the kind of event; None if every row is a click.
        kinds: What the file's words for kinds mean; null for those that are of no use here.
        ids: Whether sessions, users and items are whole numbers or texts.
        separator: Between the fields of a CSV.
    """

    session: Annotated[str, Len(1)] | None = None
    user: Annotated[str, Len(1)] | None = None
    item: Annotated[str, Len(1)]
    time: Annotated[str, Len(1)]
    time_unit: Annotated[str, Field(pattern=r"^(s|ms|us|iso8601|iso8601-utc|.*%.*)$")] = "ms"
    kind: Annotated[str, Len(1)] | None = None
    kinds: dict[str, EventKind | None] = Field(default_factory=dict[str, EventKind | None])
    ids: IdType = IdType.TEXT
    separator: Annotated[str, Field(pattern=r'^[\x01-\x7f--"\r\n]$')] = ","

    def __post_init__(self) -> None:
        if (self.session is None) == (self.user is None):
            msg = (
                f"dataset.generic: session = {self.session!r} and user = {self.user!r}; name the "
                "column of one of the two"
            )
            raise StudyError(msg)
        named = [self.session or self.user, self.item, self.time, self.kind]
        if len(set(named)) < len(named):
            msg = f"dataset.generic names a column twice: {[name for name in named if name]}"
            raise StudyError(msg)
        if (self.kind is None) == bool(self.kinds):
            msg = (
                f"dataset.generic: kind = {self.kind!r} and kinds = {self.kinds}; give both (the "
                "column, and what its words mean) or neither (every row is a click)"
            )
            raise StudyError(msg)
        if "%" in self.time_unit and not _names_a_date(self.time_unit):
            msg = (
                f"dataset.generic.time_unit = {self.time_unit!r} is no pattern that strptime finds "
                "a date by; expected one such as '%Y-%m-%d %H:%M:%S'"
            )
            raise StudyError(msg)


def _names_a_date(pattern: str) -> bool:
    """Whether a time written by the pattern can be read by it, too."""
    moment = datetime(2020, 2, 3, 4, 5, 6, tzinfo=UTC)
    try:
        read = datetime.strptime(moment.strftime(pattern), pattern)  # noqa: DTZ007
    except (ValueError, re.error):
        return False
    return read.date() == moment.date()


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Expected:
    """Counts the raw data must have, such as those its publisher states; None is not checked.

    Attributes:
        rows: Events and lines, those set aside included.
        sessions: Sessions with an event.
        clicks: Clicks as read, repeated ones included.
        carts: Carts as read.
        orders: Orders as read.
    """

    rows: Annotated[int, Ge(0)] | None = None
    sessions: Annotated[int, Ge(0)] | None = None
    clicks: Annotated[int, Ge(0)] | None = None
    carts: Annotated[int, Ge(0)] | None = None
    orders: Annotated[int, Ge(0)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class DatasetSection:
    """The raw data.

    Attributes:
        format: Its layout.
        path: The file or folder it lies in.
        generic: The columns, if the format is ``generic``.
        inactivity_minutes: Where the data knows users only, a session ends after such a rest.
        duplicates: ``reject`` (and count) an event that repeats another, or ``keep`` it.
        expected: Counts the data must have.
        item_attributes: A CSV or parquet file with the column item and one or more of value (for
            an objective that weighs clicks by revenue), category and available_since.
    """

    format: DatasetFormat
    path: Annotated[str, Len(1)]
    generic: GenericLayout | None = None
    inactivity_minutes: Annotated[float, Gt(0)] = 30.0
    duplicates: Duplicates = Duplicates.REJECT
    expected: Expected | None = None
    item_attributes: Annotated[str, Len(1)] | None = None

    def __post_init__(self) -> None:
        if (self.format is DatasetFormat.GENERIC) != (self.generic is not None):
            msg = (
                f"dataset.format = {self.format}: give dataset.generic (where the columns stand) "
                "if and only if the format is 'generic'"
            )
            raise StudyError(msg)

    @property
    def knows_users_only(self) -> bool:
        """Whether sessions are still to be cut."""
        if self.generic is not None:
            return self.generic.session is None
        return self.format is DatasetFormat.RETAILROCKET


class SupportFilter(StrEnum):
    """How often the filters of item support and session length are applied."""

    ONE_PASS = "one-pass"  # noqa: S105 - no password
    ITERATED = "iterated"


class Straddling(StrEnum):
    """What becomes of a session that begins before a cut and ends after it."""

    DROP = "drop"
    TRIM = "trim"
    LATER = "later"
    EARLIER = "earlier"


class Preset(StrEnum):
    """A named way to make sessions, instead of the keys one by one."""

    REFERENCE = "reference"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class SessionsSection:
    """Cleaning and splitting.

    Attributes:
        preset: ``reference`` makes the sessions MultiTRON's preprocessing makes of OTTO,
            Yoochoose and Diginetica files; it then decides instead of the keys up to
            ``test_days`` and of ``order_window_minutes``.
        min_item_support: Clicks an item needs in the training period to be in the catalogue.
        min_session_length: Clicks a session needs, before the item filter and after it.
        support_filter: ``one-pass`` (length, support, length), or ``iterated`` until both hold.
        straddling: ``drop`` a session that straddles a cut; ``trim`` it to the part before; or
            count all of it to the ``later`` or the ``earlier`` part (which then holds events from
            after its cut).
        test_days: Length of the last part of the data, in days; its sessions are the test set.
        validation_days: Length of the part before it; its sessions choose the epoch.
        order_window_minutes: A click counts as ordered if the order follows within these; None
            for any order later in the session.
        max_rejected_share: Share of rejected rows above which the data is refused.
    """

    preset: Preset | None = None
    min_item_support: Annotated[int, Ge(1)] = 5
    min_session_length: Annotated[int, Ge(2)] = 2
    support_filter: SupportFilter = SupportFilter.ONE_PASS
    straddling: Straddling = Straddling.DROP
    test_days: Annotated[float, Gt(0)] = 4.0
    validation_days: Annotated[float, Gt(0)] = 2.0
    order_window_minutes: Annotated[float, Gt(0)] | None = None
    max_rejected_share: Annotated[float, Interval(ge=0, le=1)] = 0.05


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class OwnMetric:
    """A metric of targets that is a function of one's own; see :mod:`pipeline.evaluation.metrics`.

    Attributes:
        name: What the tables and hypotheses call it.
        function: Its import path, ``package.module:function``.
        higher_is_better: Its direction.
    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    function: Annotated[str, Len(1)]
    higher_is_better: bool = True


class MetricFacts(NamedTuple):
    """The cutoff a metric is measured at, None for a loss; and its direction."""

    cutoff: int | None
    higher_is_better: bool


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class EvaluationSection:
    """How offline metrics are computed.

    Attributes:
        cutoff: k of all metrics at k, such as Recall@k, and the length of the lists.
        further_cutoffs: Other k the metrics of targets are also computed at, as ``recall@5``.
        preferences: Points of the preference grid, evenly spaced from all-order to all-click.
        sessions: Test sessions that are scored, drawn at random by the study's seed; None for all.
            Items are never sampled.
        shards: Parts the sessions are scored in, one after another or by several processes; what
            comes out is the same for any number.
        ties: Where a target stands among items of the same score.
        cold_item_clicks: An item with at most so many clicks in train is a cold one.
        fresh_days: An item is fresh for so many days after it became available.
        bootstrap: Redrawn test sets the covariance of a metric's errors is from.
        segments: What the metrics of targets are also computed by.
        own_metrics: Metrics of one's own.
    """

    cutoff: Annotated[int, Ge(1)] = 20
    further_cutoffs: tuple[Annotated[int, Ge(1)], ...] = ()
    preferences: Annotated[int, Ge(3)] = 11
    sessions: Annotated[int, Ge(2)] | None = None
    shards: Annotated[int, Ge(1)] = 1
    ties: TieRule = TieRule.HALF
    cold_item_clicks: Annotated[int, Ge(0)] = 10
    fresh_days: Annotated[float, Gt(0)] = 30.0
    bootstrap: Annotated[int, Ge(50)] = 500
    segments: tuple[Segmentation, ...] = (
        Segmentation.SESSION_LENGTH,
        Segmentation.ITEM_POPULARITY,
        Segmentation.DAY,
    )
    own_metrics: tuple[OwnMetric, ...] = ()

    def __post_init__(self) -> None:
        if len({self.cutoff, *self.further_cutoffs}) < 1 + len(self.further_cutoffs):
            msg = (
                f"evaluation.further_cutoffs = {list(self.further_cutoffs)} and evaluation.cutoff "
                f"= {self.cutoff} name a cutoff twice"
            )
            raise StudyError(msg)
        own = [metric.name for metric in self.own_metrics]
        if taken := sorted({name for name in own if own.count(name) > 1 or name in set(Metric)}):
            msg = f"evaluation.own_metrics: the names {taken} are taken; choose others"
            raise StudyError(msg)

    def metrics(self) -> dict[str, MetricFacts]:
        """Everything that is measured, by the name it has in ``offline_metrics``, in its order."""
        found = {
            metric.value: MetricFacts(
                self.cutoff if metric.has_cutoff else None, metric.higher_is_better
            )
            for metric in Metric
        }
        at_others = {
            f"{metric}@{k}": MetricFacts(k, metric.higher_is_better)
            for k in self.further_cutoffs
            for metric in Metric
            if metric.has_cutoff and not metric.is_of_lists
        }
        own = {one.name: MetricFacts(self.cutoff, one.higher_is_better) for one in self.own_metrics}
        return found | at_others | own


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ExperimentSection:
    """The online experiment.

    Attributes:
        name: Of the experiment, in its log.
        source: ``simulated-shop`` (users of the synthetic shop), ``replay`` (held-out sessions
            play the users) or ``files`` (a log you bring, in ``log_path``).
        log_path: Folder of the log's files when ``source`` is ``files``.
        salt: Seed of the assignment hash; change it for every new experiment.
        groups: Number of groups.
        replicates: Groups under each preference. From 2 on, groups of one preference are an A/A test
            within the experiment, and tell what groups differ by for reasons beyond π.
        list_length: Items in a recommended list.
        days: Days the experiment is planned to run; the simulated shop is open so long. With
            ``first_day`` and ``last_day``, those say it.
        users: Users of the simulated experiment.
        first_day: Exposures before this day (UTC) are none of the experiment's; None for any.
        last_day: Exposures after this day (UTC) are none of the experiment's; None for any.
        attribution_hours: Where clicks and orders have files of their own, a click counts for so
            long after its exposure, and an order for so long after its click.
        max_exposures_per_hour: A user who is shown more lists within an hour of the clock is a
            bot, and set aside.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")] = "pareto-1"
    source: LogSource = LogSource.SIMULATED_SHOP
    log_path: str | None = None
    salt: Annotated[str, Len(1)] = "pareto-1"
    groups: Annotated[int, Ge(3)] = 5
    replicates: Annotated[int, Ge(1)] = 1
    list_length: Annotated[int, Ge(1)] = 20
    days: Annotated[int, Ge(1)] = 14
    users: Annotated[int, Ge(10)] = 40000
    first_day: date | None = None
    last_day: date | None = None
    attribution_hours: Annotated[float, Gt(0)] = 24.0
    max_exposures_per_hour: Annotated[int, Ge(1)] = 500

    def __post_init__(self) -> None:
        if self.groups % self.replicates or self.groups // self.replicates < 2:
            msg = (
                f"experiment.groups = {self.groups} and experiment.replicates = {self.replicates}; "
                "the groups are so many of each of two or more preferences"
            )
            raise StudyError(msg)
        if self.first_day and self.last_day and self.first_day > self.last_day:
            msg = (
                f"experiment.first_day = {self.first_day} is after experiment.last_day = "
                f"{self.last_day}; the first comes first"
            )
            raise StudyError(msg)

    @property
    def planned_days(self) -> int | None:
        """How long the experiment is to run; None for replayed sessions, of which all are there."""
        if self.source is LogSource.REPLAY:
            return None
        if self.first_day and self.last_day:
            return (self.last_day - self.first_day).days + 1
        return self.days


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Hypothesis:
    """A declared relation: this offline metric predicts that KPI in this direction.

    The metric is one that ``evaluation`` measures and of which more is better, since x is its
    change against the worst group.

    Attributes:
        id: What tables and sentences call it.
        metric: The offline metric.
        kpi: The online KPI.
        direction: Of the slope.
        margin: Slopes within ± this are of no consequence; then equivalence and non-inferiority
            are tested, too.
    """

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]
    metric: str
    kpi: Kpi
    direction: Literal["positive", "negative"]
    margin: Annotated[float, Gt(0)] | None = None


PAPER_HYPOTHESES = (
    Hypothesis(id="H1", metric=Metric.RECALL, kpi=Kpi.CTR, direction="positive"),
    Hypothesis(id="H2", metric=Metric.ORDER_DENSITY, kpi=Kpi.CVR, direction="positive"),
    Hypothesis(
        id="H3",
        metric=Metric.RECALL_ORDER_DENSITY,
        kpi=Kpi.UNITS_PER_EXPOSURE,
        direction="positive",
    ),
    Hypothesis(id="H4", metric=Metric.RECALL, kpi=Kpi.CVR, direction="negative"),
)
"""Section 5 of the paper."""


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class RegressionSection:
    """The hypotheses to test, and the level of the intervals."""

    level: Annotated[float, Interval(gt=0.5, lt=1)] = 0.95
    hypotheses: Annotated[tuple[Hypothesis, ...], Len(1)] = PAPER_HYPOTHESES


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Study:
    """Everything that determines a study's result, besides data and code."""

    study: StudySection
    dataset: DatasetSection
    world: WorldSection
    sessions: SessionsSection
    model: ModelConfig
    training: TrainingConfig
    evaluation: EvaluationSection
    experiment: ExperimentSection
    regression: RegressionSection

    def __post_init__(self) -> None:
        if self.experiment.groups > self.evaluation.preferences * self.experiment.replicates:
            msg = (
                f"experiment.groups = {self.experiment.groups} exceeds evaluation.preferences = "
                f"{self.evaluation.preferences} times experiment.replicates = "
                f"{self.experiment.replicates}; the groups need as many preferences"
            )
            raise StudyError(msg)
        if (self.experiment.source is LogSource.FILES) != (self.experiment.log_path is not None):
            msg = (
                f"experiment.source = {self.experiment.source} and experiment.log_path = "
                f"{self.experiment.log_path} do not fit: give log_path if and only if the source "
                "is 'files'"
            )
            raise StudyError(msg)
        reference = self.sessions.preset is Preset.REFERENCE
        if reference and self.dataset.duplicates is Duplicates.REJECT:
            msg = (
                "sessions.preset = reference keeps repeated events, but dataset.duplicates = "
                "reject; set dataset.duplicates: keep"
            )
            raise StudyError(msg)
        simulated = self.experiment.source is LogSource.SIMULATED_SHOP
        if simulated and self.dataset.format is not DatasetFormat.OTTO:
            msg = (
                f"experiment.source = simulated-shop needs the synthetic shop's own sessions, but "
                f"dataset.format = {self.dataset.format}; use source: replay, or files"
            )
            raise StudyError(msg)
        self._check_what_is_measured()

    def _check_what_is_measured(self) -> None:
        """Raise if a hypothesis or segment is on what the study does not measure."""
        if self.dataset.item_attributes is None:
            needing = [h.metric for h in self.regression.hypotheses]
            needing = [m for m in needing if m in set(Metric) and Metric(m).needs_attributes]
            if Segmentation.CATEGORY in self.evaluation.segments:
                needing.append("the segment category")
            if needing:
                msg = (
                    f"{', '.join(needing)}: what the shop knows of its items is needed; name its "
                    "file in dataset.item_attributes"
                )
                raise StudyError(msg)
        measured = self.evaluation.metrics()
        better = ", ".join(name for name, facts in measured.items() if facts.higher_is_better)
        for hypothesis in self.regression.hypotheses:
            facts = measured.get(hypothesis.metric)
            if facts is None or not facts.higher_is_better:
                wrong = "is not measured" if facts is None else "is better when it is less"
                msg = (
                    f"hypothesis {hypothesis.id}: {hypothesis.metric!r} {wrong}; name a metric of "
                    f"which more is better ({better})"
                )
                raise StudyError(msg)
        ids = [hypothesis.id for hypothesis in self.regression.hypotheses]
        if len(set(ids)) != len(ids):
            msg = f"regression.hypotheses: ids {ids} are not distinct"
            raise StudyError(msg)

    def as_dict(self) -> dict[str, Any]:
        """The study as plain values, as they would stand in ``params.yaml``."""
        return json.loads(json.dumps(asdict(self), default=str))


_STUDY = TypeAdapter(Study)


def load_study(path: Path, overrides: Mapping[str, Any] | None = None) -> Study:
    """Read a study from a YAML file, with ``overrides`` such as ``{"training.epochs": 1}``.

    Raises:
        StudyError: naming the key, the value and what is accepted.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        msg = f"no {path.name} in {path.parent.resolve()}; run from the project's folder"
        raise StudyError(msg) from error
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror}"
        raise StudyError(msg) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        msg = f"{path} is not YAML: {error}"
        raise StudyError(msg) from error
    if not isinstance(values, dict):
        msg = f"{path} holds {type(values).__name__}, expected sections such as 'study:'"
        raise StudyError(msg)
    for key, value in (overrides or {}).items():
        _override(values, key, value)
    return parse_study(values)


def parse_study(values: Mapping[str, Any]) -> Study:
    """Turn plain values into a :class:`Study`; raises :class:`StudyError` as `load_study` does."""
    try:
        return _STUDY.validate_json(json.dumps(values, default=_foreign))
    except ValidationError as error:
        problems = "\n".join(f"  - {_explain(problem)}" for problem in error.errors())
        msg = f"the study's parameters are wrong:\n{problems}"
        raise StudyError(msg) from error
    except ModelError as error:
        raise StudyError(str(error)) from error
    except (TypeError, ValueError) as error:
        msg = f"the study holds a key or value that JSON cannot say: {error}"
        raise StudyError(msg) from error


def _foreign(value: Any) -> dict[str, str]:
    """YAML's dates, sets and bytes as a mapping, which no parameter accepts."""
    return {type(value).__name__: str(value)}


def _override(values: dict[str, Any], key: str, value: Any) -> None:
    *sections, name = key.split(".")
    target: Any = values
    for section in sections:
        target = target.get(section) if isinstance(target, dict) else None
    if not isinstance(target, dict):
        msg = f"override {key!r}: no section {'.'.join(sections)!r} in the study ({list(values)})"
        raise StudyError(msg)
    target[name] = value


def _explain(problem: Mapping[str, Any]) -> str:
    """One readable line for one pydantic error: key, value, what is accepted."""
    key = ".".join(str(part) for part in problem["loc"])
    match problem["type"]:
        case "unexpected_keyword_argument":
            parent = problem["loc"][:-1]
            return f"{key} = {problem['input']!r}: unknown key; accepted are {_accepted(parent)}"
        case "missing" | "missing_argument":
            return f"{key}: required, but absent"
        case _:
            return f"{key} = {problem['input']!r}: {problem['msg']}"


def _accepted(location: tuple[str | int, ...]) -> list[str]:
    """The keys of the section at ``location``."""
    schema: dict[str, Any] = _STUDY.json_schema()
    definitions, node = schema["$defs"], schema
    for part in location:
        node = node["items"] if isinstance(part, int) else node["properties"][part]
        # A section that may be absent is one of two: itself, or null.
        node = next((choice for choice in node.get("anyOf", ()) if "$ref" in choice), node)
        if "$ref" in node:
            node = definitions[node["$ref"].rsplit("/", 1)[-1]]
    return sorted(node["properties"])
