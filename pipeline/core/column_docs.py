"""What the columns of the study's tables mean, each once, for everyone who shows a table."""

from collections.abc import Mapping

from pipeline.core.frame_contract import Contract

_MEANINGS = {
    "available_since": "since when the shop sells the item, milliseconds since 1970-01-01 UTC",
    "batch": "one of 100 batches of a group's users, divided at random, the same all days",
    "carted_clicks": "clicks whose item was put into the cart in the session",
    "category": "of the item, as the shop names it",
    "click_loss": "cross-entropy of the target over the whole catalogue, in nats; lower is better",
    "clicked": "whether an item of the list was clicked",
    "clicks": "clicks counted",
    "content": "what stood there, cut at 200 characters",
    "covariance": "of the errors of the metric under the two preferences",
    "cutoff": "k of a metric at k; null for losses",
    "day": "UTC",
    "dominated": "whether another preference is at least as good on both axes and better on one",
    "epoch": "passes over the training sessions, from 1",
    "experiment": "name of the experiment",
    "impression": "id of the impression, unique over all files",
    "impressions": "recommended lists shown",
    "file": "number of the file in the order they are read",
    "first": "successes (or their amount) on the users' first day",
    "first_ts": "of its first event, milliseconds since 1970-01-01 UTC",
    "group": "of users that are served under one preference, or one variant",
    "higher_is_better": "the metric's direction",
    "history": "clicks before the target",
    "index": "of the item in the model, from 0",
    "item": "id of the item, as the shop has it",
    "items": "indices of the recommended items, best first",
    "event_type": "what the user did: click, cart or order",
    "kpi": "name of the online key performance indicator",
    "last_ts": "of its last event, milliseconds since 1970-01-01 UTC",
    "later": "what the days after the first would bring in as many trials of each user",
    "loss": "value of the loss (or of the hypervolume)",
    "method": "bootstrap of sessions, or jackknife",
    "metric": "name of the offline metric; recall@5 is one at a further cutoff",
    "n_sessions": "test sessions it was measured on",
    "n_targets": "test targets it was measured on",
    "new_users": "users whose first impression was on that day",
    "objective": "the loss, or the hypervolume",
    "order_density": "share of ordered targets among those in the top k (OD@k); in [0, 1], higher is better",
    "order_loss": "binary cross-entropy of the target's score and whether it was ordered, in nats; lower is better",
    "ordered": "whether a click led to an order",
    "ordered_clicks": "clicks whose item was ordered in the session",
    "orders": "orders counted",
    "other_preference_id": "the second preference",
    "position": "line in the file, from 1; null for a duplicate",
    "preference": "one weight an objective, in the study's order; they sum to 1",
    "preference_id": "name of the preference: p00, p01, …",
    "rank": "1 + items scored above the target, ties by evaluation.ties; 1 is best",
    "rate": "successes / trials; null without trials",
    "reason": "why it was set aside",
    "recall": "share of targets in the top k (Recall@k); in [0, 1], higher is better",
    "recall_order_density": "share of targets in the top k and ordered; in [0, 1], higher is better",
    "replicates": "the metric on every redrawn test set",
    "revenue": "in the currency's smallest unit; null where the log tells none",
    "segment": "of targets (all, or such as session_length=1) or of users, as known before",
    "session": "id of the session, as the shop has it",
    "source": "file it stood in",
    "split": "train, validation or test",
    "standard_error": "of the value: of metrics over sessions, of rates clustered by user",
    "successes": "of the trials, or the amount they brought",
    "sum_mm": "over users, of trials squared",
    "sum_my": "over users, of trials times successes",
    "sum_yy": "over users, of successes squared",
    "train_clicks": "clicks on the item in train",
    "trials": "what can succeed: impressions, clicks or users, by KPI",
    "ts": "milliseconds since 1970-01-01 UTC",
    "user": "id of the user, the randomisation unit",
    "units": "pieces sold",
    "users": "users counted",
    "value": "of the metric; null where it is undefined",
}

_OF_TABLE = {
    "item_attributes": {"value": "what the item is worth, as the shop says"},
    "session_lists": {"session": "row of the test split"},
    "target_scores": {"session": "row of the test split", "item": "index of the item"},
}
"""Where a word means something else."""


def column_descriptions(contract: Contract) -> Mapping[str, str]:
    """What each column of a table means, in the table's order.

    Raises:
        KeyError: if a column has no meaning yet; a test asks for all tables.
    """
    own = _OF_TABLE.get(contract.name, {})
    return {name: own.get(name) or _MEANINGS[name] for name in contract.columns}
