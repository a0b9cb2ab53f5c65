"""The lists of a log as indices of the model that served them."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.counterfactual.weighted_log import Flags, Ints
from pipeline.experiment.design.traffic_plan import TrafficPlan
from pipeline.experiment.log.log_files import model_version
from pipeline.experiment.log.reading.shown_lists import UnpairableListsError
from pipeline.recommender.recommender import Recommender

LEAST_EQUAL = 0.99
"""Share of logged lists that the model must reproduce."""

UNKNOWN = -1
"""The index of an item that the model does not know, and the end of a short list."""


def check_model(shown: pl.DataFrame, plan: TrafficPlan) -> None:
    """Check that all lists are those of the plan's model.

    Raises:
        UnpairableListsError: naming another model.
    """
    expected = plan.model and model_version(plan.model)
    others = [name for name in shown["model"].unique().drop_nulls() if name != expected]
    if expected is not None and others:
        msg = (
            f"the log has lists of the model {others[0]}, and the plan's is {expected}; expected a log of one model. "
            "Evaluate it with the study that served it"
        )
        raise UnpairableListsError(msg)


def check_reproduced(
    equal_N: Flags, *, of: str = "", lists: str, causes: str, without: str
) -> float:
    """The share of lists that the model reproduces.

    Args:
        equal_N: Whether each list, or what it was drawn by (``of``), is reproduced.
        of: Such as ``the propensities of ``; the lists themselves by default.
        lists: Which, such as ``logged``.
        causes: What the endpoint may have had that the model has not.
        without: The same, as what to leave out.

    Raises:
        UnpairableListsError: if it is below 99%.
    """
    equal = float(equal_N.mean())
    if equal < LEAST_EQUAL:
        msg = (
            f"the model reproduces {of}{equal:.1%} of the {lists} lists; expected {LEAST_EQUAL:.0%} or more. {causes} "
            f"or another model were at work: evaluate with the model that served, without {without}"
        )
        raise UnpairableListsError(msg)
    return equal


def item_indices(items: pl.Series, recommender: Recommender) -> NDArray[np.int32]:
    """The model's index of each item; :data:`UNKNOWN` of others, and of none."""
    ids = pl.Series(recommender.items, dtype=pl.String)
    index = pl.Series(range(len(ids)), dtype=pl.Int32)
    found = items.replace_strict(ids, index, default=UNKNOWN, return_dtype=pl.Int32)
    return found.fill_null(UNKNOWN).to_numpy()


def sessions_of(shown: pl.DataFrame, recommender: Recommender) -> list[Ints]:
    """The clicks before each request that the model knows."""
    flat, length_N = _flat(shown["session"], recommender)
    rows = np.split(flat.astype(np.int64), np.cumsum(length_N)[:-1])
    return [row[row != UNKNOWN] for row in rows]


def list_indices(items: pl.Series, recommender: Recommender, *, width: int) -> NDArray[np.int32]:
    """The items of lists, filled up to ``width`` with :data:`UNKNOWN`."""
    flat, length_N = _flat(items, recommender)
    row = np.repeat(np.arange(len(length_N)), length_N)
    place = np.arange(len(flat)) - np.repeat(np.cumsum(length_N) - length_N, length_N)
    found = np.full((len(length_N), width), UNKNOWN, dtype=np.int32)
    kept = place < width
    found[row[kept], place[kept]] = flat[kept]
    return found


def clicked_cells(
    shown: pl.DataFrame, items_NK: NDArray[np.integer], recommender: Recommender
) -> Flags:
    """Whether each position of the lists has the clicked item; false without a click."""
    item_N1 = item_indices(shown["clicked_item"], recommender)[:, None]
    clicked_N = shown["clicked"].to_numpy().astype(np.bool_)
    return (items_NK == item_N1) & (item_N1 != UNKNOWN) & clicked_N[:, None]


def user_numbers(shown: pl.DataFrame) -> Ints:
    """The number of each row's user, from 0."""
    return shown["user"].rank("dense").to_numpy().astype(np.int64) - 1


def group_numbers(shown: pl.DataFrame, names: Sequence[str]) -> Ints:
    """The number of each row's group among these names."""
    return shown["group"].replace_strict(names, range(len(names))).to_numpy().astype(np.int64)


def _flat(items: pl.Series, recommender: Recommender) -> tuple[NDArray[np.int32], Ints]:
    """The indices of the items of all rows, and how many each row has."""
    flat = items.list.explode(keep_nulls=False, empty_as_null=False)
    length_N = items.list.len().fill_null(0).to_numpy().astype(np.int64)
    return item_indices(flat, recommender), length_N
