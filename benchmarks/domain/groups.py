"""The groups of the default study: lifts that an experiment has realised, estimated without it.

A row is an item at a position of a shown list. The reward is its click, examination the harvested curve.

Shape suffixes: N requests, K positions, T targets, F features, R rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
import torch
from scipy.special import expit

from domain.recovery_table import header, numbers_of, rows
from models.scoring.recommend import next_scores
from pipeline.artifacts.storage import DATABASE, StudyPaths
from pipeline.counterfactual.domain_adaptation import fit_logistic, learn_weights, loss_weights
from pipeline.counterfactual.estimators import estimate
from pipeline.counterfactual.experiment.examination import (
    ExaminationCurve,
    ShownLists,
    harvest_examination,
)
from pipeline.counterfactual.experiment.mixture import ModelledLists, leave_group_out, weigh_mixture
from pipeline.counterfactual.experiment.paired_lists import PairedLists, pair_lists
from pipeline.counterfactual.logged_lists import user_numbers
from pipeline.counterfactual.user_sums import Estimate, UserSums
from pipeline.counterfactual.weighted_log import Ints
from pipeline.experiment.design.traffic_plan import TrafficPlan, read_plan
from pipeline.experiment.log.reading.log_folder import study_log
from pipeline.experiment.log.reading.shown_lists import read_shown_lists
from pipeline.recommender.recommender import Recommender
from pipeline.results.counterfactual import Estimator, PolicyLift
from pipeline.results.family import Floats
from pipeline.sessions.catalogue import read_catalogue
from pipeline.study import PARAMS_FILE, load_study

ROOT = Path(__file__).parents[2]
WITHOUT_CLICK = 4
"""One in so many rows without a click is kept for the fit, with this weight."""
ENDPOINTS = ((1.0, 0.0), (0.0, 1.0))
_BATCH = 512


@dataclass(frozen=True)
class Requests:
    """Logged requests with the lists of all groups and what a reward model may know.

    Attributes:
        pairs: The lists.
        curve: Examination of positions.
        score_GNKC: Log probability of every listed item under the click and the order endpoint of the front:
            they do not depend on the group.
        popularity_I: Log clicks of every item in train.
    """

    pairs: PairedLists
    curve: ExaminationCurve
    score_GNKC: Floats
    popularity_I: Floats

    @cached_property
    def length_N(self) -> Floats:
        """Log of the clicks before each request."""
        return np.log1p([len(one) for one in self.pairs.session_N])

    def features(self, group: int, rows_N: Ints) -> Floats:
        """Of the items that a group lists for some requests; requests × positions × features."""
        click_NK, order_NK = np.moveaxis(self.score_GNKC[group, rows_N], 2, 0)
        popularity_NK = self.popularity_I[self.pairs.log.lists_GNK[group, rows_N]]
        length_NK = np.broadcast_to(self.length_N[rows_N, None], click_NK.shape)
        main = [click_NK, order_NK, popularity_NK, length_NK]
        products = [one * other for n, one in enumerate(main) for other in main[n:]]
        return np.stack([np.ones_like(click_NK), *main, *products], axis=2)

    def shown_features(self, rows_N: Ints) -> Floats:
        """As :meth:`features`, of what each request's own group was shown."""
        group_N = self.pairs.log.group_N[rows_N]
        parts = {
            group: self.features(group, rows_N[group_N == group]) for group in np.unique(group_N)
        }
        found = np.empty((len(rows_N), *next(iter(parts.values())).shape[1:]))
        for group, part in parts.items():
            found[group_N == group] = part
        return found


def load(users: int) -> tuple[Requests, pl.DataFrame, TrafficPlan]:
    """The requests of some users, the lists of all, and the plan."""
    study = load_study(ROOT / PARAMS_FILE)
    paths = StudyPaths.of(study, ROOT)
    plan, recommender = read_plan(paths), Recommender.load(paths)
    shown = read_shown_lists(study_log(study.experiment, paths).files, paths.folder / DATABASE)
    some = shown["user"].unique().sort().sample(users, seed=0)
    pairs = pair_lists(shown.filter(pl.col("user").is_in(some.implode())), plan, recommender)
    curve = harvest_examination(pairs.log, pairs.click_NK, np.random.default_rng(0))
    requests = Requests(
        pairs=pairs,
        curve=curve,
        score_GNKC=_endpoint_scores(pairs, recommender),
        popularity_I=np.log1p(read_catalogue(paths)["train_clicks"].to_numpy()),
    )
    return requests, shown, plan


def _endpoint_scores(pairs: PairedLists, recommender: Recommender) -> Floats:
    lists_GNK = pairs.log.lists_GNK
    found = np.empty((*lists_GNK.shape, len(ENDPOINTS)))
    for first in range(0, lists_GNK.shape[1], _BATCH):
        some = slice(first, first + _BATCH)
        sessions = pairs.session_N[some]
        for endpoint, preference in enumerate(ENDPOINTS):
            preferences = torch.tensor(preference).expand(len(sessions), -1)
            scores = next_scores(recommender.model, sessions, preferences)
            chance_BI = torch.log_softmax(scores, dim=1).numpy()
            for group, lists_NK in enumerate(lists_GNK):
                found[group, some, :, endpoint] = np.take_along_axis(chance_BI, lists_NK[some], 1)
    mean, spread = found.mean(axis=(0, 1, 2)), found.std(axis=(0, 1, 2))
    return (found - mean) / spread


def realised_rates(shown: pl.DataFrame, plan: TrafficPlan) -> list[Estimate]:
    """The CTR of every group, of all users."""
    return [realised_rate(shown.filter(pl.col("group") == one.name)) for one in plan.groups]


def realised_rate(shown: pl.DataFrame) -> Estimate:
    """The CTR of requests, clustered by user."""
    clicked_N = shown["clicked"].cast(pl.Float64).to_numpy()
    return Estimate.of(UserSums.of(user_numbers(shown), additive_N=clicked_N))


def realised_lift(name: str, estimated: float, target: Estimate, source: Estimate) -> PolicyLift:
    """With the interval of a ratio of independent means."""
    ratio = target.value / source.value
    relative = np.hypot(target.standard_error / target.value, source.standard_error / source.value)
    half = 1.96 * ratio * float(relative)
    realised = ratio - 1
    return PolicyLift(
        policy=name, estimated=estimated, realised=realised,
        interval=(realised - half, realised + half),
    )  # fmt: skip


def lifts(
    requests: Requests, log: ShownLists, rows_N: Ints, targets: Sequence[int], *, learnt: bool
) -> dict[str, list[float]]:
    """The lifts of groups over what was shown in some requests, by every estimator.

    Args:
        requests: All requests.
        log: Those of ``rows_N``, whose groups and shares are the logging policy.
        rows_N: Rows of the requests.
        targets: The groups.
        learnt: Whether the domain classifiers are fitted, too.
    """
    click_NK = requests.pairs.click_NK[rows_N].astype(np.float64)
    lists_NK = [log.lists_GNK[target] for target in targets]
    weighted = [weigh_mixture(log, one, click_NK, requests.curve) for one in lists_NK]
    shown_NKF = requests.shown_features(rows_N)
    target_NKF = [requests.features(target, rows_N) for target in targets]
    weight_RT = np.stack([one.weight_NK.ravel() for one in weighted], axis=1)
    fits = {
        "DM": np.ones(click_NK.size),
        "DA, λ = 0": loss_weights(weight_RT, pair_weight=0.0),
        "DA, λ = 1": loss_weights(weight_RT),
    }
    shown_RF = shown_NKF.reshape(click_NK.size, -1)
    if learnt:
        flat = [one.reshape(shown_RF.shape) for one in target_NKF]
        learnt_RT = np.stack([learn_weights(shown_RF, one) for one in flat], axis=1)
        fits["DA, λ = 1, learnt"] = loss_weights(learnt_RT)
    logged = click_NK.sum(axis=1).mean()
    found = {"PBM-IPS": [estimate(one, Estimator.IPS).value / logged - 1 for one in weighted]}
    offset_K = np.log(requests.curve.at(click_NK.shape[1]))
    for name, s_R in fits.items():
        effect_F = _fit_clicks(shown_RF, click_NK, s_R, offset_K)
        fitted_NK = expit(shown_NKF @ effect_F + offset_K)
        modelled = [expit(one @ effect_F + offset_K) for one in target_NKF]
        found[name] = [float(one.sum() / fitted_NK.sum()) - 1 for one in modelled]
        if name == "DM":
            found["PBM-DR"] = [
                estimate(
                    weigh_mixture(
                        log, items_NK, click_NK, requests.curve,
                        model=ModelledLists(shown_NK=fitted_NK, target_NK=target_NK),
                    ),
                    Estimator.DR,
                ).value / logged - 1
                for items_NK, target_NK in zip(lists_NK, modelled, strict=True)
            ]  # fmt: skip
    return found


def _fit_clicks(shown_RF: Floats, click_NK: Floats, s_R: Floats, offset_K: Floats) -> Floats:
    """Click model of examination × attraction, of clicks and a sample of the other rows."""
    clicked_R = click_NK.ravel() > 0
    kept_R = clicked_R | (np.arange(clicked_R.size) * 7 % WITHOUT_CLICK == 0)
    copies_R = np.where(clicked_R, 1.0, WITHOUT_CLICK)
    return fit_logistic(
        shown_RF[kept_R],
        click_NK.ravel()[kept_R],
        loss_weight_N=(s_R * copies_R)[kept_R],
        offset_N=np.tile(offset_K, len(click_NK))[kept_R],
    )


def group_tables(users: int) -> list[str]:
    """From one group's log the others, and from that of the others each group."""
    requests, shown, plan = load(users)
    rates = realised_rates(shown, plan)
    log, groups = requests.pairs.log, range(len(plan.groups))
    single: dict[str, list[PolicyLift]] = {}
    for source in groups:
        rows_N = np.flatnonzero(log.group_N == source)
        own = ShownLists.of(log.lists_GNK[:, rows_N], log.group_N[rows_N], log.user_N[rows_N])
        targets = [one for one in groups if one != source]
        found = lifts(requests, own, rows_N, targets, learnt=True)
        _collect(single, found, targets, rates, rates[source])
    left_out: dict[str, list[PolicyLift]] = {}
    for target in groups:
        others, rows_N = leave_group_out(log, target)
        found = lifts(requests, others, rows_N, [target], learnt=False)
        _collect(left_out, found, [target], rates, _pooled(shown, plan, target))
    text = (
        f"{len(log.group_N):,} requests of {users:,} users, {log.lists_GNK.shape[0]} groups; realised lifts of "
        f"all {shown.height:,} requests. CTR: {', '.join(f'{one.value:.4f}' for one in rates)} (standard errors "
        f"{max(one.standard_error for one in rates):.4f}). Examination exponent "
        f"{requests.curve.exponent:.2f}, harvested from all groups. Pairs whose realised lift includes 0 have no "
        "Recovery."
    )
    return [
        "## The groups of the default study",
        "",
        text,
        "",
        *header("log", "estimator"),
        *_rows(f"one group, {_counted(single)}", single),
        *_rows(f"all but the group, {_counted(left_out)}", left_out),
    ]


def _collect(
    into: dict[str, list[PolicyLift]], found: dict[str, list[float]], targets: Sequence[int],
    rates: Sequence[Estimate], source: Estimate,
) -> None:  # fmt: skip
    for name, estimated in found.items():
        into.setdefault(name, []).extend(
            realised_lift(f"g{target + 1}", lift, rates[target], source)
            for target, lift in zip(targets, estimated, strict=True)
        )


def _pooled(shown: pl.DataFrame, plan: TrafficPlan, left_out: int) -> Estimate:
    """The CTR of all groups but one."""
    others = shown.filter(pl.col("group") != plan.groups[left_out].name)
    return realised_rate(others)


def _counted(found: dict[str, list[PolicyLift]]) -> str:
    lifts_of = next(iter(found.values()))
    return f"{sum(one.is_realised for one in lifts_of)} of {len(lifts_of)} lifts"


def _rows(first: str, found: dict[str, list[PolicyLift]]) -> list[str]:
    return rows(first, {name: numbers_of(one) for name, one in found.items()})
