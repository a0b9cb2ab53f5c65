"""The four logs of the comparison, prepared once as arrays that every program reads.

Of a validation or test session longer than the window, the last clicks count, for every program.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from logs import Log, retailrocket

from models.tokens import SessionTokens

WINDOW = 51
"""Clicks of a session that are scored: 50 targets and the click before the first."""
SCORED = {"validation": 800, "test": 2000}
"""Sessions at most; the earliest."""
SAMPLE = ("yoochoose", "jdata")
"""Logs that are a small sample of the published one."""
NAMES = ("synthetic-shop", "retailrocket", *SAMPLE)
_SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class PeerLog:
    """A log in its folder of the benchmark.

    Attributes:
        name: One of ``NAMES``.
        file: The arrays: items, ordered and offsets of each split, and the number of items.
        log: The same, in memory.
    """

    name: str
    file: Path
    log: Log

    @property
    def has_orders(self) -> bool:
        """Whether clicks have order labels, so that the second objective is order."""
        return bool(self.log.train.ordered.any())

    def describe(self) -> str:
        """Its sizes, in words."""
        splits = ((name, getattr(self.log, name)) for name in _SPLITS)
        sizes = ", ".join(
            f"{name} {tokens.n_sessions:,} sessions with {len(tokens.items) - tokens.n_sessions:,} "
            "targets"
            for name, tokens in splits
        )
        return f"{self.log.n_items:,} items; {sizes}"


def open_log(name: str, arguments: argparse.Namespace) -> PeerLog:
    """The log's arrays in ``arguments.work``, which are prepared the first time."""
    file = arguments.work / name / "log.npz"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        _write(_prepare(name, arguments), file)
    return PeerLog(name, file, read(file))


def read(file: Path) -> Log:
    """The log of a file that :func:`open_log` wrote."""
    with np.load(file) as arrays:
        splits = (
            SessionTokens(
                items=arrays[f"{split}_items"],
                ordered=arrays[f"{split}_ordered"],
                carted=np.zeros_like(arrays[f"{split}_ordered"]),
                offsets=arrays[f"{split}_offsets"],
            )
            for split in _SPLITS
        )
        return Log(*splits, n_items=int(arrays["n_items"]))


def _prepare(name: str, arguments: argparse.Namespace) -> Log:
    if name == "retailrocket":
        return retailrocket(arguments.retailrocket, validation=1000, test=3000)
    from equal_search.prepare import prepare  # noqa: PLC0415 - the whole product

    return prepare(name, getattr(arguments, name, None), arguments.work / name)


def last_clicks(tokens: SessionTokens, window: int) -> SessionTokens:
    """The last ``window`` clicks of each session."""
    ends = tokens.offsets[1:]
    from_end = np.repeat(ends, tokens.lengths) - np.arange(len(tokens.items))
    kept = from_end <= window
    lengths = np.minimum(tokens.lengths, window)
    return SessionTokens(
        items=tokens.items[kept],
        ordered=tokens.ordered[kept],
        carted=tokens.carted[kept],
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
    )


def _write(log: Log, file: Path) -> None:
    arrays = {"n_items": np.array(log.n_items)}
    for split in _SPLITS:
        tokens = getattr(log, split)
        if split != "train":
            tokens = last_clicks(tokens, WINDOW)
            tokens = tokens.take(np.arange(min(SCORED[split], tokens.n_sessions)))
        arrays |= {f"{split}_{name}": getattr(tokens, name) for name in ("items", "ordered")}
        arrays[f"{split}_offsets"] = tokens.offsets
    temporary = file.with_name("new.npz")
    np.savez(temporary, **arrays)
    temporary.replace(file)
