"""One run of one peer, in its own environment: ``python peer.py TASK``, a JSON object.

Trains, writes the vectors of all targets, and prints what it took as one line of JSON.
"""

import importlib
import json
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from equal_search.children.protocol import Task, write_vectors

ROOMS = {
    "SASRec": "rectools_peers",
    "BERT4Rec": "rectools_peers",
    "GRU4Rec": "gru4rec",
    "MultiTRON": "multitron_peer",
}
PACKAGES = ("torch", "rectools", "pytorch-lightning", "numpy")


def main(text: str) -> None:
    """Run the task."""
    torch.set_num_threads(1)
    fields = json.loads(text)
    for name in ("log", "output", "checkout"):
        fields[name] = fields.get(name) and Path(fields[name])
    task = Task(**fields)
    room = importlib.import_module(f"equal_search.children.{ROOMS[task.program]}")
    budget, vectors = room.train(task)
    write_vectors(task, vectors)
    print(json.dumps({"seconds": budget.used, "steps": budget.steps, "versions": versions()}))


def versions() -> dict[str, str]:
    """Versions of the packages that are installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


if __name__ == "__main__":
    main(sys.argv[1])
