"""A log through the product's own reader, rules and splits.

Not part of ``logs``: a run of seconds should not import the whole product.
"""

from pathlib import Path

import numpy as np
import yaml
from logs import Log

from models.tokens import SessionTokens
from pipeline.artifacts.storage import StudyPaths
from pipeline.core.contracts import Split
from pipeline.sessions.token_store import open_times, open_tokens
from pipeline.steps.run import run
from pipeline.study import PARAMS_FILE, load_study
from pipeline.synthetic.generate_log import generate_log

ROOT = Path(__file__).parents[2]
SHOP = "synthetic-shop"
SECTIONS = {
    SHOP: {},
    "yoochoose": {
        "dataset": {"format": "yoochoose"},
        "sessions": {"min_item_support": 1, "test_sessions": 0.25, "validation_sessions": 0.15},
    },
    "jdata": {
        "dataset": {"format": "jdata"},
        "sessions": {"min_item_support": 2, "test_sessions": 0.2, "validation_sessions": 0.1},
    },
}
"""What differs from the default study."""


def prepare(name: str, raw: Path | None, root: Path) -> Log:
    """Prepare a log in the folder ``root``; the synthetic shop's, which has no ``raw``, is generated."""
    values = yaml.safe_load((ROOT / PARAMS_FILE).read_text("utf-8"))
    for section, changes in SECTIONS[name].items():
        values[section] |= changes
    if raw is not None:
        values["study"]["name"] = name
        values["dataset"]["path"] = str(raw.resolve())
        values["experiment"]["source"] = "held-out-replay"
    (root / PARAMS_FILE).write_text(yaml.safe_dump(values), encoding="utf-8")
    study = load_study(root / PARAMS_FILE)
    if raw is None:
        generate_log(study.synthetic, root / study.dataset.path)
    paths = StudyPaths.of(study, root)
    run(study, paths, until="sessions")
    tokens = paths.require("sessions", "tokens.safetensors")
    splits = [in_order_of_time(tokens, split) for split in Split]
    return Log(*splits, n_items=1 + max(int(one.items.max()) for one in splits))


def in_order_of_time(file: Path, split: Split) -> SessionTokens:
    """A split's sessions, the first one first; the store's order is random."""
    tokens = open_tokens(file, split)
    starts = open_times(file, split)[tokens.offsets[:-1]]
    return tokens.take(np.argsort(starts, kind="stable"))
