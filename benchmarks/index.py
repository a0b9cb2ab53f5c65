"""Exact lists against those of ``serving.index: faiss-ivf-sq8``: latency, recall@20, build time and memory.

    python benchmarks/index.py --write

The functions are those of the endpoint. Each table is measured in a process of its own, with one thread, as
``serving.threads`` is by default; exact and index take turns. No model of a million items is at hand, so tables are
drawn: *clustered*, as embeddings of categories are, and *without structure*, the worst case for any index. The recall
of a trained model is that of the finished study in the folder ``--study``. ``--write`` updates ``results/index.md``.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from machine import described, run_alone, use_two_cores

from models.checkpoint import load_checkpoint
from models.network.configuration import ModelConfig
from models.network.model import ConditionedSessionModel, build_model
from models.preferences import preference_grid
from models.scoring.recommend import best_items
from pipeline.artifacts.storage import StudyPaths
from pipeline.core.contracts import Split
from pipeline.serving.ranking.item_index import ItemIndex, K, sampled_sessions
from pipeline.sessions.catalogue import item_ids, read_catalogue
from pipeline.sessions.token_store import open_tokens
from pipeline.study import IndexKind, load_study

RESULTS = Path(__file__).parent / "results" / "index.md"
ITEMS = (100_000, 1_860_000)
WIDTHS = (64, 128)
TABLES = ("clustered", "without structure")
QUERIES = 128
BATCH = 32
ROUNDS = 15
CLUSTERS_PER_ITEMS = 200


def main() -> None:
    """Parse the command line and run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--study", type=Path, help="project with a finished study")
    parser.add_argument("--part", nargs=3, metavar=("ITEMS", "WIDTH", "TABLE"), help="one table")
    arguments = parser.parse_args()
    if arguments.part:
        items, width, table = arguments.part
        print(json.dumps(measure(int(items), int(width), table)))
        return
    use_two_cores()
    lines = head() + [row(*one) for one in parts()]
    load = f"{os.getloadavg()[2]:.0f}"
    lines += ["", f"Other programs ran beside it (load average {load}), so the ratios count."]
    if arguments.study:
        lines += of_model(arguments.study)
    text = "\n".join(lines) + "\n"
    print(text)
    if arguments.write:
        RESULTS.write_text(text, encoding="utf-8")


def head() -> list[str]:
    """Title and heads of the table."""
    return [
        "# Exact lists against those of an index",
        "",
        f"`python benchmarks/index.py --study … --write` on {described('torch', 'numpy', 'faiss-cpu')}",
        "",
        f"Milliseconds to find the {K} best items, one thread; medians of {ROUNDS} rounds in which both take turns. `{BATCH}` is a",
        f"batch of {BATCH} sessions, per session. Memory is what the index adds to the table of the model.",
        "",
        f"| items | width | table | exact, 1 | index, 1 | ratio | exact, {BATCH} | index, {BATCH} | ratio | recall@{K} | lists, searched | build | memory |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]


def parts() -> list[tuple[int, int, str, dict[str, float]]]:
    """What each table's process has measured."""
    found = []
    for items in ITEMS:
        for width in WIDTHS:
            for table in TABLES:
                command = [sys.executable, __file__, "--part", str(items), str(width), table]
                result, _ = run_alone(command, OMP_NUM_THREADS="1")
                found.append((items, width, table, result))
                print(row(*found[-1]), file=sys.stderr, flush=True)
    return found


def row(items: int, width: int, table: str, found: dict[str, float]) -> str:
    """One line of the table."""
    one, many = (found["exact 1"], found["index 1"]), (found["exact 32"], found["index 32"])
    cells = [
        f"{items:,}",
        str(width),
        table,
        *(f"{value:.2f}" for value in one),
        f"{one[0] / one[1]:.1f}",
        *(f"{value:.2f}" for value in many),
        f"{many[0] / many[1]:.1f}",
        f"{found['recall']:.3f}",
        f"{found['lists']:.0f}, {found['probes']:.0f}",
        f"{found['build']:.1f} s",
        f"{found['memory']:.0f} MB",
    ]
    return f"| {' | '.join(cells)} |"


@torch.no_grad()
def measure(items: int, width: int, table: str) -> dict[str, float]:
    """Latency, recall, build time and memory of one table."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(1)
    config = ModelConfig(hidden_size=width, layers=1, heads=1, max_length=2)
    model = build_model(config, n_items=items, n_objectives=2, seed=1)
    model.item_embedding.weight.data = drawn(items, width, table, generator).T.contiguous().T
    weight_ID = model.item_embedding.weight.data
    near = torch.randint(items, (QUERIES,), generator=generator)
    noise_QD = torch.randn(QUERIES, width, generator=generator)
    hidden_QD = noise_QD if table == TABLES[1] else weight_ID[near] + noise_QD
    import_module("faiss")
    before = resident()
    index = ItemIndex.build(IndexKind.FAISS_IVF_SQ8, weight_ID, [], threads=1)
    memory = resident() - before
    seconds = latencies(model, index, hidden_QD)
    return {
        **seconds,
        "recall": recall(model, index, hidden_QD),
        "lists": index.lists,
        "probes": index.probes,
        "build": index.seconds,
        "memory": memory / 1e6,
    }


def drawn(items: int, width: int, table: str, generator: torch.Generator) -> torch.Tensor:
    """Item embeddings: around a centre for every 200 items, or independent."""
    noise_ID = torch.randn(items, width, generator=generator)
    if table == TABLES[1]:
        return noise_ID
    centres_CD = 2 * torch.randn(items // CLUSTERS_PER_ITEMS, width, generator=generator)
    return noise_ID + centres_CD[torch.randint(len(centres_CD), (items,), generator=generator)]


def resident() -> int:
    """Bytes of memory of this process."""
    pages = Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]
    return int(pages) * 4096


def exact(model: ConditionedSessionModel, hidden_BD: torch.Tensor) -> np.ndarray:
    """The best items of all, as the endpoint finds them."""
    return best_items(model.score_all(hidden_BD), K)[1].numpy()


def indexed(
    model: ConditionedSessionModel, index: ItemIndex, hidden_BD: torch.Tensor
) -> np.ndarray:
    """The best of the index's candidates, as the endpoint finds them."""
    items_BN, scores_BN = index.candidates(model, hidden_BD, index.searched(K))
    order_BK = np.argsort(-scores_BN, axis=1, kind="stable")[:, :K]
    return np.take_along_axis(items_BN, order_BK, axis=1)


def latencies(
    model: ConditionedSessionModel, index: ItemIndex, hidden_QD: torch.Tensor
) -> dict[str, float]:
    """Median milliseconds per query of both, alone and in a batch."""
    ways: dict[str, Callable[[torch.Tensor], np.ndarray]] = {
        "exact": lambda hidden_BD: exact(model, hidden_BD),
        "index": lambda hidden_BD: indexed(model, index, hidden_BD),
    }
    found: dict[str, list[float]] = {}
    for number in range(ROUNDS):
        for size in (1, BATCH):
            start = number * size % (QUERIES - size + 1)
            for name, way in ways.items():
                began = time.perf_counter()
                way(hidden_QD[start : start + size])
                elapsed = time.perf_counter() - began
                found.setdefault(f"{name} {size}", []).append(1000 * elapsed / size)
    return {name: statistics.median(values) for name, values in found.items()}


def recall(model: ConditionedSessionModel, index: ItemIndex, hidden_QD: torch.Tensor) -> float:
    """Share of the exact lists that the index finds."""
    hits = 0
    for start in range(0, QUERIES, BATCH):
        some_BD = hidden_QD[start : start + BATCH]
        pairs = zip(exact(model, some_BD), indexed(model, index, some_BD), strict=True)
        hits += sum(len(np.intersect1d(*pair)) for pair in pairs)
    return hits / (K * QUERIES)


def of_model(project: Path) -> list[str]:
    """Recall of a study's own model, by preference, as the endpoint measures it."""
    study = load_study(project / "params.yaml")
    paths = StudyPaths.of(study, project)
    items = item_ids(read_catalogue(paths))
    model = load_checkpoint(paths.require("conditioned_model"), items=items)
    tokens = open_tokens(paths.require("sessions", "tokens.safetensors"), Split.TEST)
    sample = sampled_sessions(tokens, study.study.seed)
    table_ID = model.item_embedding.weight.data
    index = ItemIndex.build(IndexKind.FAISS_IVF_SQ8, table_ID, sample, threads=1)
    grid = preference_grid(5, model.n_objectives).tolist()
    values = [index.recall(model, tuple(preference)) for preference in grid]
    heads = [" / ".join(f"{weight:g}" for weight in preference) for preference in grid]
    return [
        "",
        f"## Recall@{K} of a trained model, by preference",
        "",
        f"The default study: {len(items):,} items, width {table_ID.shape[1]}; {index.lists} lists of which {index.probes} are searched.",
        f"Over {len(sample)} test sessions; weights of {' / '.join(study.training.losses)}.",
        "",
        f"| {' | '.join(heads)} |",
        "|---" * len(heads) + "|",
        f"| {' | '.join(f'{value:.3f}' for value in values)} |",
    ]


if __name__ == "__main__":
    main()
