"""The lists of both arms of a release for the same sessions, ranked as the endpoint ranks them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts.storage import StudyPaths
from pipeline.evaluation.metric_estimates import MetricEstimate, estimate_ratios, sum_by_session
from pipeline.evaluation.metric_registry import build_metrics
from pipeline.evaluation.ranking_metrics import Targets
from pipeline.evaluation.test_set import HeldOutSessions
from pipeline.experiment.design.traffic_plan import TrafficPlan, read_plan
from pipeline.rollout.plan import RolloutPlan
from pipeline.rollout.served import Arm
from pipeline.serving.ranking.rank import popularity_fallback, rank_sessions
from pipeline.serving.ranking.served_model import ServedModel
from pipeline.serving.ranking.snapshot import model_of_arm, paths_of_arm
from pipeline.study import EvaluationConfig, Study, level_of

SESSIONS = 10_000
"""Test sessions at most, evenly over the test set."""

List = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmLists:
    """What both arms answer to sessions before their last click.

    Attributes:
        k: Length of a list; filters and rules may leave fewer items.
        test: The sessions, of two clicks or more.
        candidate: The candidate's list of each session.
        incumbent: The incumbent's.
        unknown_items: Items of the candidate's rules and filters that its catalogue lacks.
    """

    k: int
    test: HeldOutSessions
    candidate: tuple[List, ...]
    incumbent: tuple[List, ...]
    unknown_items: int = 0

    @property
    def sessions(self) -> list[List]:
        """The clicks of each session before the last, oldest first."""
        names, tokens = self.test.items["item"].to_list(), self.test.tokens
        return [
            tuple(names[item] for item in tokens.items[first : end - 1])
            for first, end in zip(tokens.offsets[:-1], tokens.offsets[1:], strict=True)
        ]

    def estimates(self, names: list[str], config: EvaluationConfig) -> dict[str, MetricEstimate]:
        """Metrics of the last clicks by their places in the lists: the candidate's, then the incumbent's.

        Raises:
            DataError: if a metric is not of places, but of scores, such as a loss.
        """
        metrics = build_metrics(config)
        targets = [self._targets(lists, config) for lists in (self.candidate, self.incumbent)]
        chosen = {name: metrics[name] for name in names}
        return estimate_ratios(sum_by_session(targets, chosen, targets[0].session))

    def _targets(self, lists: tuple[List, ...], config: EvaluationConfig) -> Targets:
        tokens, names = self.test.tokens, self.test.items["item"].to_numpy().astype(np.str_)
        last_S = tokens.offsets[1:] - 1
        item_S = tokens.items[last_S]
        beyond = np.iinfo(np.int64).max
        places = [
            shown.index(item) + 1 if item in shown else beyond
            for item, shown in zip(names[item_S].tolist(), lists, strict=True)
        ]
        columns = {
            "session": np.arange(len(lists)),
            "rank": np.array(places, dtype=np.int64),
            "ordered": tokens.ordered[last_S],
            "history": tokens.lengths - 1,
            "item": item_S,
            "cold": self.test.train_clicks_I[item_S] <= config.cold_item_clicks,
        }
        return Targets(k=config.cutoff, columns=columns, item_ids=names)


def arm_lists(plan: RolloutPlan, study: Study, paths: StudyPaths) -> ArmLists:
    """Rank the lists of both arms for sessions of the candidate's test set.

    Raises:
        MissingArtifact: if the traffic plan, a model or the sessions are missing.
        DataError, StudyError, LogError: if an arm cannot be loaded, or its rules do not fit the catalogue.
    """
    traffic = read_plan(paths)
    whole = HeldOutSessions.open(study, paths_of_arm(plan.candidate, paths))
    rows = np.flatnonzero(whole.tokens.lengths > 1)
    even = np.linspace(0, len(rows) - 1, min(SESSIONS, len(rows))).astype(int)
    asked = ArmLists(k=traffic.list_length, test=whole.take(rows[even]), candidate=(), incumbent=())
    candidate = model_of_arm(plan.candidate, study, paths, traffic)
    incumbent = model_of_arm(plan.incumbent, study, paths, traffic, [candidate])
    return replace(
        asked,
        candidate=tuple(_lists(plan.candidate, candidate, traffic, asked)),
        incumbent=tuple(_lists(plan.incumbent, incumbent, traffic, asked)),
        unknown_items=candidate.rules.unknown_items,
    )


def _lists(arm: Arm, model: ServedModel, traffic: TrafficPlan, of: ArmLists) -> Iterator[List]:
    """The list of each session; popular items where the model knows no item of it, as served."""
    names = model.recommender.items
    sessions = list(_known(model, of.sessions))
    is_known_S = np.array([len(one) > 0 for one in sessions])
    ranked = rank_sessions(
        model,
        [one for one in sessions if len(one)],
        of.test.times[of.test.tokens.offsets[1:] - 1][is_known_S],
        preference=arm.preference,
        level=level_of(traffic.second_axis, arm.preference_id),
        k=of.k,
    )
    for session in sessions:
        items = (
            next(ranked).items.tolist()
            if len(session)
            else popularity_fallback(model, session, of.k)
        )
        yield tuple(names[item] for item in items)


def _known(model: ServedModel, sessions: list[List]) -> Iterator[NDArray[np.int64]]:
    index = model.recommender.index
    for one in sessions:
        yield np.array([index[item] for item in one if item in index], dtype=np.int64)
