"""Warm starts: a run that continues from the finished state of another, on another catalogue."""

import logging
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from models.errors import ModelError
from models.tokens import SessionTokens
from models.training.co_occurrence import adjacent_clicks
from models.training.configuration import TrainingConfig
from models.training.optimizers import table_state
from models.training.state import Lineage, SavedState

_LOG = logging.getLogger(__name__)
_TABLE = "item_embedding.weight"
_UNKNOWN = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmStart:
    """What lets a run continue from the last one, and the next one from it.

    Attributes:
        file: The finished state of the last run; where there is none, the model is trained from scratch.
        items: The shop's ids of the items, in index order.
    """

    file: Path
    items: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class InitialState:
    """Weights and optimiser state of another run, for the rows of this catalogue."""

    weights: dict[str, Tensor]
    optimizers: dict[str, Tensor]


def carry_over(  # noqa: PLR0913 - a run and its source
    saved: SavedState,
    warm_start: WarmStart,
    *,
    lineage: Lineage,
    fresh: dict[str, Tensor],
    config: TrainingConfig,
    tokens: SessionTokens,
) -> InitialState:
    """Map a finished state onto the catalogue of a new run.

    Rows of items that left are dropped. The row of a new item is the mean of the rows of the known
    items clicked just before or after it in ``tokens``; without such an item it stays as in
    ``fresh``. All other weights, those of the preference's conditioning among them, are taken over,
    so a preference keeps its meaning. Adam's state is carried, too; a new row begins without
    momentum and with the mean second moment of the known ones.

    Args:
        saved: The finished state: the weights of its best epoch, the optimisers of its last step.
        warm_start: Its file, and the new catalogue.
        lineage: That of the new run.
        fresh: Newly initialised weights of the new run's network.
        config: The configuration of the new run.
        tokens: The training sessions of the new run.

    Raises:
        ModelError: if the section model, the objectives or the optimisers differ, or no item is known.
    """
    row_of = {item: row for row, item in enumerate(saved.lineage.items or ())}
    row_I = torch.tensor([row_of.get(item, _UNKNOWN) for item in warm_start.items])
    best, problem = saved.progress.best, _difference(saved, lineage, config)
    if not (row_I != _UNKNOWN).any():
        problem = f"none of its {len(row_of)} items is among the {len(row_I)} of the new catalogue"
    if best is None or problem:
        msg = (
            f"training.warm_start_epochs: {warm_start.file} cannot be continued: "
            f"{problem or 'its run has not finished'}. Delete the file to train the model from scratch"
        )
        raise ModelError(msg)
    known = int((row_I != _UNKNOWN).sum())
    _LOG.info(
        "continues from %s: %d items are known, %d new, %d left",
        *(warm_start.file, known, len(row_I) - known, len(row_of) - known),
    )
    table_ID = _grown_table(best.weights[_TABLE], fresh[_TABLE].cpu(), row_I, tokens)
    prefix = table_state(config)
    return InitialState(
        weights={**best.weights, _TABLE: table_ID},
        optimizers={
            name: _grown_moment(name, value, row_I)
            if name.startswith(prefix) and value.dim() == 2
            else value
            for name, value in saved.optimizers.items()
        },
    )


def _difference(saved: SavedState, lineage: Lineage, config: TrainingConfig) -> str | None:
    """Why a run cannot continue from a state; None if it can."""
    source = saved.lineage
    before, now = ([objective["loss"] for objective in one.objectives] for one in (source, lineage))
    if before != now:
        return (
            f"its training.objectives are {before}, now {now}, and a preference would change its "
            "meaning"
        )
    sections = {"model": (source.model, lineage.model)} | {
        f"training.objectives.{place}": pair
        for place, pair in enumerate(zip(source.objectives, lineage.objectives, strict=True))
    }
    for section, (was, now) in sections.items():
        if changed := [key for key in now if was.get(key) != now[key]]:
            key = changed[0]
            return f"its {section}.{key} was {was.get(key)}, now {now[key]}"
    if any(name.startswith("1.") for name in saved.optimizers) != config.sparse_items:
        return f"its training.sparse_items was {not config.sparse_items}"
    return None


def _grown_table(old_JD: Tensor, fresh_ID: Tensor, row_I: Tensor, tokens: SessionTokens) -> Tensor:
    """The item table of the new catalogue; see :func:`carry_over`."""
    known_I = row_I != _UNKNOWN
    table_ID = fresh_ID.clone()
    table_ID[known_I] = old_JD[row_I[known_I]]
    item, neighbour = adjacent_clicks(tokens)
    useful = ~known_I[item] & known_I[neighbour]
    item, neighbour = item[useful], neighbour[useful]
    sums_ID = torch.zeros(table_ID.shape, dtype=torch.float64)
    sums_ID.index_add_(0, item, table_ID[neighbour].double())
    number_I = torch.bincount(item, minlength=len(row_I))
    seen_I = number_I > 0
    table_ID[seen_I] = (sums_ID[seen_I] / number_I[seen_I, None]).float()
    return table_ID


def _grown_moment(name: str, old_JD: Tensor, row_I: Tensor) -> Tensor:
    """A moment of Adam for the rows of the new catalogue."""
    known_I = row_I != _UNKNOWN
    known = old_JD[row_I[known_I]]
    new = known.mean(dim=0) if name.endswith("exp_avg_sq") else torch.zeros(old_JD.shape[1])
    moment_ID = new.to(old_JD.dtype).repeat(len(row_I), 1)
    moment_ID[known_I] = known
    return moment_ID
