"""The conditioned front against separately trained networks, COSMOS and a hypernetwork.

Every network has the same training time, so the separate ones have as often that time as there are
preferences: they bound the hypervolume of the losses, which they are trained on. The setting is chosen by the hypervolume of Recall@20 × OD@20
on validation.
"""

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from equal_search import ours
from equal_search.logs import PeerLog
from equal_search.programs import Setting
from equal_search.ranks import Accuracy
from equal_search.runs import Result, Run
from equal_search.search import Mean
from models.fronts import loss_front, metric_front
from models.network.configuration import ModelConfig
from models.preferences import preference_grid
from models.scoring.target_scores import score_targets
from models.training.configuration import Regulariser, TrainingConfig

LOG = "synthetic-shop"
"""The log of the default study; hypervolumes of metrics need orders."""
CUTOFF = 20
GRID_GO = preference_grid(5)
RATES = (2e-3, 6e-3, 1.8e-2)
_ORDER_REFERENCE = 3.0
_FIXED = 1e4
"""Sum of the concentrations under which every drawn preference is the same one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A way to a front.

    Attributes:
        source: Where it is from, in words.
        changes: What differs from the default study.
        is_separate: Whether it is one network per preference.
    """

    source: str
    changes: Setting = field(default_factory=dict)
    is_separate: bool = False


SEPARATE, CONDITIONED = "front: separate networks", "front: conditioned"
METHODS = {
    CONDITIONED: Method(source="the default study's network and training"),
    SEPARATE: Method(
        source="one network per preference on its scalarised loss",
        changes={"training.regulariser": "none"},
        is_separate=True,
    ),
    "front: COSMOS": Method(
        source="Ruchte & Grabocka 2021: concatenation, angle penalty, one preference per batch",
        changes={
            "model.conditioning": "concatenation",
            "training.regulariser": "angle",
            "training.preference_sampling": "batch",
        },
    ),
    "front: hypernetwork": Method(
        source="Navon et al. 2021: the blocks' matrices made from the preference",
        changes={
            "model.backbone": "equal_search.hypernetwork:HyperTransformer",
            "model.conditioning": "film",
            "training.preference_sampling": "batch",
            "training.regulariser": "none",
        },
    ),
}


@dataclass(frozen=True, slots=True)
class Front:
    """A front over the preferences of the grid.

    Attributes:
        points_GX: Recall@20, OD@20, click loss and order loss under each preference.
        n_items: Size of the catalogue.
        seconds: Training of all its networks.
    """

    points_GX: np.ndarray
    n_items: int
    seconds: float

    @property
    def metric_hypervolume(self) -> float:
        """Of Recall@20 × OD@20."""
        weights = GRID_GO.double().numpy()
        return metric_front(self.points_GX[:, :2], weights).hypervolume

    @property
    def loss_hypervolume(self) -> float:
        """Of the two losses."""
        reference = np.array([np.log(self.n_items), _ORDER_REFERENCE])
        losses = self.points_GX[:, 2:]
        return loss_front(losses, GRID_GO.double().numpy(), reference=reference).hypervolume


def runs_of(name: str, rate: float, seed: int, seconds: float) -> list[Run]:
    """One run, or one per preference."""
    setting = {"learning_rate": rate, **METHODS[name].changes}
    run = Run(log=LOG, program=name, setting=setting, seed=seed, seconds=seconds)
    if not METHODS[name].is_separate:
        return [run]
    return [replace(run, setting={**setting, "preference": row}) for row in range(len(GRID_GO))]


def run_here(run: Run, log: PeerLog) -> Result:
    """Train one network and measure it under its preferences, in this process."""
    setting = dict(run.setting)
    row = setting.pop("preference", None)
    overrides = {"training.learning_rate": setting.pop("learning_rate"), **setting}
    model, config = ours.configuration(log, overrides, clicks_alone=False)
    grid_GO = GRID_GO if row is None else GRID_GO[row : row + 1]
    if row is not None:
        config = for_preference(config, GRID_GO[row].tolist())
    trained = _train(log, model, config, run)
    found: dict[str, list[list[float]]] = {}
    accuracies: dict[str, Accuracy] = {}
    for split in ("validation", "test"):
        tokens = getattr(log.log, split)
        scores = score_targets(trained.model, tokens, grid_GO)
        accuracies[split] = Accuracy.of(scores[-1].rank, tokens)  # the most clicks
        found[split] = [
            [*one.recall_and_order_density(CUTOFF), *map(float, _losses(one))] for one in scores
        ]
    details: dict[str, Any] = {"epochs": trained.epochs, "points": found}
    return Result(**accuracies, seconds=trained.seconds, details=details)


def for_preference(config: TrainingConfig, weights: list[float]) -> TrainingConfig:
    """Every drawn preference is (very nearly) this one."""
    objectives = tuple(
        replace(one, concentration=max(weight * _FIXED, 1 / _FIXED))
        for one, weight in zip(config.objectives, weights, strict=True)
    )
    return replace(config, objectives=objectives, regulariser=Regulariser.NONE)


def _train(log: PeerLog, model: ModelConfig, config: TrainingConfig, run: Run) -> ours.Trained:
    return ours.train_for(log, model, config, seconds=run.seconds, seed=run.seed)


def _losses(scores: Any) -> tuple[float, float]:
    return scores.click_loss.mean(), scores.order_loss.mean()


def front_of(results: list[Result], split: str, n_items: int) -> Front:
    """The front of one network, or of one per preference."""
    rows = [row for one in results for row in one.details["points"][split]]
    return Front(np.array(rows), n_items, sum(one.seconds for one in results))


def search(
    log: PeerLog, get: Callable[[Run], Result], pool: Executor, *, seconds: float, seeds: int
) -> dict[str, list[Front]]:
    """The test fronts of every method, one per seed."""
    n_items = log.log.n_items

    def fronts(name: str, rate: float, seed: int, split: str) -> Front:
        runs = runs_of(name, rate, seed, seconds)
        return front_of(list(pool.map(get, runs)), split, n_items)

    found = {}
    for name in METHODS:
        list(pool.map(get, [run for rate in RATES for run in runs_of(name, rate, 0, seconds)]))
        volumes = {rate: fronts(name, rate, 0, "validation").metric_hypervolume for rate in RATES}
        best = max(volumes, key=lambda rate: volumes[rate])
        found[name] = [fronts(name, best, seed, "test") for seed in range(seeds)]
    return found


def table(found: dict[str, list[Front]]) -> list[str]:
    """The methods, and each as a share of the separately trained networks."""
    bound = found[SEPARATE]
    lines = [
        f"## The front on {LOG}",
        "",
        (
            f"{len(GRID_GO)} preferences; every network has the same training time, so the separate "
            f"ones together have {len(GRID_GO)} times as much. Each is trained on its own sum of the losses, so that "
            "they bound the hypervolume of losses, not that of Recall@20 × OD@20. In brackets, the share of theirs."
        ),
        "",
        (
            "| front | from | Recall@20 at the click endpoint | mean Recall@20 of the preferences "
            "| hypervolume, Recall@20 × OD@20 | hypervolume, losses | seconds |"
        ),
        "|---|---|---|---|---|---|---|",
    ]
    columns: list[Callable[[Front], float]] = [
        lambda front: float(front.points_GX[-1, 0]),
        lambda front: float(front.points_GX[:, 0].mean()),
        lambda front: front.metric_hypervolume,
        lambda front: front.loss_hypervolume,
    ]
    for name, fronts in found.items():
        cells = [
            f"{mean.value:.4f} ± {mean.error:.4f} ({mean.value / limit.value:.0%})"
            for mean, limit in (
                (Mean.of([of(one) for one in fronts]), Mean.of([of(one) for one in bound]))
                for of in columns
            )
        ]
        seconds = Mean.of([one.seconds for one in fronts]).value
        title = name.removeprefix("front: ")
        lines.append(f"| {title} | {METHODS[name].source} | {' | '.join(cells)} | {seconds:.0f} |")
    return [*lines, ""]
