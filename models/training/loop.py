"""The training loop: one preference per session, validation after every epoch, the best one kept."""

import logging
import math
import time
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import torch
from numpy.typing import NDArray
from torch import Tensor

from models.batching import SessionBatch, shuffled_batches
from models.errors import ModelError, TrainingDiverged
from models.network.configuration import ModelConfig
from models.network.model import build_model, forked_rng
from models.objectives.negatives import CandidateSampler
from models.objectives.objectives import Objectives
from models.preferences import draw_preferences
from models.progress import readable_duration, track
from models.tokens import SessionTokens
from models.training.co_occurrence import start_from_co_occurrence
from models.training.configuration import ItemVectors, TrainingConfig
from models.training.determinism import deterministic
from models.training.distributed import ProcessGroup, distributed_context
from models.training.optimizers import (
    build_optimizers,
    learning_rate_share,
    optimizer_tensors,
    restore_optimizers,
    set_learning_rate,
)
from models.training.result import TrainedModel
from models.training.seeds import SeedPurpose, derived_seed, generator_for
from models.training.state import (
    Lineage,
    Progress,
    SavedState,
    load_state,
    read_state,
    run_fingerprint,
    save_state,
)
from models.training.step import BatchLoss, TrainStep
from models.training.validation import Validation, Validator
from models.training.warm_start import WarmStart, carry_over

_LOG = logging.getLogger(__name__)


def train(  # noqa: PLR0913 - data and configuration
    tokens: SessionTokens,
    validation: SessionTokens,
    *,
    n_items: int,
    model_config: ModelConfig,
    config: TrainingConfig,
    seed: int,
    item_values: NDArray | None = None,
    state_file: Path | None = None,
    warm_start: WarmStart | None = None,
) -> TrainedModel:
    """Train on ``tokens`` and keep the epoch whose validation front has the largest hypervolume.

    The test set is never used. On CPUs of the same kind, the same seed and thread count give the
    same weights, bit for bit, also if the run is interrupted and resumed. With ``torchrun``, the
    processes share every batch.

    Args:
        tokens: Sessions to train on.
        validation: Sessions by which the epoch is selected.
        n_items: Size of the catalogue.
        model_config: The network.
        config: The training configuration.
        seed: Seed of weights, order, preferences, negatives and dropout.
        item_values: Value of each item, such as its price over the mean price; for ``revenue``.
        state_file: File of the run's state until it is done; a run with the same fingerprint
            resumes from it.
        warm_start: The last run's finished state, from which this one continues. If that is of this
            very run, there is nothing left to train.

    Raises:
        ModelError: before any step, if a split is empty, or configuration, device, data and the
            last run are incompatible.
        TrainingDiverged: if the loss is not finite.
    """
    for part, name in ((tokens, "training"), (validation, "validation")):
        if not part.n_sessions:
            msg = f"there are no {name} sessions"
            raise ModelError(msg)
    with (
        distributed_context(config.device) as processes,
        deterministic(config.threads, processes.device),
    ):
        run = _Run(
            tokens, validation, model_config, config, processes,
            n_items=n_items, seed=seed, item_values=item_values, state_file=state_file,
            warm_start=warm_start,
        )  # fmt: skip
        return run.fit()


class _Run:
    """One training run."""

    def __init__(  # noqa: PLR0913 - as train
        self,
        tokens: SessionTokens,
        validation: SessionTokens,
        model_config: ModelConfig,
        config: TrainingConfig,
        processes: ProcessGroup,
        *,
        n_items: int,
        seed: int,
        item_values: NDArray | None,
        state_file: Path | None,
        warm_start: WarmStart | None,
    ) -> None:
        self.tokens = tokens
        self.config = config
        self.processes = processes
        self.seed = seed
        self.state_file = state_file
        self.sampler = CandidateSampler(
            config.negatives, n_items=n_items, popularity_I=torch.from_numpy(tokens.clicks(n_items))
        )
        self.objectives = Objectives(
            config,
            n_items=n_items,
            value_I=None if item_values is None else torch.from_numpy(item_values).float(),
            device=processes.device,
        )
        self.model = build_model(
            model_config,
            n_items=n_items,
            n_objectives=len(config.objectives),
            seed=derived_seed(seed, SeedPurpose.WEIGHTS),
            sparse_items=config.sparse_items,
        ).to(processes.device)
        self.optimizers = build_optimizers(self.model, config)
        loss = BatchLoss(self.model, self.objectives, config)
        self.train_step = TrainStep(loss, config, self.optimizers, processes)
        self.validator = Validator(validation, config, self.objectives, self.sampler, seed=seed)
        n_sessions = min(tokens.n_sessions, config.sessions_per_epoch or tokens.n_sessions)
        self.batches_per_epoch = math.ceil(n_sessions / config.batch_size)
        no_losses_O = torch.zeros(len(config.objectives), dtype=torch.float64)
        self.progress = Progress(loss_sums_O=no_losses_O)
        last = read_state(warm_start.file) if warm_start and warm_start.file.exists() else None
        self.lineage = Lineage(
            source=last and last.digest, items=warm_start and warm_start.items,
            model=asdict(model_config), objectives=tuple(map(asdict, config.objectives)),
        )  # fmt: skip
        fingerprint = partial(
            run_fingerprint, config, n_items=n_items, seed=seed, data=(tokens, validation),
            item_values=item_values,
        )  # fmt: skip
        self.fingerprint = fingerprint(self.lineage)
        if state_file is not None and (saved := load_state(state_file, self.fingerprint)):
            self._resume(saved)
        elif last and warm_start:
            same = replace(self.lineage, source=last.lineage.source)
            if last.fingerprint == fingerprint(same):  # the last run is this one
                self.lineage, self.fingerprint = same, last.fingerprint
                self._resume(last)
            else:
                initial = carry_over(
                    last, warm_start, lineage=self.lineage, fresh=self.model.state_dict(),
                    config=config, tokens=tokens,
                )  # fmt: skip
                self.model.load_state_dict(initial.weights)
                restore_optimizers(self.optimizers, initial.optimizers)
        elif config.initial_items is ItemVectors.CO_OCCURRENCE:
            start_from_co_occurrence(self.model.item_embedding, tokens, seed=seed)
        self.epochs = (self.lineage.source and config.warm_start_epochs) or config.epochs

    def fit(self) -> TrainedModel:
        progress = self.progress
        while progress.epoch <= self.epochs and not progress.is_stale(self.config.patience):
            started, before = time.perf_counter(), progress.positions
            train_O = self._train_epoch()
            rate = (progress.positions - before) / (time.perf_counter() - started)
            validation = self._validate()
            self._log(train_O, validation, rate, time.perf_counter() - started)
            self._close_epoch(train_O, validation)
        best = progress.best
        assert best is not None, "a run has at least one epoch"
        self.model.load_state_dict(best.weights)
        return TrainedModel(
            model=self.model.cpu().eval(),
            curves=progress.curves,
            best_epoch=best.epoch,
            front=best.front,
            reference=tuple(self.objectives.reference_O.tolist()),
        )

    def _train_epoch(self) -> Tensor:
        """Train the rest of the epoch; returns the mean unscaled losses of the whole epoch."""
        progress, epoch = self.progress, self.progress.epoch
        self.model.train()
        batches = shuffled_batches(
            self.tokens,
            batch_size=self.config.batch_size,
            max_length=self.model.config.max_length,
            generator=generator_for(self.seed, SeedPurpose.ORDER, epoch),
            first=progress.step,
            sample=self.config.sessions_per_epoch,
        )
        for batch in track(
            batches,
            self.batches_per_epoch,
            f"epoch {epoch} of {self.epochs}",
            unit="clicks",
            size=lambda batch: int(batch.real_BT.sum()),
            done=progress.step,
        ):
            self._step(batch)
            if progress.step % self.config.save_every == 0:
                self._save()
        return progress.loss_sums_O / progress.positions

    def _step(self, batch: SessionBatch) -> None:
        progress, config = self.progress, self.config
        epoch, step = progress.epoch, progress.step
        done = (epoch - 1) * self.batches_per_epoch + step
        steps = self.epochs * self.batches_per_epoch
        share = learning_rate_share(done, steps, config.warmup_ratio)
        set_learning_rate(self.optimizers, config.learning_rate * share)
        generator = generator_for(self.seed, SeedPurpose.STEP, epoch, step)
        preference_BO = draw_preferences(
            len(batch.sessions),
            config.concentrations,
            config.preference_sampling,
            generator=generator,
        )
        candidates = self.sampler.draw(batch.targets_BT[batch.real_BT], generator)
        with forked_rng(
            derived_seed(self.seed, SeedPurpose.DROPOUT, epoch, step, self.processes.rank)
        ):
            loss, sums_O = self.train_step.step(batch, preference_BO, candidates)
        if not math.isfinite(loss):
            self._stop(f"the loss is {loss} at epoch {epoch}, step {step}", batch)
        progress.step += 1
        progress.loss_sums_O += sums_O
        progress.positions += int(batch.real_BT.sum())

    def _validate(self) -> Validation:
        with self.train_step.autocast():
            validation = self.validator.measure(self.model)
        if not math.isfinite(validation.scalarised):
            epoch = self.progress.epoch
            self._stop(f"the validation loss is {validation.scalarised} after epoch {epoch}")
        return validation

    def _stop(self, words: str, batch: SessionBatch | None = None) -> None:
        ids = "" if batch is None else f" (sessions {batch.sessions.tolist()})"
        saved = self.state_file is not None and load_state(self.state_file, self.fingerprint)
        last = f"The last good state is {self.state_file}" if saved else "No state was saved before"
        msg = (
            f"{words}{ids}; lower training.learning_rate or training.gradient_clip, and check these "
            f"sessions. {last}"
        )
        raise TrainingDiverged(msg)

    def _close_epoch(self, train_O: Tensor, validation: Validation) -> None:
        """Keep the epoch if it is the best, and start the next one."""
        weights = {name: one.detach().clone() for name, one in self.model.state_dict().items()}
        self.progress.close_epoch(train_O, validation, self.objectives.names, weights)
        self._save()

    def _save(self) -> None:
        if self.state_file is None or self.processes.rank:
            return
        save_state(
            self.state_file,
            self.fingerprint,
            self.progress,
            lineage=self.lineage,
            weights=dict(self.model.state_dict()),
            optimizers=optimizer_tensors(self.optimizers),
            scaler=self.train_step.scaler_state(),
        )

    def _resume(self, saved: SavedState) -> None:
        self.progress = saved.progress
        self.model.load_state_dict(saved.weights)
        restore_optimizers(self.optimizers, saved.optimizers)
        self.train_step.restore_scaler(saved.scaler)
        _LOG.info("resumed in epoch %d, step %d", saved.progress.epoch, saved.progress.step)

    def _log(self, train_O: Tensor, validation: Validation, rate: float, seconds: float) -> None:
        epoch, of = self.progress.epoch, self.epochs
        train, held_out = (
            " / ".join(f"{loss:.4f}" for loss in losses_O.tolist())
            for losses_O in (train_O, validation.losses_O)
        )
        volume = f"hypervolume {validation.front.hypervolume:.4f}"
        pace = f"{rate:.0f} clicks/s, {readable_duration((of - epoch) * seconds)} left"
        _LOG.info(f"epoch {epoch} of {of}: train {train}, validation {held_out}, {volume}, {pace}")
