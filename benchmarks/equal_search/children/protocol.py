"""What a peer's process reads and writes, and how long it may train.

It runs in the peers' environment, so it imports numpy and torch only.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

CUTOFF = 20
MAX_INPUTS = 50
CHECKS = 6
"""Validations during training, evenly spaced in time."""
VALIDATION_TARGETS = 2000
"""Targets of the validations during training; the choice of the learning rate uses all."""
_WINDOW_QUANTILE = 0.95
_ROWS = 512


@dataclass(frozen=True)
class Sessions:
    """Concatenated sessions of one split: session s is ``items[offsets[s]:offsets[s + 1]]``."""

    items: np.ndarray
    ordered: np.ndarray
    offsets: np.ndarray

    @classmethod
    def read(cls, file: Path, split: str) -> "Sessions":
        """One split of the log's arrays."""
        with np.load(file) as arrays:
            return cls(*(arrays[f"{split}_{name}"] for name in ("items", "ordered", "offsets")))

    @property
    def number(self) -> int:
        """Number of sessions."""
        return len(self.offsets) - 1

    def __iter__(self) -> Iterator[list[int]]:
        for start, end in zip(self.offsets[:-1], self.offsets[1:], strict=True):
            yield self.items[start:end].tolist()

    def first(self, targets: int) -> "Sessions":
        """The first sessions that have this many targets together, or all."""
        counts = np.cumsum(np.diff(self.offsets) - 1)
        number = int(np.searchsorted(counts, targets)) + 1
        end = self.offsets[: number + 1][-1]
        return Sessions(self.items[:end], self.ordered[:end], self.offsets[: number + 1])

    def targets(self) -> np.ndarray:
        """Every click after the first of its session, session after session."""
        kept = np.ones(len(self.items), dtype=bool)
        kept[self.offsets[:-1]] = False
        return self.items[kept]

    def prefixes(self) -> list[list[int]]:
        """The clicks before every target, at most ``MAX_INPUTS``, in the targets' order."""
        return [
            session[max(0, place - MAX_INPUTS) : place]
            for session in self
            for place in range(1, len(session))
        ]


@dataclass(frozen=True)
class Vectors:
    """Scores as products: item i of target p scores ``table_ID[i] @ hidden_PD[p]``."""

    hidden_PD: Tensor
    table_ID: Tensor

    def recall(self, targets: np.ndarray) -> float:
        """Recall@20, to keep the best state; the benchmark ranks by the product's own code."""
        wanted_P = torch.from_numpy(targets.astype(np.int64))
        hits = 0
        for rows in torch.arange(len(wanted_P)).split(_ROWS):
            scores = self.hidden_PD[rows] @ self.table_ID.T
            own = scores.gather(1, wanted_P[rows, None])
            hits += int(((scores > own).sum(dim=1) < CUTOFF).sum())
        return hits / len(wanted_P)


@dataclass
class Budget:
    """Training time, in processor seconds of this process, which has one thread.

    :meth:`is_spent` is called after every step. It validates at even intervals, inside the time,
    and keeps the state with the best validation.

    Attributes:
        seconds: The time, from the first call of :meth:`start`.
        validate: The validation Recall@20 of the present state.
        state: The present state's tensors.
        clock: Seconds; another one for tests.
    """

    seconds: float
    validate: Callable[[], float]
    state: Callable[[], dict[str, Tensor]]
    clock: Callable[[], float] = time.process_time
    best: dict[str, Tensor] = field(default_factory=dict)
    best_recall: float = -1.0
    steps: int = 0
    used: float = 0.0
    _started: float | None = None
    _checked: int = 0

    def start(self) -> None:
        """Training begins."""
        self._started = self.clock()

    @property
    def is_started(self) -> bool:
        """Whether training began."""
        return self._started is not None

    def is_spent(self) -> bool:
        """Count a step; whether training is over."""
        assert self._started is not None, "start() is called first"
        self.steps += 1
        self.used = self.clock() - self._started
        if self.used >= self.seconds * (self._checked + 1) / CHECKS:
            self._checked = int(self.used / self.seconds * CHECKS)
            self._keep_best()
            self.used = self.clock() - self._started
        return self.used >= self.seconds

    def _keep_best(self) -> None:
        recall = self.validate()
        if recall > self.best_recall:
            self.best_recall = recall
            self.best = {name: one.detach().clone() for name, one in self.state().items()}


@dataclass(frozen=True)
class Task:
    """One run of one peer.

    Attributes:
        log: File of the log's arrays.
        output: File of the vectors to write.
        program: Name of the peer.
        setting: What is searched, by name, such as the learning rate.
        seed: Of everything random.
        seconds: Training time.
        checkout: Folder of the peer's code; None if it is installed.
    """

    log: Path
    output: Path
    program: str
    setting: dict[str, Any]
    seed: int
    seconds: float
    checkout: Path | None = None

    @property
    def n_items(self) -> int:
        """Size of the catalogue."""
        with np.load(self.log) as arrays:
            return int(arrays["n_items"])

    def split(self, name: str) -> Sessions:
        """One split of the log."""
        return Sessions.read(self.log, name)

    @property
    def window(self) -> int:
        """Clicks a padded program looks back: as many as 95% of the train sessions have, up to 50.

        Programs that pad every session to its longest would compute padding most of their time.
        """
        lengths = np.diff(self.split("train").offsets)
        return int(min(MAX_INPUTS, np.quantile(lengths, _WINDOW_QUANTILE)))


def seed_everything(seed: int) -> None:
    """Seed the global generators, as the peers know no other."""
    torch.manual_seed(seed)  # noqa: TID251
    np.random.seed(seed)  # noqa: NPY002, TID251


def write_vectors(task: Task, vectors: Callable[[Sessions], Vectors]) -> None:
    """Write the vectors of all validation and test targets."""
    found = {name: vectors(task.split(name)) for name in ("validation", "test")}
    np.savez(
        task.output,
        table=found["test"].table_ID.numpy(),
        **{name: one.hidden_PD.numpy() for name, one in found.items()},
    )
