"""Studies as past tests: their groups are the variants."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from pipeline.core.errors import DataError
from pipeline.inference.meta.pool_studies import measured_groups
from pipeline.inference.meta.surrogate_slope import MeasuredGroups
from pipeline.inference.past_tests.effects import EFFECTS
from pipeline.inference.past_tests.read_tests import PastTestTable
from pipeline.results.document import Report
from pipeline.results.family import Family, Floats
from pipeline.results.hypothesis import HypothesisResult
from pipeline.results.past_tests import EffectScale
from pipeline.results.reader import read_reports
from pipeline.results.reasons import Verdict


def studies_as_tests(paths: Sequence[Path]) -> PastTestTable:
    """The metrics and KPIs that the hypotheses of several reports declare, as logarithms of ratios.

    The first group of a study is its control. Blocked hypotheses are left out, and those whose groups have
    no logarithms.

    Raises:
        DataError: as :func:`pipeline.results.reader.read_reports`, or if no hypothesis can be used.
    """
    reports = read_reports(paths)
    rows = [row for path, report in reports.items() for row in _of_study(path, report)]
    if not rows:
        msg = "no report has a hypothesis that is not blocked and whose metrics and rates are positive"
        raise DataError(msg)
    effects = pl.DataFrame(rows, schema={**EFFECTS, "is_kpi": pl.Boolean}, orient="row")

    def names(*, kpi: bool) -> tuple[str, ...]:
        return tuple(effects.filter(is_kpi=kpi)["name"].unique(maintain_order=True).to_list())

    return PastTestTable(
        source=f"{len(reports)} studies",
        effects=effects.drop("is_kpi"),
        kpis=names(kpi=True),
        metrics=names(kpi=False),
        scale=EffectScale.LOG_RATIO,
        left_out=(),
        notes=(),
    )


_Row = tuple[str, str, str, float, float, float, bool, bool]


def _of_study(path: str, report: Report) -> Iterator[_Row]:
    """Every metric and KPI once, in the order of the hypotheses."""
    seen: set[str] = set()
    for one in report.hypotheses:
        groups = None if one.verdict is Verdict.BLOCKED else measured_groups(one)
        if not isinstance(groups, MeasuredGroups):
            continue
        g, names = len(groups.proxy), [point.group for point in one.points]
        sides = (
            (one.metric, groups.proxy, groups.noise[:g, :g], groups.noise_known, False),
            (one.kpi.value, *_log_rates(one, groups), True, True),
        )
        for name, values, noise_GG, noise_known, is_kpi in sides:
            rows = [] if name in seen else _contrasts(values, noise_GG, names)
            seen.add(name)
            for variant, difference, own, shared in rows:
                yield (path, variant, name, difference, own, shared, noise_known, is_kpi)


def _log_rates(one: HypothesisResult, groups: MeasuredGroups) -> tuple[Floats, Floats]:
    """Logarithms of the rates, and the covariance of their errors."""
    g = len(groups.proxy)
    variance_G = groups.noise[g:, g:].diagonal()
    if one.link is not Family.BINOMIAL:
        return groups.kpi, np.diag(variance_G)
    rate_G = one.link.mean(groups.kpi)
    return np.log(rate_G), np.diag(variance_G * (1 - rate_G) ** 2)


def _contrasts(
    values_G: Floats, noise_GG: Floats, names: Sequence[str]
) -> Iterator[tuple[str, float, float, float]]:
    """Of each group with the first: name, difference, own variance, and the error that all share."""
    difference = np.column_stack([-np.ones(len(values_G) - 1), np.eye(len(values_G) - 1)])
    noise_CC = difference @ noise_GG @ difference.T
    c = len(noise_CC)
    between = noise_CC[~np.eye(c, dtype=bool)].mean() if c > 1 else 0.0
    shared = float(np.sqrt(np.clip(between, 0.0, noise_CC.diagonal().min())))
    for number, name in enumerate(names[1:]):
        own = float(noise_CC[number, number]) - shared**2
        yield name, float(values_G[number + 1] - values_G[0]), own, shared
