"""Fitting R(x, π): one preference a session, validation after every epoch, the best epoch kept."""

import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn

from models.batching import SessionBatch, ordered_batches, shuffled_batches
from models.configuration import ModelConfig, TrainingConfig
from models.errors import ModelError, TrainingDiverged
from models.network import ConditionedSessionModel, build_model, forked_rng
from models.objectives import objective_losses, scalarised_loss, session_means
from models.preferences import preference_grid, sample_preferences
from models.tokens import SessionTokens

_LOG = logging.getLogger(__name__)
_WARM_UP_SHARE = 0.05
_VALIDATION_PREFERENCES = 3


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One loss (unscaled) of one objective on one split (train or validation) after one epoch."""

    epoch: int
    split: str
    objective: str
    loss: float


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """The model of the best epoch, the learning curves of all epochs, and which epoch it was."""

    model: ConditionedSessionModel
    curves: list[CurvePoint]
    best_epoch: int


def train(  # noqa: PLR0913 - data and configuration
    tokens: SessionTokens,
    validation: SessionTokens,
    *,
    n_items: int,
    model_config: ModelConfig,
    config: TrainingConfig,
    seed: int,
) -> TrainedModel:
    """Train on ``tokens`` and keep the epoch with the lowest validation loss.

    The validation loss is Eq. 1 without regulariser, averaged over an even grid of preferences
    with the same negatives every time. The test set is never seen here. The same seed and thread
    count give the same weights, bit for bit, on the same kind of processor.

    Raises:
        ModelError: if there is nothing to train or validate on, or more negatives than items.
        TrainingDiverged: if the loss is not a number.
    """
    _check(tokens, validation, n_items, config)
    model = build_model(
        model_config, n_items=n_items, n_objectives=len(config.objectives), seed=seed
    )
    with _deterministic(config.threads), forked_rng(seed + 1):
        return _Trainer(model, config, seed=seed).fit(tokens, validation)


class _Trainer:
    """The state of one training run."""

    def __init__(
        self, model: ConditionedSessionModel, config: TrainingConfig, *, seed: int
    ) -> None:
        self.model = model
        self.config = config
        self.seed = seed
        self.generator = torch.Generator().manual_seed(seed)
        self.scales_O = torch.tensor(config.loss_scales)
        matrices = [weight for weight in model.parameters() if weight.dim() > 1]
        vectors = [weight for weight in model.parameters() if weight.dim() <= 1]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": matrices, "weight_decay": config.weight_decay},
                {"params": vectors, "weight_decay": 0.0},
            ],
            lr=config.learning_rate,
        )

    def fit(self, tokens: SessionTokens, validation: SessionTokens) -> TrainedModel:
        steps = self.config.epochs * math.ceil(tokens.n_sessions / self.config.batch_sessions)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda step: _learning_rate_share(step, steps)
        )
        curves: list[CurvePoint] = []
        best: tuple[float, int, dict[str, Tensor]] = (math.inf, 0, {})
        for epoch in range(1, self.config.epochs + 1):
            started = time.perf_counter()
            train_O = self._train_epoch(tokens, schedule, epoch)
            seconds = time.perf_counter() - started
            validation_O, validation_loss = self._validate(validation)
            curves += self._points(epoch, "train", train_O)
            curves += self._points(epoch, "validation", validation_O)
            _LOG.info(
                "epoch %d of %d: train %s, validation %s, %.0f clicks a second",
                epoch,
                self.config.epochs,
                _words(train_O),
                _words(validation_O),
                len(tokens.items) / seconds,
            )
            if not math.isfinite(validation_loss):
                msg = (
                    f"the validation loss is {validation_loss} after epoch {epoch}; "
                    "lower training.learning_rate or training.gradient_clip"
                )
                raise TrainingDiverged(msg)
            if validation_loss < best[0]:
                weights = {name: w.clone() for name, w in self.model.state_dict().items()}
                best = (validation_loss, epoch, weights)
        self.model.load_state_dict(best[2])
        return TrainedModel(model=self.model.eval(), curves=curves, best_epoch=best[1])

    def _train_epoch(
        self, tokens: SessionTokens, schedule: torch.optim.lr_scheduler.LambdaLR, epoch: int
    ) -> Tensor:
        self.model.train()
        batches = shuffled_batches(
            tokens,
            batch_sessions=self.config.batch_sessions,
            max_length=self.model.config.max_length,
            generator=self.generator,
        )
        n_batches = math.ceil(tokens.n_sessions / self.config.batch_sessions)
        sums_O = torch.zeros(len(self.config.objectives), dtype=torch.float64)
        positions = 0
        for step, batch in enumerate(_shown(batches, n_batches, f"epoch {epoch}")):
            preference_BO = sample_preferences(
                len(batch.sessions),
                self.config.preference_concentration,
                generator=self.generator,
            )
            losses_PO = self._losses(batch, preference_BO, self.generator)
            self._step(batch, losses_PO, preference_BO, place=f"epoch {epoch}, step {step}")
            schedule.step()
            sums_O += losses_PO.detach().double().sum(dim=0)
            positions += len(losses_PO)
        return sums_O / positions

    def _losses(
        self, batch: SessionBatch, preference_BO: Tensor, generator: torch.Generator
    ) -> Tensor:
        negatives_N = torch.randint(
            self.model.n_items, (self.config.negatives,), generator=generator
        )
        return objective_losses(
            self.model,
            self.model(batch.inputs_BT, preference_BO)[batch.real_BT],
            targets_P=batch.targets_BT[batch.real_BT],
            ordered_P=batch.ordered_BT[batch.real_BT],
            carted_P=batch.carted_BT[batch.real_BT],
            negatives_N=negatives_N,
            objectives=self.config.objectives,
        )

    def _step(
        self, batch: SessionBatch, losses_PO: Tensor, preference_BO: Tensor, *, place: str
    ) -> None:
        session_P = batch.real_BT.nonzero()[:, 0]
        losses_BO = session_means(losses_PO * self.scales_O, session_P, len(batch.sessions))
        loss = scalarised_loss(
            losses_BO, preference_BO, non_uniformity_weight=self.config.non_uniformity_weight
        )
        if not bool(torch.isfinite(loss)):
            msg = (
                f"the loss is {loss.item()} at {place} (sessions {batch.sessions[:5].tolist()} …); "
                "lower training.learning_rate or training.gradient_clip"
            )
            raise TrainingDiverged(msg)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.config.gradient_clip)
        self.optimizer.step()

    @torch.no_grad()
    def _validate(self, validation: SessionTokens) -> tuple[Tensor, float]:
        """Mean loss of each objective over positions and preferences; and the scalarised mean."""
        self.model.eval()
        grid = preference_grid(_VALIDATION_PREFERENCES)
        sums_GO = torch.zeros(len(grid), len(self.config.objectives), dtype=torch.float64)
        positions = 0
        generator = torch.Generator().manual_seed(self.seed)
        for batch in ordered_batches(
            validation,
            batch_sessions=self.config.batch_sessions,
            max_length=self.model.config.max_length,
        ):
            positions += int(batch.real_BT.sum())
            for row, preference in enumerate(grid):
                preference_BO = preference.expand(len(batch.sessions), -1)
                sums_GO[row] += self._losses(batch, preference_BO, generator).double().sum(dim=0)
        means_GO = sums_GO / positions
        return means_GO.mean(dim=0), float((means_GO * self.scales_O * grid).sum(dim=1).mean())

    def _points(self, epoch: int, split: str, losses_O: Tensor) -> list[CurvePoint]:
        pairs = zip(self.config.objectives, losses_O.tolist(), strict=True)
        return [CurvePoint(epoch, split, objective.value, loss) for objective, loss in pairs]


def _check(
    tokens: SessionTokens, validation: SessionTokens, n_items: int, config: TrainingConfig
) -> None:
    for part, name in ((tokens, "training"), (validation, "validation")):
        if not part.n_sessions:
            msg = f"there is no {name} session"
            raise ModelError(msg)
    if config.negatives > n_items:
        msg = (
            f"training.negatives = {config.negatives} exceeds the catalogue of {n_items} items; "
            "lower it"
        )
        raise ModelError(msg)


def _learning_rate_share(step: int, steps: int) -> float:
    """Linear warm-up, then half a cosine down to 0."""
    warm_up = max(1, round(_WARM_UP_SHARE * steps))
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))


def _shown(batches: Iterator[SessionBatch], total: int, words: str) -> Iterator[SessionBatch]:
    """Show a progress bar on a terminal, and nothing elsewhere."""
    console = Console(stderr=True)
    yield from track(
        batches, description=words, total=total, console=console, disable=not console.is_terminal
    )


def _words(losses_O: Tensor) -> str:
    return " / ".join(f"{loss:.4f}" for loss in losses_O.tolist())


@contextmanager
def _deterministic(threads: int) -> Iterator[None]:
    """Fix the thread count and forbid nondeterministic kernels inside the block."""
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(mode=True)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(mode=before[1])
