"""Policies that were not served: another preference, re-ranking rules or a second model."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from models.scoring.prefixes import SessionChains
from pipeline.artifacts.storage import KEPT_MODELS, StudyPaths
from pipeline.core.errors import DataError, StudyError
from pipeline.counterfactual.experiment.paired_lists import PairedLists
from pipeline.counterfactual.experiment.paired_table import read_pairs
from pipeline.counterfactual.experiment.stored_estimates import (
    plan_of_groups,
    require_current_estimates,
)
from pipeline.counterfactual.experiment.unserved import PolicyLists, evaluate_unserved
from pipeline.counterfactual.weighted_log import Ints
from pipeline.experiment.design.plan_checks import paths_of_plan
from pipeline.experiment.design.traffic_plan import TrafficPlan
from pipeline.recommender.recommender import Recommender
from pipeline.results.counterfactual_estimates import UnservedPolicies
from pipeline.serving.ranking.rank import rank_sessions
from pipeline.serving.ranking.served_model import ServedModel, load_model
from pipeline.sessions.catalogue import item_ids, read_catalogue
from pipeline.study import RuleSet, Study


@dataclass(frozen=True, slots=True, kw_only=True)
class UnservedQuestion:
    """What is asked of the experiment's log.

    Attributes:
        preference: Weights of the objectives; None for those of every group.
        rules: That would apply to the lists; None for those of the study.
        model: The folder of a study, or of a model that it keeps, with the second model; None for the model
            that served.
    """

    preference: tuple[float, ...] | None = None
    rules: RuleSet | None = None
    model: Path | None = None


def evaluate_policies_of(
    study: Study, paths: StudyPaths, question: UnservedQuestion
) -> UnservedPolicies:
    """Estimate what policies would have earned on the requests of the experiment.

    Raises:
        MissingArtifact: if the paired lists, the estimates or a model is missing.
        DataError: if the estimates are of an older log, the second model knows no request, or filters leave
            no item for any.
        StudyError: if the preference or the rules are not valid.
    """
    plan, checked = plan_of_groups(paths), require_current_estimates(paths)
    pairs = read_pairs(paths).pairs
    server = _Server.of(study, paths, plan, question)
    requests = server.requests(pairs)
    found = [
        evaluate_unserved(pairs, server.lists(requests, one), checked, seed=study.study.seed)
        for one in _policies(question, plan)
    ]
    return UnservedPolicies(level=checked.level, users=checked.pairing.users, policies=tuple(found))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Policy:
    """A cell of the second axis, or a preference at its neutral level."""

    name: str
    preference: tuple[float, ...]
    level: float | None = None


def _policies(question: UnservedQuestion, plan: TrafficPlan) -> list[_Policy]:
    extras = [f"rules {question.rules}"] if question.rules else []
    extras += [str(question.model)] if question.model else []
    tail = f" with {' and '.join(extras)}" if extras else ""
    if question.preference is None:
        return [
            _Policy(name=f"{one.name}{tail}", preference=one.preference, level=one.level)
            for one in plan.groups
        ]
    example = plan.groups[0].preference
    weights = np.array(question.preference)
    if len(weights) != len(example) or not (weights >= 0).all() or not 0 < weights.sum() < np.inf:
        msg = (
            f"the preference {','.join(f'{one:g}' for one in weights)} is not valid; expected {len(example)} weights "
            f"of 0 or more, such as {','.join(f'{one:g}' for one in example)}"
        )
        raise StudyError(msg)
    preference = tuple((weights / weights.sum()).tolist())
    words = ", ".join(f"{one:g}" for one in preference)
    return [_Policy(name=f"preference {words}{tail}", preference=preference)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Requests:
    """The requests that a model can answer, whose ``sessions`` have the items that it knows."""

    rows: Ints
    sessions: list[Ints]
    ts_N: Ints
    chains: SessionChains


@dataclass(frozen=True, slots=True, kw_only=True)
class _Server:
    """The model that answers, in place of the one that served.

    Attributes:
        recommender: The model that answers.
        ruled: It with its rules; None if no rule or filter applies.
        served: The ids of the items of the model that served.
        k: Length of the lists.
    """

    recommender: Recommender
    ruled: ServedModel | None
    served: list[str]
    k: int

    @classmethod
    def of(
        cls, study: Study, paths: StudyPaths, plan: TrafficPlan, question: UnservedQuestion
    ) -> "_Server":
        served = paths_of_plan(plan, paths)
        source = served if question.model is None else _study_folder(question.model)
        rule_set = question.rules or study.serving.rule_set
        if rule_set.is_empty:
            ruled = None
            recommender = Recommender.load(source).with_axis(plan.second_axis, study, source)
        else:
            ruled = load_model(study, source, plan, rule_set=rule_set, root=paths.root)
            recommender = ruled.recommender
        return cls(
            recommender=recommender,
            ruled=ruled,
            served=item_ids(read_catalogue(served)),
            k=plan.list_length,
        )

    def requests(self, pairs: PairedLists) -> _Requests:
        """The requests with an item that the model knows."""
        index = self.recommender.index
        known_I = np.array([index.get(item, -1) for item in self.served])
        known = [of_model[of_model >= 0] for of_model in (known_I[one] for one in pairs.session_N)]
        rows = np.flatnonzero([len(one) > 0 for one in known])
        if not len(rows):
            msg = "the second model knows no item of any request; expected a model of the same shop"
            raise DataError(msg)
        sessions = [known[row] for row in rows]
        return _Requests(
            rows=rows,
            sessions=sessions,
            ts_N=pairs.ts_N[rows],
            chains=self.recommender.chains(sessions),
        )

    def lists(self, requests: _Requests, policy: _Policy) -> PolicyLists:
        """The policy's lists, in the items of the model that served."""
        lists_NK = (
            self.recommender.policy_lists(
                requests.chains, policy.preference, k=self.k, level=policy.level
            )
            if self.ruled is None
            else self._ranked(self.ruled, requests, policy)
        )
        kept_N = (lists_NK >= 0).any(axis=1)
        if not kept_N.any():
            msg = f"{policy.name}: no request has an item that passes the filters; expected filters that leave some"
            raise DataError(msg)
        number = {item: row for row, item in enumerate(self.served)}
        # items that the model that served does not know have numbers beyond its catalogue
        own_I = np.array(
            [number.get(item, len(number) + row) for row, item in enumerate(self.recommender.items)]
        )
        return PolicyLists(
            name=policy.name,
            preference=policy.preference,
            rows=requests.rows[kept_N],
            lists_NK=np.where(lists_NK >= 0, own_I[lists_NK], -1)[kept_N],
        )

    def _ranked(self, ruled: ServedModel, requests: _Requests, policy: _Policy) -> Ints:
        """Lists under rules, as the endpoint ranks them."""
        lists_NK = np.full((len(requests.sessions), self.k), -1, dtype=np.int64)
        found = rank_sessions(
            ruled,
            requests.sessions,
            requests.ts_N,
            preference=policy.preference,
            level=policy.level,
            k=self.k,
        )
        for row, one in enumerate(found):
            lists_NK[row, : len(one.items)] = one.items
        return lists_NK


def _study_folder(folder: Path) -> StudyPaths:
    """The paths of the study whose artifacts are in a folder such as ``data/studies/next``, or of a kept model."""
    found = folder.resolve()
    if not (found / "conditioned_model").is_dir():
        msg = f"{folder} has no conditioned_model; expected the folder of a study, such as data/studies/next"
        raise DataError(msg)
    if found.parent.name == KEPT_MODELS:
        study = _study_folder(found.parents[1])
        return replace(study, model=found.name)
    return StudyPaths(root=found.parents[2], name=found.name)
