"""Partial slopes: a KPI on all metrics that are declared for it, in one regression.

The family and the link are those of the hypothesis, and the test is that of its headline with the other
metrics held fixed (:mod:`pipeline.inference.headline.slope_test`). A slope is refused where there are too
few groups for the metrics, or where they hardly separate it from the others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.core.contracts import Kpi
from pipeline.experiment.design.optimal_design.joint_information import (
    LARGEST_INFLATION,
    collinear_with,
    fewest_groups,
    information_matrix,
    variance_inflation,
)
from pipeline.inference.glm.group_regression import GroupSums
from pipeline.inference.headline.readings import Groups, read_headline
from pipeline.inference.headline.slope_test import OtherMetrics
from pipeline.inference.headline.working_response import user_variance
from pipeline.inference.hypotheses.inputs import (
    RegressionInputs,
    daily_kpi,
    group_cells,
    group_sums,
    metric_covariance,
    metric_replicates,
    metric_values,
)
from pipeline.inference.hypotheses.metric_change import MetricChange, metric_change
from pipeline.inference.hypotheses.verdict import elasticity, verdict
from pipeline.inference.ranking.metric_comparison import varies
from pipeline.results.family import Floats
from pipeline.results.hypothesis import HypothesisResult, PartialSlope
from pipeline.results.reasons import UndefinedReason
from pipeline.study import Hypothesis, RegressionConfig


def with_partial_slopes(
    results: Sequence[HypothesisResult], evidence: RegressionInputs, section: RegressionConfig
) -> list[HypothesisResult]:
    """The results of the section's hypotheses, each with its partial slope.

    Metrics are held fixed that are declared for the same fitted KPI and vary over the groups; of
    those that the groups do not tell apart, the first. A hypothesis on the only metric of its KPI has
    no partial slope.
    """
    metrics: dict[Kpi, list[str]] = {}
    for one in results:
        known = metrics.setdefault(one.response, [])
        if one.slope is not None and one.metric not in known:
            known.append(one.metric)
    regressions = {
        kpi: _regression(kpi, names, evidence, section)
        for kpi, names in metrics.items()
        if len(names) > 1
    }
    return [
        replace(one, partial=regressions[one.response].slope_of(one, hypothesis))
        if one.response in regressions
        else one
        for one, hypothesis in zip(results, section.hypotheses, strict=True)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Regression:
    """One KPI, and every metric that is declared for it.

    Attributes:
        evidence: The tables.
        section: The study's settings.
        changes: The metrics, by name.
        replicates: Of the metrics that have bootstrap replicates, by name.
        groups: The KPI; its x is not used.
    """

    evidence: RegressionInputs
    section: RegressionConfig
    changes: Mapping[str, MetricChange]
    replicates: Mapping[str, Floats]
    groups: Groups

    def slope_of(self, result: HypothesisResult, hypothesis: Hypothesis) -> PartialSlope | None:
        """The partial slope of one hypothesis, or why it is refused."""
        if result.metric not in self.changes or len(self.changes) < 2:
            return None
        order = [result.metric, *(one for one in self.changes if one != result.metric)]
        x_GK = np.stack([self.changes[one].x_G for one in order], axis=-1)
        information_KK = information_matrix(x_GK, _weights(self.groups.sums))
        inflation = _inflation(information_KK, range(len(order)))
        kept = _separable(information_KK)
        bare = PartialSlope(
            held_fixed=tuple(order[k] for k in kept),
            variance_inflation=inflation if np.isfinite(inflation) else None,
        )
        if len(x_GK) < fewest_groups(1 + len(kept)):
            return replace(bare, undefined_reason=UndefinedReason.FEW_GROUPS_FOR_METRICS)
        if inflation > LARGEST_INFLATION:
            return replace(
                bare,
                collinear_with=tuple(order[k] for k in collinear_with(information_KK, 0)),
                undefined_reason=UndefinedReason.COLLINEAR_METRICS,
            )
        bare = replace(bare, variance_inflation=_inflation(information_KK, (0, *kept)))
        if result.response in self.evidence.users_unknown and not result.response.is_binary:
            return replace(bare, undefined_reason=UndefinedReason.USER_SUMS_UNKNOWN)
        return self._tested(bare, result, hypothesis)

    def _tested(
        self, bare: PartialSlope, result: HypothesisResult, hypothesis: Hypothesis
    ) -> PartialSlope:
        own = self.changes[result.metric]
        groups = replace(
            self.groups,
            x=own.x_G,
            covariance_GG=own.covariance_GG,
            others=OtherMetrics(
                x_MG=np.stack([self.changes[one].x_G for one in bare.held_fixed]),
                covariance_KKGG=self._errors([result.metric, *bare.held_fixed]),
            ),
        )
        level = self.section.level
        quoted = read_headline(groups, level=level).headline
        return replace(
            bare,
            verdict=verdict(hypothesis, quoted, level=level, healthy=self.evidence.healthy),
            headline=quoted,
            elasticity=elasticity(result, quoted, held_fixed=len(bare.held_fixed)),
            undefined_reason=quoted.undefined_reason,
        )

    def _errors(self, order: Sequence[str]) -> Floats | None:
        """Covariance of the errors of all metrics; None without.

        Metrics with as many replicates were measured on the same test sets, so that their errors
        correlate; the errors of others are taken as independent.
        """
        groups = len(self.groups.sums.trials)
        errors_KKGG = np.zeros((len(order), len(order), groups, groups))
        for k, name in enumerate(order):
            own_GG = self.changes[name].covariance_GG
            if own_GG is not None:
                errors_KKGG[k, k] = own_GG
            for m, other in enumerate(order[:k]):
                cross_GG = self._common_errors(name, other)
                errors_KKGG[k, m], errors_KKGG[m, k] = cross_GG, cross_GG.T
        return errors_KKGG if errors_KKGG.any() else None

    def _common_errors(self, one: str, other: str) -> Floats:
        drawn = [self.replicates[name] for name in (one, other) if name in self.replicates]
        if len(drawn) < 2 or len(drawn[0]) != len(drawn[1]):
            return np.zeros((len(self.groups.sums.trials),) * 2)
        off_RG, other_RG = (one_RG - one_RG.mean(axis=0) for one_RG in drawn)
        return off_RG.T @ other_RG / (len(off_RG) - 1)


def _regression(
    kpi: Kpi,
    metrics: Sequence[str],
    evidence: RegressionInputs,
    section: RegressionConfig,
) -> _Regression:
    changes: dict[str, MetricChange] = {}
    replicates: dict[str, Floats] = {}
    cells = group_cells(evidence, metrics[0], kpi)
    for metric in metrics:
        own = group_cells(evidence, metric, kpi)
        values, names = metric_values(own), own["group"].to_list()
        change = metric_change(values, metric_covariance(evidence, metric, own), section, names)
        if change.jacobian_GG is None or not varies(values):
            continue
        changes[metric] = change
        if (drawn_RG := metric_replicates(evidence, metric, own)) is not None:
            replicates[metric] = drawn_RG @ change.jacobian_GG.T
    unused_G = np.full(cells.height, np.nan)
    groups = Groups(
        x=unused_G,
        covariance_GG=None,
        sums=group_sums(cells, kpi),
        outcome=daily_kpi(evidence, cells, kpi),
        planned_days=evidence.planned_days,
    )
    return _Regression(
        evidence=evidence, section=section, changes=changes, replicates=replicates, groups=groups
    )


def _separable(information_KK: Floats) -> list[int]:
    """The metrics after the first, but those that the ones before them leave hardly anything of."""
    kept: list[int] = []
    for k in range(1, len(information_KK)):
        if _inflation(information_KK, (k, *kept)) <= LARGEST_INFLATION:
            kept.append(k)
    return kept


def _inflation(information_KK: Floats, places: Sequence[int]) -> float:
    """Variance inflation of the first of the metrics at these places."""
    return float(variance_inflation(information_KK[np.ix_(places, places)])[0])


def _weights(sums: GroupSums) -> Floats:
    """Information of each group on the link of its rate, if all groups have the rate of all."""
    variance_G = user_variance(np.full_like(sums.trials, sums.rate), sums)
    known = np.isfinite(variance_G).all() and (variance_G > 0).all()
    return 1 / variance_G if known else sums.trials
