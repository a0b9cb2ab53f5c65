"""The meaning of every column of the study's tables, for everything that displays a table."""

from collections.abc import Mapping
from itertools import combinations_with_replacement

from pipeline.core.frame_contract import Contract

_USER_SUM_TERMS = (*"myab", *map("".join, combinations_with_replacement("myab", 2)))
"""Per-user terms whose sums the covariance of a KPI needs: of a user, m trials and y successes in the
experiment, a trials and b successes before it, and the products of any two."""

_DESCRIPTIONS = {
    "available_since": "when the item became available, milliseconds since 1970-01-01 UTC",
    "batch": "batch of the group's users, 0 to 99; random, and the same on every day",
    "carted_clicks": "clicks whose item was added to the cart in the session",
    "category": "the item's category in the shop",
    "click_loss": "cross-entropy of the target over the catalogue, in nats; lower is better",
    "clicked": "whether an item of the list was clicked",
    "clicked_position": "position of the click in the shown list, from 0; null without one",
    "clicks": "number of clicks",
    "content": "the rejected content, truncated to 200 characters",
    "covariance": "covariance of the metric's errors under the two preferences",
    "cutoff": "k of a metric at k; null for losses",
    "day": "day in UTC",
    "dominated": "whether another preference (of the same level) is at least as good on both axes and better on one; null if one is undefined",
    "epoch": "passes over the training sessions, from 1",
    "event_type": "what the user did: click, cart or order",
    "experiment": "name of the experiment",
    "field": "columns of the file that the reason is about; null if it is about the whole row",
    "file": "number of the input file, in reading order",
    "first_day_successes": "successes (or their amount) on the users' first day",
    "first_ts": "time of the first event, milliseconds since 1970-01-01 UTC",
    "group": "the test group: users served under one preference, or by one variant",
    "higher_is_better": "the metric's direction",
    "history": "number of clicks before the target",
    "impression": "id of the impression, unique over all files",
    "impressions": "recommendation lists shown",
    "index": "the item's index in the model, from 0",
    "item": "the shop's item id",
    "items": "indices of the recommended items, best first",
    "kpi": "name of the online key performance indicator",
    "last_ts": "time of the last event, milliseconds since 1970-01-01 UTC",
    "later_successes": "successes after the users' first day, scaled to the first day's trials user by user",
    "lists": "lists of all groups one after another, as indices of the catalogue; -1 after the end of a short one",
    "loss": "value of the loss (or of the hypervolume)",
    "method": "bootstrap over sessions, or jackknife",
    "metric": "name of the offline metric; recall@5 is recall at an extra cutoff",
    "n_sessions": "test sessions the metric is computed on",
    "n_targets": "test targets the metric is computed on",
    "new_users": "users whose first impression is on this day",
    "objective": "the loss, or the hypervolume",
    "order_density": "share of ordered targets among those in the top k (OD@k); in [0, 1], higher is better",
    "order_loss": "binary cross-entropy of the target's score and whether it was ordered, in nats; lower is better",
    "ordered": "whether the click led to an order",
    "ordered_clicks": "clicks whose item was ordered in the session",
    "orders": "number of orders",
    "other_preference_id": "id of the second preference",
    "position": "line in the file, from 1; null for a duplicate",
    "preference": "one weight per objective, in the study's order; they sum to 1",
    "preference_id": "id of the preference: p00, p01, …; off the neutral level of a second axis, of the cell: p05+diversity0.3",
    "rank": "1 + items scored above the target, ties by evaluation.ties; 1 is best",
    "rate": "successes / trials; null without trials",
    "reason": "why the row was rejected",
    "recall": "share of targets in the top k (Recall@k); in [0, 1], higher is better",
    "recall_order_density": "share of targets in the top k and ordered; in [0, 1], higher is better",
    "replicates": "value of the metric on each bootstrap test set",
    "revenue": "revenue in the currency's smallest unit; null where the log has none",
    "segment": "segment of test targets (all, or such as session_length=1) or of users, from before the experiment",
    "session": "the shop's session id",
    "source": "name of the input file",
    "split": "train, validation or test",
    "standard_error": "standard error of the value: over sessions for metrics, clustered by user for KPIs",
    "successes": "successful trials, or the amount the trials yielded",
    "train_clicks": "clicks on the item in train",
    "trials": "denominator of the KPI: impressions, clicks or users",
    "ts": "time, milliseconds since 1970-01-01 UTC",
    "uniformity": "log of the number of items over the distortion loss; in (0, 1], 1 for equal scores",
    "units": "units sold",
    "user": "id of the user, the randomisation unit",
    "users": "number of users; of a KPI, users with a trial",
    "value": "value of the metric; null where undefined",
    **{
        f"sum_{term}": f"sum over users of {'·'.join(term)}; m trials and y successes in the "
        "experiment, a and b before it"
        for term in _USER_SUM_TERMS
    },
}

_TABLE_SPECIFIC = {
    "priced_events": {
        "revenue": "price × quantity of an order in ten-thousandths of the currency; null without a price"
    },
    "item_attributes": {"value": "the item's value according to the shop"},
    "paired_lists": {
        "ordered": "1 if the click led to an order",
        "session": "clicks before the request, as indices of the catalogue, oldest first",
    },
    "pre_period_sums": {"users": "all users with an impression"},
    "session_lists": {"session": "row of the test split"},
    "target_scores": {"session": "row of the test split", "item": "index of the item"},
}
"""Columns that mean something else in one table."""


def column_descriptions(contract: Contract) -> Mapping[str, str]:
    """The meaning of each column of a table, in the table's order.

    Raises:
        KeyError: if a column has no description; a test covers all tables.
    """
    specific = _TABLE_SPECIFIC.get(contract.name, {})
    return {name: specific.get(name) or _DESCRIPTIONS[name] for name in contract.columns}
