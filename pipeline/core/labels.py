"""What offline metrics and KPIs are called wherever somebody reads of them."""

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
    """An offline metric as it is written, such as ``Recall@20``; one's own by its name.

    ``cutoff`` is that of metrics whose name has none; None leaves it out.
    """
    name, _, further = metric.partition("@")
    if name not in METRIC_LABELS:
        return metric
    k = further or cutoff
    return METRIC_LABELS[name].replace("@{k}", f"@{k}" if k else "")
