"""Ten weekly retrains in a drifting shop: training from scratch against warm starts.

    python benchmarks/warm_starts.py --write

The synthetic shop changes every week: items are launched and leave, and popularity drifts. Each
retrain trains on the sessions of the last four weeks, and is tested on the first sessions of the week after.
A warm start continues from the model of the week before, as ``training.warm_start_epochs`` does. Cost is
processor time, of training and validation. ``--write`` writes ``results/warm_starts.md`` and ``.json``.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from machine import described, use_two_cores
from numpy.typing import NDArray
from torch import Tensor

from models.batching import ordered_batches
from models.fronts import metric_front
from models.network.configuration import ModelConfig
from models.network.model import ConditionedSessionModel
from models.objectives.configuration import Negatives
from models.preferences import preference_grid
from models.scoring.target_scores import score_targets
from models.tokens import SessionTokens
from models.training.configuration import TrainingConfig
from models.training.loop import train
from models.training.warm_start import WarmStart
from pipeline.study import SyntheticConfig
from pipeline.synthetic.catalogue import make_catalogue
from pipeline.synthetic.generate_log import simulate_browsing
from pipeline.synthetic.shop import Shop
from pipeline.synthetic.users import make_users

RESULTS = Path(__file__).parent / "results"
RETRAINS, WINDOW = 10, 4
SHOP = SyntheticConfig(items=2000, users=10_000, sessions=2500, days=7)
"""A week of the shop; the items are all that are ever sold."""
LIFETIME, DRIFT = 25, 0.25
"""Mean number of weeks that an item is sold; deviation of a week's change of its log popularity."""
SUPPORT, VALIDATION, TEST, CUTOFF, PREFERENCES = 5, 400, 1500, 20, 11
EPOCHS = 10
MODEL = ModelConfig()
TRAINING = TrainingConfig(
    negatives=Negatives(uniform=512),
    epochs=EPOCHS,
    batch_size=128,
    learning_rate=0.005,
    device="cpu",
    threads=1,
)
"""Network and training of the default study."""

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A way to retrain every week.

    Attributes:
        epochs: Passes over the sessions it trains on.
        is_warm: Whether it continues from its model of the week before.
        replay: Share of the sessions of the older weeks that it trains on, besides the last week's.
    """

    epochs: int
    is_warm: bool
    replay: float = 1.0


VARIANTS = {
    "from scratch": Variant(epochs=EPOCHS, is_warm=False),
    "from scratch, 40% of the epochs": Variant(epochs=4, is_warm=False),
    "warm, 40%": Variant(epochs=4, is_warm=True),
    "warm, 20%": Variant(epochs=2, is_warm=True),
    "warm, 10%": Variant(epochs=1, is_warm=True),
    "warm, last week and 1/3 of the older sessions, 20% of the clicks": Variant(
        epochs=4, is_warm=True, replay=1 / 3
    ),
}


@dataclass(frozen=True, slots=True)
class Clicks:
    """Clicks of sessions in order: session, item and whether the session ordered the item."""

    session: Ints
    item: Ints
    ordered: NDArray[np.bool_]

    def where(self, kept: NDArray[np.bool_]) -> "Clicks":
        """Some of the clicks."""
        return Clicks(self.session[kept], self.item[kept], self.ordered[kept])

    def of(self, sessions: Ints) -> "Clicks":
        """The clicks of some sessions."""
        return self.where(np.isin(self.session, sessions))

    def tokens(self, items: Ints) -> SessionTokens:
        """The clicks on ``items`` of sessions with two of them; item i has index i."""
        place = np.minimum(np.searchsorted(items, self.item), len(items) - 1)
        known = self.where(items[place] == self.item)
        _, inverse, counts = np.unique(known.session, return_inverse=True, return_counts=True)
        known = known.where(counts[inverse] >= 2)
        _, counts = np.unique(known.session, return_counts=True)
        return SessionTokens(
            items=np.searchsorted(items, known.item).astype(np.int32),
            ordered=known.ordered.astype(np.uint8),
            carted=np.zeros(len(known.item), dtype=np.uint8),
            offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        )


def drifting_weeks(number: int, seed: int) -> Iterator[Clicks]:
    """Weeks of a shop whose items come and go, and whose popularity drifts; sessions in order of time."""
    rng = np.random.default_rng(seed)
    base = make_catalogue(SHOP, rng)
    users = make_users(SHOP, SHOP.users, rng)
    launched = rng.integers(-2 * LIFETIME, number, SHOP.items)
    left = launched + rng.integers(1, 2 * LIFETIME, SHOP.items)
    trend = np.zeros(SHOP.items)
    for week in range(number):
        factor = np.exp(trend) * ((launched <= week) & (week < left))
        related = (1000 * base.neighbour_weight * factor[base.neighbours]).astype(np.int64)
        related[related.sum(axis=1) == 0] = 1
        popularity = (base.popularity * factor).astype(np.int64)
        shop = Shop.open(replace(base, popularity=popularity, neighbour_weight=related))
        found = simulate_browsing(shop, users, SHOP, rng=rng)
        row, step = np.nonzero(np.arange(found.clicks.shape[1]) < found.length[:, None])
        item = found.clicks[row, step]
        pair = row * SHOP.items + item
        ordered = np.isin(pair, pair[found.ordered[row, step]])
        yield Clicks(row + week * SHOP.sessions, item, ordered)
        trend += rng.normal(0, DRIFT, SHOP.items)


@dataclass(frozen=True, slots=True)
class Retrain:
    """What a week's retrain trains on and is tested on."""

    items: Ints
    window: Clicks
    validation: SessionTokens
    test: SessionTokens

    @classmethod
    def of(cls, weeks: list[Clicks]) -> "Retrain":
        """The last week is that of the test; the sessions before it validate."""
        window = Clicks(
            *(np.concatenate(one) for one in zip(*map(_arrays, weeks[:-1]), strict=True))
        )
        first = window.session[-1] + 1 - VALIDATION
        train, validation = (
            window.where(window.session < first),
            window.where(window.session >= first),
        )
        items, clicks = np.unique(train.item, return_counts=True)
        items = items[clicks >= SUPPORT]
        test = weeks[-1].where(weeks[-1].session < weeks[-1].session[0] + TEST)
        return cls(items, train, validation.tokens(items), test.tokens(items))

    def train(self, replay: float) -> SessionTokens:
        """The sessions of the last week, and a share of the older ones."""
        sessions = np.unique(self.window.session)
        is_old = sessions < sessions[-1] - (SHOP.sessions - VALIDATION)
        kept = np.random.default_rng(0).random(len(sessions)) < replay
        return self.window.of(sessions[~is_old | kept]).tokens(self.items)


def _arrays(clicks: Clicks) -> tuple[NDArray, ...]:
    return clicks.session, clicks.item, clicks.ordered


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One retrain of one variant.

    Attributes:
        seconds: Processor time.
        recall: Recall@20 of the click-only endpoint.
        mrr: MRR@20 of it.
        hypervolume: That of the front of Recall@20 and OD@20.
        recall_span: Largest over smallest Recall@20 of the front, minus 1.
        overlap: Mean share of a list of 20 that the model of the week before recommends, too, to the same
            session under the same preference; among the items that both know.
        shift: Mean distance from a preference to the one of the week before with the most similar lists, of the
            way from one endpoint to the other; 0 is aligned.
    """

    seconds: float
    recall: float
    mrr: float
    hypervolume: float
    recall_span: float
    overlap: float | None
    shift: float | None


Fitted = tuple[ConditionedSessionModel, Ints]


def retrain(
    week: Retrain, variant: Variant, folder: Path, seed: int, before: Fitted | None
) -> tuple[Measured, Fitted]:
    """Train as the variant does, and measure."""
    tokens = week.train(variant.replay)
    state, finished = folder / "state.safetensors", folder / "finished.safetensors"
    if not variant.is_warm:
        finished.unlink(missing_ok=True)
    is_first = before is None
    config = replace(
        TRAINING,
        epochs=EPOCHS if is_first or variant.is_warm else variant.epochs,
        warm_start_epochs=variant.epochs if variant.is_warm else None,
    )
    started = time.process_time()
    trained = train(
        week.train(1.0) if is_first else tokens,
        week.validation,
        n_items=len(week.items),
        model_config=MODEL,
        config=config,
        seed=seed,
        state_file=state,
        warm_start=WarmStart(file=finished, items=tuple(map(str, week.items))),
    )
    seconds = time.process_time() - started
    state.replace(finished)
    fitted = trained.model, week.items
    return measure(fitted, before, week, seconds), fitted


def measure(fitted: Fitted, before: Fitted | None, week: Retrain, seconds: float) -> Measured:
    """Quality on the test sessions, and how the lists follow those of the week before."""
    grid = preference_grid(PREFERENCES)
    scores = score_targets(fitted[0], week.test, grid, with_click_loss=False)
    points = np.array([one.recall_and_order_density(CUTOFF) for one in scores])
    rank = scores[-1].rank
    front = metric_front(points, grid.double().numpy())
    overlap, shift = (None, None) if before is None else alignment(fitted, before, week.test, grid)
    return Measured(
        seconds=seconds,
        recall=float(points[:, 0].max()),
        mrr=float(np.where(rank <= CUTOFF, 1 / rank, 0).mean()),
        hypervolume=front.hypervolume,
        recall_span=front.spans[0] or 0.0,
        overlap=overlap,
        shift=shift,
    )


def alignment(
    now: Fitted, before: Fitted, tokens: SessionTokens, grid: Tensor
) -> tuple[float, float]:
    """Overlap and shift, see :class:`Measured`."""
    common = np.intersect1d(now[1], before[1])
    kept = np.isin(now[1][tokens.items], common)
    session = np.repeat(np.arange(tokens.n_sessions), tokens.lengths)
    same = Clicks(session, now[1][tokens.items], tokens.ordered > 0).where(kept)
    new, old = (listed(one, same, common, grid) for one in (now, before))
    both_GG = torch.einsum("gbi,hbi->gh", new, old).numpy() / (new.shape[1] * CUTOFF)
    steps = np.abs(both_GG.argmax(axis=1) - np.arange(len(grid))) / (len(grid) - 1)
    return float(both_GG.diagonal().mean()), float(steps.mean())


@torch.no_grad()
def listed(fitted: Fitted, clicks: Clicks, common: Ints, grid: Tensor) -> Tensor:
    """Whether an item is in the list after a session's last click; G × B × common items."""
    model, items = fitted
    tokens, column = clicks.tokens(items), torch.from_numpy(np.searchsorted(items, common))
    found = torch.zeros(len(grid), tokens.n_sessions, len(common))
    for batch in ordered_batches(tokens, batch_size=256, max_length=model.config.max_length):
        for row, preference_O in enumerate(grid):
            hidden_BTD = model(
                batch.inputs_BT, batch.lengths_B, preference_O.expand(len(batch.sessions), -1)
            )
            last_BD = hidden_BTD[torch.arange(len(batch.sessions)), batch.lengths_B - 1]
            top_BK = model.score_all(last_BD)[:, column].topk(CUTOFF).indices
            found[row, torch.from_numpy(batch.sessions)[:, None], top_BK] = 1
    return found


def main() -> None:
    """Run all variants, and print or write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--retrains", type=int, default=RETRAINS)
    parser.add_argument("--variants", nargs="*", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    use_two_cores()
    torch.set_num_threads(1)
    found = run(arguments.variants, arguments.retrains, arguments.seed)
    text = report(found)
    print(text)
    if arguments.write:
        values = {name: [asdict(one) for one in rows] for name, rows in found.items()}
        content = {"machine": described("torch", "numpy"), "retrains": values}
        (RESULTS / "warm_starts.json").write_text(json.dumps(content, indent=1) + "\n", "utf-8")
        (RESULTS / "warm_starts.md").write_text(text, encoding="utf-8")


def run(names: list[str], retrains: int, seed: int) -> dict[str, list[Measured]]:
    """The retrains of every variant, after a first model that all variants share."""
    weeks = list(drifting_weeks(WINDOW + retrains + 1, seed))
    retrained = [Retrain.of(weeks[n : n + WINDOW + 1]) for n in range(retrains + 1)]
    found: dict[str, list[Measured]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as temporary:
        folders = {name: Path(temporary) / str(n) for n, name in enumerate(names)}
        first = Variant(epochs=EPOCHS, is_warm=False)
        base = Path(temporary)
        _, fitted = retrain(retrained[0], first, base, seed, None)
        last = dict.fromkeys(names, fitted)
        for folder in folders.values():
            folder.mkdir()
            shutil.copy(base / "finished.safetensors", folder)
        for number, week in enumerate(retrained[1:], 1):
            for name in names:
                measured, last[name] = retrain(
                    week, VARIANTS[name], folders[name], seed + number, last[name]
                )
                found[name].append(measured)
                print(number, name, measured, file=sys.stderr, flush=True)
    return found


def report(found: dict[str, list[Measured]]) -> str:
    """The table, as Markdown; ratios are to training from scratch, with their standard error over the weeks."""
    lines = [
        "# Warm starts of weekly retrains",
        "",
        f"`python benchmarks/warm_starts.py --write` on {described('torch', 'numpy')}",
        "",
        __doc__.split("\n\n")[2].replace("\n", " ").split(" ``--write``")[0],
        "",
        (
            f"{SHOP.sessions:,} sessions a week, {SHOP.items:,} items of which two fifths are sold at a time; an item "
            f"is sold for {LIFETIME} weeks on average, and log popularity changes by {DRIFT} (standard deviation) a "
            f"week. From scratch, {EPOCHS} epochs are about {EPOCHS * (WINDOW * SHOP.sessions - VALIDATION) // TRAINING.batch_size} "
            f"steps. Means over {len(next(iter(found.values())))} retrains after a first model that all share. Recall@20 "
            "and MRR@20 are those of the click-only endpoint. Overlap: of a list of 20, the share that the model of the "
            "week before recommends, too, to the same session under the same preference. Shift: distance from a "
            "preference to the one of the week before with the most similar lists, 1 from endpoint to endpoint."
        ),
        "",
        "| retrain | processor seconds | Recall@20 | MRR@20 | hypervolume | span of Recall@20 | overlap | shift |",
        "|---|---|---|---|---|---|---|---|",
    ]
    base = found.get("from scratch")
    for name, rows in found.items():
        cells = [
            _cell(column, rows, base if column in _COMPARED else None)
            for column in Measured.__slots__
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


_COMPARED = {"seconds", "recall", "mrr", "hypervolume"}


def _cell(column: str, rows: list[Measured], base: list[Measured] | None) -> str:
    value = np.array([getattr(one, column) for one in rows])
    text = f"{value.mean():.1f}" if column == "seconds" else f"{value.mean():.4f}"
    if base is None or base is rows:
        return text
    ratio = value / np.array([getattr(one, column) for one in base])
    error = ratio.std(ddof=1) / len(ratio) ** 0.5
    return f"{text} ({ratio.mean():.3f} ± {error:.3f})"


if __name__ == "__main__":
    main()
