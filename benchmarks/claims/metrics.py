"""Which metric a KPI follows, and whether it can be distinguished from another."""

import numpy as np

from claims.result import GROUPS, RELIABILITIES, Claim, Row, share_row
from pipeline.inference.ranking.metric_comparison import (
    MetricComparison,
    correlations,
    metric_probabilities,
)
from pipeline.results.family import Floats

_AT_ONCE = 16
"""Worlds; more take gigabytes."""


def best_metric(worlds: int) -> list[Claim]:
    """The stated probability that the KPI follows a metric, against how often it does."""
    rng, stated, true = np.random.default_rng(6), [], []
    each = max(8, worlds // 12)
    for groups in GROUPS:
        for reliability in RELIABILITIES:
            for tau in (0.0, 1.2, 2.2, 3.7):
                for metrics, correlation in ((2, 0.6), (2, 0.9), (4, 0.6)):
                    found = _ranked(rng, each, (groups, metrics), (correlation, reliability), tau)
                    stated.append(found[0].ravel())
                    true.append(found[1].ravel())
    p, hit = np.concatenate(stated), np.concatenate(true)
    rows = []
    for n in range(5):
        inside = (p >= n / 5) & ((p < (n + 1) / 5) | (n == 4))
        difference = p[inside] - hit[inside]
        error = difference.std() / max(len(difference), 1) ** 0.5 if inside.any() else np.inf
        value = float(difference.mean()) if inside.any() else np.nan
        setting = f"stated {n / 5:.0%} to {(n + 1) / 5:.0%} ({inside.sum()} of {len(p)})"
        rows.append(Row(setting=setting, value=value, error=float(error), low=-0.05, high=0.05))
    limit = (
        "Pooled over 5 and 10 groups, 2 and 4 metrics, reliability 0.7 to 1 and τ from 0 to 3.7 standard "
        "errors of a group. At single settings the fourth and top fifth are off by up to 0.08, and at "
        "reliability 0.7 with metrics that correlate at 0.9 the top fifth by 0.23 (1% of the cases): "
        "14% of the metrics' difference is signal there, which 5 to 10 groups do not reveal."
    )
    title = "Stated probability of being the metric that the KPI follows, less the share that is"
    return [Claim(title=title, rows=tuple(rows), limit=limit)]


def _ranked(
    rng: np.random.Generator,
    worlds: int,
    shape: tuple[int, int],
    quality: tuple[float, float],
    tau: float,
) -> tuple[Floats, Floats]:
    (groups, metrics), (correlation, reliability) = shape, quality
    common = rng.standard_normal((worlds, groups, 1))
    own = rng.standard_normal((worlds, groups, metrics))
    true_RGK = correlation**0.5 * common + (1 - correlation) ** 0.5 * own
    followed = rng.integers(0, metrics, worlds)
    kpi_RG = 2.6 * true_RGK[np.arange(worlds), :, followed]
    kpi_RG = kpi_RG + (1 + tau**2) ** 0.5 * rng.standard_normal((worlds, groups))
    noise = (1 - reliability) / reliability
    measured_RGK = true_RGK + noise**0.5 * rng.standard_normal(true_RGK.shape)
    variance_RG, noise_KK = np.ones((worlds, groups)), noise * np.eye(metrics)
    parts = [slice(n, n + _AT_ONCE) for n in range(0, worlds, _AT_ONCE)]
    chunks = [
        metric_probabilities(measured_RGK[part], noise_KK, kpi_RG[part], variance_RG[part])
        for part in parts
    ]
    return np.concatenate(chunks), np.eye(metrics)[followed]


def one_front(worlds: int) -> list[Claim]:
    """Two metrics on one front, of which one does nothing: no metric alone is recommended."""
    rng, rows = np.random.default_rng(10), []
    front = np.linspace(0, 1, 5)
    for title, other, high in (
        ("the other is a power of it (r = 0.99)", front**1.3, 0.05),
        ("a second axis of groups (r = 0.6)", None, np.inf),
    ):
        true = front if other is not None else np.repeat(front, 2)
        second = other if other is not None else np.tile([0.0, 0.7], 5) + 0.6 * true
        for slope in (2.6, 8.0):
            kpi_RG = slope * true / true.std() + rng.standard_normal((worlds, len(true)))
            found = [_alone(true, second, one) for one in kpi_RG]
            right, wrong = np.array(found).T
            rows.append(share_row(f"{title}, slope {slope:g}: true metric alone", right, high=high))
            rows.append(share_row(f"{title}, slope {slope:g}: the other alone", wrong, high=0.05))
    title = "A metric that does nothing but moves with another: one of the two is recommended alone"
    return [Claim(title=title, rows=tuple(rows))]


def _alone(true_G: Floats, other_G: Floats, kpi_G: Floats) -> tuple[bool, bool]:
    """Whether each of the two metrics has no rival."""
    metrics_GK = np.stack([true_G / true_G.std(), other_G / other_G.std()], axis=-1)
    comparison = MetricComparison(
        metrics=("true", "other"),
        correlation_KK=correlations(metrics_GK),
        probability_K=metric_probabilities(
            metrics_GK, np.zeros((2, 2)), kpi_G, np.ones_like(kpi_G)
        ),
    )
    right, wrong = (not comparison.rivals(name) for name in ("true", "other"))
    return right, wrong
