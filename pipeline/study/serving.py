"""``serving``: the endpoint, its filters and its re-ranking rules."""

from enum import StrEnum
from typing import Annotated

from annotated_types import Interval, Len
from pydantic.dataclasses import dataclass

from models.strict import STRICT
from pipeline.core.errors import StudyError
from pipeline.study.local_path import LocalPath
from pipeline.study.rules import (
    CANDIDATES,
    Boost,
    Candidates,
    IndexKind,
    ListRule,
    Rule,
    RuleSet,
    ScoreRule,
    ServingFilters,
)

SERVING_KEY = "PARETOSCOPE_SERVING_KEY"
"""The environment variable that holds the endpoint's bearer token; unset means no authentication."""

MOST_EXPLORED = 1000
"""Candidates of explored lists: of 100 among so many, any list has a probability above 1e-308."""


class Durability(StrEnum):
    """When a logged row counts as durable; see docs/serving.md."""

    FSYNC = "fsync"
    OS = "os"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class KafkaTopic:
    """A Kafka topic that receives a copy of every logged row."""

    servers: Annotated[str, Len(1)]
    topic: Annotated[str, Len(1)]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ExplorationConfig:
    """Random lists for a share of the requests, so that other policies can be evaluated on their log.

    Attributes:
        share: Share of the requests, in steps of 0.0001; a hash of the impression decides.
        temperature: Of the Plackett–Luce draw, in units of the model's scores: near 0 the best items,
            large values any of ``serving.candidates``.
    """

    share: Annotated[float, Interval(ge=0.0001, le=1)]
    temperature: Annotated[float, Interval(ge=0.001, le=1000)]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class FuseConfig:
    """When the endpoint itself goes back from the candidate of a rollout to the incumbent.

    Attributes:
        errors: Largest share of the candidate's lists that the model may fail to answer.
        late: Largest share that may miss ``serving.deadline_ms``.
        window_seconds: Time over which both are counted.
    """

    errors: Annotated[float, Interval(gt=0, le=1)] = 0.05
    late: Annotated[float, Interval(gt=0, le=1)] = 0.2
    window_seconds: Annotated[float, Interval(gt=0, le=86_400)] = 60.0


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ServingConfig:
    """The endpoint that serves the groups and writes the experiment log.

    Attributes:
        log_path: Folder of the log; each of several servers writes to a folder of its own in it.
        durability: ``fsync`` acknowledges a row once it is on disk; ``os`` once the operating system
            has it.
        rotate_minutes: Age at which a log file is closed.
        rotate_megabytes: Size at which a log file is closed.
        dedup_window_hours: Time for which repeated events are recognised.
        orders_have_revenue: Whether every order has revenue, or none has.
        deadline_ms: Time after which the popularity fallback answers instead of the model.
        batch_wait_ms: Time that a request waits to be batched with others.
        batch_size: Maximum number of requests per batch.
        threads: CPU threads of the network.
        reload_seconds: Interval of the checks for a new model, plan or rule; SIGHUP also triggers
            one.
        candidates: Number of best items that list rules choose from, and that explored lists are drawn
            from.
        filters: Items that are never recommended.
        rules: Re-ranking rules, in order.
        index: Approximate index from which candidates of lists are taken, for catalogues so large that the scores of
            all items take too long; None for exact lists. It changes what the experiment measures.
        exploration: Random lists for a share of the requests; None for none.
        fuse: When the candidate of a rollout is taken out of service at once.
        kafka: Topic that receives a copy of the log; None for none.
    """

    log_path: LocalPath = "data/served"
    durability: Durability = Durability.FSYNC
    rotate_minutes: Annotated[float, Interval(gt=0, le=525_600)] = 60.0
    rotate_megabytes: Annotated[float, Interval(gt=0, le=1_000_000)] = 64.0
    dedup_window_hours: Annotated[float, Interval(gt=0, le=87_600)] = 48.0
    orders_have_revenue: bool = False
    deadline_ms: Annotated[float, Interval(gt=0, le=3_600_000)] = 200.0
    batch_wait_ms: Annotated[float, Interval(ge=0, le=60_000)] = 5.0
    batch_size: Annotated[int, Interval(ge=1, le=100_000)] = 32
    threads: Annotated[int, Interval(ge=1, le=1024)] = 1
    reload_seconds: Annotated[float, Interval(gt=0, le=86_400)] = 10.0
    candidates: Candidates = CANDIDATES
    filters: ServingFilters = ServingFilters()
    rules: tuple[Rule, ...] = ()
    index: IndexKind | None = None
    exploration: ExplorationConfig | None = None
    fuse: FuseConfig = FuseConfig()
    kafka: KafkaTopic | None = None

    def __post_init__(self) -> None:
        reranks = [isinstance(rule, ListRule) for rule in self.rules]
        if reranks != sorted(reranks):
            msg = (
                f"serving.rules = {[rule.rule for rule in self.rules]}: boost and freshness change "
                "the scores of all items; put them before the rules that re-rank a list"
            )
            raise StudyError(msg)
        if any(isinstance(r, Boost) and not (r.categories or r.items) for r in self.rules):
            msg = "serving.rules: a boost has neither items nor categories; give it one of the two"
            raise StudyError(msg)
        if self.index and (named := [r.rule for r in self.rules if isinstance(r, ScoreRule)]):
            msg = (
                f"serving.index and serving.rules = {named}: the index finds items by the model's scores, "
                "which these rules change; remove one of the two"
            )
            raise StudyError(msg)
        if self.exploration is not None:
            self._check_exploration()

    def _check_exploration(self) -> None:
        """Raise if the probabilities of explored lists could not be known."""
        if named := [rule.rule for rule in self.rules if isinstance(rule, ListRule)]:
            msg = (
                f"serving.exploration and serving.rules = {named}: the probability of a list that rules "
                "re-rank is unknown; remove one of the two (boost, freshness and filters are possible)"
            )
            raise StudyError(msg)
        if self.candidates > MOST_EXPLORED:
            msg = (
                f"serving.exploration draws lists of serving.candidates = {self.candidates}; expected at "
                f"most {MOST_EXPLORED}, whose lists have probabilities that a number can hold"
            )
            raise StudyError(msg)

    @property
    def rule_set(self) -> RuleSet:
        """Filters and rules of what is served without rules of its own."""
        return RuleSet(
            candidates=self.candidates, filters=self.filters, rules=self.rules, index=self.index
        )
