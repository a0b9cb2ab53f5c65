"""Display names of offline metrics and KPIs."""

METRIC_LABELS = {
    "recall": "Recall@{k}",
    "order_density": "OD@{k}",
    "recall_order_density": "Recall@{k} · OD@{k}",
    "order_recall": "order recall@{k}",
    "mrr": "MRR@{k}",
    "ndcg": "NDCG@{k}",
    "cold_item_recall": "cold-item recall@{k}",
    "short_session_recall": "short-session recall@{k}",
    "click_loss": "click loss",
    "order_loss": "order loss",
    "score_uniformity": "score uniformity",
    "catalogue_coverage": "catalogue coverage@{k}",
    "gini_index": "Gini index@{k}",
    "popularity_percentile": "popularity percentile@{k}",
    "novelty": "novelty@{k}",
    "intra_list_diversity": "intra-list diversity@{k}",
    "category_diversity": "category diversity@{k}",
    "freshness": "freshness@{k}",
}
KPI_LABELS = {
    "ctr": "click-through rate",
    "cvr": "post-click conversion rate",
    "orders_per_impression": "orders per impression",
    "units_per_impression": "units per impression",
    "revenue_per_impression": "revenue per impression",
    "clicks_per_user": "clicks per user",
    "orders_per_user": "orders per user",
    "units_per_user": "units per user",
    "revenue_per_user": "revenue per user",
}


def metric_label(metric: str, cutoff: int | None) -> str:
    """The display name of an offline metric, such as ``Recall@20``; a custom metric keeps its name.

    Args:
        metric: Its name, with its cutoff if that is one of ``evaluation.extra_cutoffs``.
        cutoff: The cutoff of a name without one; None to leave it out.
    """
    name, _, extra = metric.partition("@")
    if name not in METRIC_LABELS:
        return metric
    k = extra or cutoff
    return METRIC_LABELS[name].replace("@{k}", f"@{k}" if k else "")


def counted(number: int, noun: str) -> str:
    """A number with its noun, whose plural ends in s: ``1 file``, ``1,234 files``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
