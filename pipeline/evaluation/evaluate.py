"""Offline metrics of any recommender, from a frame of its ranks or of its lists.

Metrics and standard errors are those of a study's ``offline_metrics``.
"""

from collections.abc import Collection, Mapping, Sequence
from functools import partial

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.core.contracts import OFFLINE_METRICS, Metric
from pipeline.core.errors import DataError
from pipeline.core.frame_contract import Contract
from pipeline.evaluation.frame_checks import (
    check_same_ids,
    check_unique,
    dense_codes,
    typed_columns,
)
from pipeline.evaluation.list_metrics import (
    COUNT_METRICS,
    LIST_METRICS,
    REQUIRED_ATTRIBUTE,
    Catalogue,
    Lists,
    RecommendationLists,
)
from pipeline.evaluation.metric_estimates import (
    MetricEstimate,
    estimate_from_counts,
    estimate_ratios,
    sum_by_session,
)
from pipeline.evaluation.metric_registry import at_cutoff, check_cutoff, checked, load_metric
from pipeline.evaluation.ranking_metrics import (
    REQUIRED_COLUMN,
    TARGET_METRICS,
    TargetMetric,
    Targets,
)
from pipeline.study.evaluation import MetricInfo

METRIC_VALUES = Contract(
    name="metric_values",
    row="one metric of the targets or lists of a frame",
    columns={
        name: dtype
        for name, dtype in OFFLINE_METRICS.columns.items()
        if name not in {"preference_id", "preference", "segment"}
    },
)
"""``value`` is null where its denominator is 0; ``cutoff`` is null for the losses; ``n_targets`` counts
the rows of the frame."""

_TARGET_TYPES: Mapping[str, pl.DataType] = {
    "rank": pl.Int64(),
    "ordered": pl.Boolean(),
    "history": pl.Int64(),
    "train_clicks": pl.Int64(),
    "click_loss": pl.Float64(),
    "order_loss": pl.Float64(),
    "uniformity": pl.Float64(),
}

_COLUMNS: Mapping[Metric, str] = {
    metric: {"cold": "train_clicks"}.get(column, column)
    for metric in TARGET_METRICS
    for column in [REQUIRED_COLUMN.get(metric, "rank")]
}
"""The column of the frame that a metric reads."""


def evaluate_ranks(
    frame: pl.DataFrame,
    metrics: Sequence[str | TargetMetric] | None = None,
    *,
    k: int = 20,
    cold_item_clicks: int = 10,
) -> pl.DataFrame:
    """Metrics of targets, from the rank of every target.

    Standard errors are cluster-robust by session (delta method for ratios).

    Args:
        frame: One row per target: ``session``; ``rank`` in the whole catalogue, 1 is best; and what
            the metrics need of ``ordered`` (boolean), ``history`` (clicks before it), ``item``, its
            ``train_clicks``, ``uniformity`` and losses. Custom metrics find all in ``targets.columns``.
        metrics: Names of built-in metrics, with a cutoff of their own as in ``recall@5``; names of
            installed metrics; import paths ``package.module:function``; or functions. None for
            every built-in metric that the columns allow.
        k: The cutoff of metrics without one of their own.
        cold_item_clicks: An item with at most this many train clicks is cold.

    Returns:
        One row per metric, in the order of ``metrics``; see :data:`METRIC_VALUES`. The direction of
        a custom metric is its attribute ``higher_is_better``, true if it has none.

    Raises:
        DataError: if a column is missing, null or of another type, or a metric is unknown.
        ModelError: if an extension cannot be loaded.

    Examples:
        >>> import polars as pl
        >>> frame = pl.DataFrame(
        ...     {
        ...         "session": ["a", "a", "b", "c"],
        ...         "rank": [1, 30, 2, 4],
        ...         "ordered": [True, False, False, False],
        ...     }
        ... )
        >>> table = evaluate_ranks(frame, ["recall", "order_density@2"], k=20)
        >>> table.select("metric", "cutoff", "value", "n_targets", "n_sessions").rows()
        [('recall', 20, 0.75, 4, 3), ('order_density@2', 2, 0.5, 4, 3)]
        >>> evaluate_ranks(frame)["metric"].to_list()
        ['recall', 'order_density', 'recall_order_density', 'order_recall', 'mrr', 'ndcg']
    """
    check_cutoff(k)
    targets = _targets(frame, k, cold_item_clicks)
    if metrics is None:
        metrics = [metric for metric, column in _COLUMNS.items() if column in frame.columns]
    functions: dict[str, TargetMetric] = {}
    facts: dict[str, MetricInfo] = {}
    for metric in metrics:
        name = str(metric) if isinstance(metric, str) else metric.__name__
        functions[name], facts[name] = _target_metric(metric, name, frame.columns, k)
    estimates = estimate_ratios(sum_by_session([targets], functions, targets.session))
    return _table(estimates, facts, targets.session)


def evaluate_lists(
    frame: pl.DataFrame,
    catalogue: pl.DataFrame,
    metrics: Sequence[str] | None = None,
    *,
    k: int | None = None,
    fresh_days: float = 30.0,
) -> pl.DataFrame:
    """Metrics of recommendation lists: coverage, popularity, novelty, diversity and freshness.

    Standard errors are over sessions: the standard error of the mean, or for coverage and Gini a
    jackknife over groups of sessions.

    Args:
        frame: One row per session: ``session``; ``items``, its list, best first; and for freshness
            ``ts``, when it was requested, in milliseconds UTC.
        catalogue: One row per item: ``item``, and what the metrics need of ``train_clicks``,
            ``embedding`` (a list of numbers), ``category`` and ``available_since`` (milliseconds
            UTC).
        metrics: Names of built-in metrics; None for every one that the columns allow.
        k: Only the first k items of each list count; None for all, of lists of one length.
        fresh_days: An item is fresh for this many days after it became available.

    Returns:
        One row per metric, in the order of ``metrics``; see :data:`METRIC_VALUES`.

    Raises:
        DataError: if a column is missing or null, a list is too short or has an item outside the
            catalogue, or a metric is unknown.

    Examples:
        >>> import polars as pl
        >>> lists = pl.DataFrame({"session": [1, 2], "items": [["a", "b"], ["a", "c"]]})
        >>> catalogue = pl.DataFrame(
        ...     {"item": ["a", "b", "c", "d"], "category": ["x", "x", "y", "y"]}
        ... )
        >>> evaluate_lists(lists, catalogue).select("metric", "cutoff", "value").rows()
        [('catalogue_coverage', 2, 0.75), ('gini_index', 2, 0.375), ('category_diversity', 2, 0.5)]
    """
    frame = typed_columns(frame, {"ts": pl.Int64()}, required=("session", "items"))
    check_unique(frame["session"], "session {} has more than one list")
    items = _catalogue(catalogue)
    known = items.known if "ts" in frame.columns else items.known - {"available_since"}
    selected = _list_metrics(metrics, known)
    items_SK = _item_indices(frame, catalogue, k)
    ts_S = frame["ts"].to_numpy() if "ts" in frame.columns else np.zeros(frame.height, np.int64)
    lists = RecommendationLists(
        catalogue=items, items_SK=items_SK, ts_S=ts_S, fresh_days=fresh_days
    )
    session = dense_codes(frame["session"])
    ratios = {metric.value: LIST_METRICS[metric] for metric in selected if metric in LIST_METRICS}
    counts = {metric.value: COUNT_METRICS[metric] for metric in selected if metric in COUNT_METRICS}
    estimates = estimate_ratios(sum_by_session([lists], ratios, session))
    estimates |= estimate_from_counts([items_SK], items.n_items, counts)
    facts = {one.value: MetricInfo(items_SK.shape[1], one.higher_is_better) for one in selected}
    return _table(estimates, facts, session)


def _targets(frame: pl.DataFrame, k: int, cold_item_clicks: int) -> Targets:
    frame = typed_columns(frame, _TARGET_TYPES, required=("session", "rank"))
    if (lowest := frame["rank"].to_numpy().min()) < 1:
        msg = f"column 'rank' holds {lowest}; ranks are integers from 1, the best"
        raise DataError(msg)
    columns = {name: frame[name].to_numpy() for name in frame.columns}
    columns["session"] = dense_codes(frame["session"])
    item_ids = np.empty(0, np.str_)
    if "item" in columns:
        ids = frame["item"].cast(pl.String).to_numpy().astype(np.str_)
        item_ids, columns["item"] = np.unique(ids, return_inverse=True)
    if "train_clicks" in columns:
        columns["cold"] = columns["train_clicks"] <= cold_item_clicks
    return Targets(k=k, columns=columns, item_ids=item_ids)


def _target_metric(
    metric: str | TargetMetric, name: str, columns: Sequence[str], k: int
) -> tuple[TargetMetric, MetricInfo]:
    """The function and the facts of a metric that is given by its name or as a function."""
    base, _, cutoff = name.partition("@")
    if isinstance(metric, str) and base in _COLUMNS and (cutoff.isdecimal() or not cutoff):
        known, k = Metric(base), int(cutoff or k)
        check_cutoff(k)
        _check_known(known, _COLUMNS[known], columns)
        facts = MetricInfo(k if known.has_cutoff else None, known.higher_is_better)
        return at_cutoff(k, TARGET_METRICS[known]), facts
    load = load_metric if isinstance(metric, str) else partial(checked, metric)
    function = load(name, "metrics")
    return function, MetricInfo(k, getattr(function, "higher_is_better", True))


def _list_metrics(metrics: Sequence[str] | None, known: Collection[str]) -> list[Metric]:
    """The requested metrics, or all that the columns allow."""
    built_in = [*COUNT_METRICS, *LIST_METRICS]
    if metrics is None:
        return [one for one in built_in if REQUIRED_ATTRIBUTE.get(one) in {None, *known}]
    if unknown := [name for name in metrics if name not in built_in]:
        msg = f"unknown metrics of lists {unknown}; built-in: {[one.value for one in built_in]}"
        raise DataError(msg)
    for metric in map(Metric, metrics):
        if metric in REQUIRED_ATTRIBUTE:
            _check_known(metric, REQUIRED_ATTRIBUTE[metric], known)
    return [Metric(name) for name in metrics]


def _check_known(metric: Metric, column: str, known: Collection[str]) -> None:
    if column not in known:
        also = ", and 'ts' of every list" if metric is Metric.FRESHNESS else ""
        msg = (
            f"metric {metric.value!r} needs the column {column!r}{also}; known are {sorted(known)}"
        )
        raise DataError(msg)


def _catalogue(frame: pl.DataFrame) -> Catalogue:
    frame = typed_columns(frame, {"train_clicks": pl.Int64()}, required=("item",))
    check_unique(frame["item"], "the catalogue has item {} more than once")
    given = frame.columns
    return Catalogue(
        frame.height,
        train_clicks=frame["train_clicks"].to_numpy() if "train_clicks" in given else None,
        embedding=np.array(frame["embedding"].to_list()) if "embedding" in given else None,
        category=frame["category"] if "category" in given else None,
        available_since=frame["available_since"] if "available_since" in given else None,
    )


def _item_indices(frame: pl.DataFrame, catalogue: pl.DataFrame, k: int | None) -> Lists:
    """The lists as rows of the catalogue; S × k."""
    check_same_ids(frame["items"], catalogue["item"])
    lengths = frame["items"].list.len().to_numpy()
    shortest, longest = int(lengths.min()), int(lengths.max())
    check_cutoff(size := longest if k is None else k)
    if shortest < size:
        msg = (
            f"the lists have {shortest} to {longest} items, expected {size} "
            f"in each; pass k={shortest} to evaluate the first {shortest}"
        )
        raise DataError(msg)
    items = frame["items"].list.head(size).explode().cast(catalogue["item"].dtype)
    rows = catalogue.select("item", row=pl.int_range(pl.len(), dtype=pl.Int64))
    found = items.to_frame("item").join(rows, on="item", how="left", maintain_order="left")
    if len(outside := found.filter(pl.col("row").is_null())["item"]):
        msg = f"{len(outside)} recommended items are not in the catalogue, such as {outside[0]!r}"
        raise DataError(msg)
    return found["row"].to_numpy().reshape(frame.height, size)


def _table(
    estimates: Mapping[str, MetricEstimate],
    facts: Mapping[str, MetricInfo],
    session: NDArray[np.int64],
) -> pl.DataFrame:
    """One row per metric."""
    sizes = len(session), len(np.unique(session))
    rows = [
        (
            name,
            cutoff,
            estimates[name].value_G[0],
            estimates[name].standard_error_G[0],
            *sizes,
            higher_is_better,
        )
        for name, (cutoff, higher_is_better) in facts.items()
    ]
    table = pl.DataFrame(rows, schema=METRIC_VALUES.schema, orient="row")
    return METRIC_VALUES.validate(
        table.with_columns(pl.col("value", "standard_error").fill_nan(None))
    )
