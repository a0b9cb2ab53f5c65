"""Column value types and the contracts of the study's tables."""

from enum import StrEnum

import polars as pl

from pipeline.core.frame_contract import ID, Contract

HOUR_MS = 3_600_000
DAY_MS = 86_400_000

EARLIEST_TS = 946_684_800_000
"""2000-01-01 UTC in milliseconds; earlier times indicate a wrong time unit or clock."""

LATEST_TS = 4_102_444_800_000
"""2100-01-01 UTC in milliseconds."""


class EventType(StrEnum):
    """Type of a user's interaction with an item."""

    CLICK = "click"
    CART = "cart"
    ORDER = "order"


EVENT_TYPE = pl.Enum([event_type.value for event_type in EventType])
"""The polars type of an :class:`EventType`."""


class Split(StrEnum):
    """Temporal split of the sessions."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


class Metric(StrEnum):
    """An offline metric at the study's cutoff.

    Target metrics are defined in :mod:`pipeline.evaluation.ranking_metrics`, list metrics (from the
    catalogue coverage on) in :mod:`pipeline.evaluation.list_metrics`.
    """

    RECALL = "recall"
    ORDER_DENSITY = "order_density"
    RECALL_ORDER_DENSITY = "recall_order_density"
    ORDER_RECALL = "order_recall"
    MRR = "mrr"
    NDCG = "ndcg"
    COLD_ITEM_RECALL = "cold_item_recall"
    SHORT_SESSION_RECALL = "short_session_recall"
    CLICK_LOSS = "click_loss"
    ORDER_LOSS = "order_loss"
    SCORE_UNIFORMITY = "score_uniformity"
    CATALOGUE_COVERAGE = "catalogue_coverage"
    GINI_INDEX = "gini_index"
    POPULARITY_PERCENTILE = "popularity_percentile"
    NOVELTY = "novelty"
    INTRA_LIST_DIVERSITY = "intra_list_diversity"
    CATEGORY_DIVERSITY = "category_diversity"
    FRESHNESS = "freshness"

    @property
    def higher_is_better(self) -> bool:
        """The metric's direction; lower popularity and Gini mean broader use of the catalogue."""
        return self not in {
            Metric.CLICK_LOSS,
            Metric.ORDER_LOSS,
            Metric.GINI_INDEX,
            Metric.POPULARITY_PERCENTILE,
        }

    @property
    def has_cutoff(self) -> bool:
        """Whether the metric is computed at a cutoff k."""
        return self not in {Metric.CLICK_LOSS, Metric.ORDER_LOSS, Metric.SCORE_UNIFORMITY}

    @property
    def is_list_metric(self) -> bool:
        """Whether the metric is computed on recommendation lists instead of targets."""
        return self in {
            Metric.CATALOGUE_COVERAGE,
            Metric.GINI_INDEX,
            Metric.POPULARITY_PERCENTILE,
            Metric.NOVELTY,
            Metric.INTRA_LIST_DIVERSITY,
            Metric.CATEGORY_DIVERSITY,
            Metric.FRESHNESS,
        }

    @property
    def needs_attributes(self) -> bool:
        """Whether the metric needs ``dataset.item_attributes``."""
        return self in {Metric.CATEGORY_DIVERSITY, Metric.FRESHNESS}


class Segmentation(StrEnum):
    """Dimensions that test targets are segmented by; see :mod:`pipeline.evaluation.target_segments`."""

    SESSION_LENGTH = "session_length"
    ITEM_POPULARITY = "item_popularity"
    DAY = "day"
    CATEGORY = "category"


ALL_TARGETS = "all"
"""The segment that contains the whole test set."""


class Kpi(StrEnum):
    """An online key performance indicator."""

    CTR = "ctr"
    CVR = "cvr"
    ORDERS_PER_IMPRESSION = "orders_per_impression"
    UNITS_PER_IMPRESSION = "units_per_impression"
    REVENUE_PER_IMPRESSION = "revenue_per_impression"
    CLICKS_PER_USER = "clicks_per_user"
    ORDERS_PER_USER = "orders_per_user"
    UNITS_PER_USER = "units_per_user"
    REVENUE_PER_USER = "revenue_per_user"

    @property
    def is_binary(self) -> bool:
        """Whether a trial succeeds or fails; otherwise it yields a count or value of 0 or more."""
        return self in {Kpi.CTR, Kpi.CVR, Kpi.ORDERS_PER_IMPRESSION}

    @property
    def needs_revenue(self) -> bool:
        """Whether the log must have revenue."""
        return self in {Kpi.REVENUE_PER_IMPRESSION, Kpi.REVENUE_PER_USER}

    @property
    def needs_orders(self) -> bool:
        """Whether the log must have orders."""
        return self not in {Kpi.CTR, Kpi.CLICKS_PER_USER}


EVENTS = Contract(
    name="events",
    row="one event: a click, cart or order of an item in a session",
    columns={
        "session": ID,
        "ts": pl.Int64,
        "item": ID,
        "event_type": EVENT_TYPE,
        "file": pl.UInt16,
    },
)
"""``ts`` is milliseconds since 1970-01-01 UTC; ``file`` numbers the input files in reading order."""

_PRICED = {**EVENTS.columns, "revenue": pl.Int64}
PRICED_EVENTS = Contract(name="priced_events", row=EVENTS.row, columns=_PRICED)
"""``revenue`` is price × quantity of an order in ten-thousandths of the currency, else null."""

REJECTED = Contract(
    name="rejected",
    row="one rejected line or row of the input, with the reason",
    columns={
        "source": pl.String,
        "position": pl.Int64,
        "reason": pl.String,
        "field": pl.String,
        "content": pl.String,
    },
)
"""``position`` counts lines from 1 and is null for a duplicate; ``field`` names the columns of the file
that the reason is about and is null if it is about the whole row; ``content`` is truncated to 200
characters."""

SESSIONS = Contract(
    name="sessions",
    row="one session that passed the filters, with its split",
    columns={
        "session": ID,
        "split": pl.String,
        "first_ts": pl.Int64,
        "last_ts": pl.Int64,
        "clicks": pl.Int32,
        "carted_clicks": pl.Int32,
        "ordered_clicks": pl.Int32,
    },
)

ITEMS = Contract(
    name="items",
    row="one item of the training catalogue",
    columns={"index": pl.Int32, "item": ID, "train_clicks": pl.Int64},
)

ITEM_ATTRIBUTES = Contract(
    name="item_attributes",
    row="one item of the catalogue, with its attributes in the shop",
    columns={
        "index": pl.Int32,
        "item": pl.String,
        "value": pl.Float64,
        "category": pl.String,
        "available_since": pl.Int64,
    },
)
"""``available_since`` is milliseconds since 1970-01-01 UTC; unknown attributes are null."""

LEARNING_CURVES = Contract(
    name="learning_curves",
    row="one loss (or the hypervolume) on one split after one epoch",
    columns={
        "epoch": pl.Int32,
        "split": pl.String,
        "objective": pl.String,
        "loss": pl.Float64,
    },
)

TARGET_SCORES = Contract(
    name="target_scores",
    row="one target of a test session, scored under one preference",
    columns={
        "session": pl.Int64,
        "history": pl.Int64,
        "item": pl.Int64,
        "ordered": pl.Boolean,
        "rank": pl.Int64,
        "click_loss": pl.Float64,
        "uniformity": pl.Float64,
        "order_loss": pl.Float64,
    },
)
"""Sessions are rows of the test split, items are indices; see :class:`models.scoring.target_scores.TargetScores`."""

SESSION_LISTS = Contract(
    name="session_lists",
    row="one test session, with the list recommended before its last click",
    columns={"session": pl.Int64, "items": pl.List(pl.Int64)},
)

OFFLINE_METRICS = Contract(
    name="offline_metrics",
    row="one metric of the model under one preference, on one segment of the test targets",
    columns={
        "preference_id": pl.String,
        "preference": pl.List(pl.Float64),
        "metric": pl.String,
        "cutoff": pl.Int32,
        "segment": pl.String,
        "value": pl.Float64,
        "standard_error": pl.Float64,
        "n_targets": pl.Int64,
        "n_sessions": pl.Int64,
        "higher_is_better": pl.Boolean,
    },
)
"""``preference`` has one weight per objective, in the study's order, and sums to 1; ``value`` is null
where its denominator is 0; ``cutoff`` is null for losses; ``segment`` is ``all`` or, for target
metrics, such as ``session_length=1``."""

OFFLINE_METRIC_COVARIANCE = Contract(
    name="offline_metric_covariance",
    row="one metric under two preferences, with the covariance of its errors",
    columns={
        "metric": pl.String,
        "preference_id": pl.String,
        "other_preference_id": pl.String,
        "covariance": pl.Float64,
        "method": pl.String,
    },
)
"""All preferences are evaluated on the same sessions, so errors are correlated. ``method`` is
``bootstrap`` (over sessions) for ratios, ``jackknife`` for the rest; ``covariance`` is null where the
metric is undefined under one of the two preferences, or on a bootstrap test set."""

OFFLINE_METRIC_REPLICATES = Contract(
    name="offline_metric_replicates",
    row="one metric under one preference, with its value on every bootstrap test set",
    columns={
        "metric": pl.String,
        "preference_id": pl.String,
        "replicates": pl.List(pl.Float64),
    },
)
"""Replicate r of every row (of ``evaluation.bootstrap``) is computed on the same sessions, so the
joint error distribution of several metrics is known. Ratio metrics only."""

IMPRESSIONS = Contract(
    name="impressions",
    row="one recommendation list shown to one user, with its outcome",
    columns={
        "experiment": pl.String,
        "impression": pl.String,
        "user": pl.String,
        "group": pl.String,
        "ts": pl.Int64,
        "clicked": pl.Boolean,
        "ordered": pl.Boolean,
        "units": pl.Int32,
    },
)
"""``user`` is the randomisation unit; ``units`` is the number of units sold."""
