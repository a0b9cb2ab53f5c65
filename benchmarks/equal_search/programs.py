"""The programs, and the settings that each one's search tries: as many for each.

The peers' other settings are what their authors recommend; see ``PROGRAMS``.
"""

from dataclasses import dataclass, field
from typing import Any

Setting = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A recommender of the comparison.

    Attributes:
        source: Where it is from, in words.
        searched: What the search tries: values of one key, or whole settings.
        fixed: Its other settings, in all logs.
        by_log: Its other settings in one log.
        checkout: Argument of the folder of its code; None if it is installed.
        is_ours: Whether it is trained by this project.
        is_trained: Whether it is trained for the time; a method without training is fitted once.
    """

    source: str
    searched: tuple[Setting, ...]
    fixed: Setting = field(default_factory=dict)
    by_log: dict[str, Setting] = field(default_factory=dict)
    checkout: str | None = None
    is_ours: bool = False
    is_trained: bool = True

    def settings(self, log: str) -> list[Setting]:
        """What the search tries on a log."""
        return [{**self.fixed, **self.by_log.get(log, {}), **one} for one in self.searched]


def _rates(*values: float) -> tuple[Setting, ...]:
    return tuple({"learning_rate": value} for value in values)


_RECTOOLS = Program(
    source="RecTools, its defaults at width 64",
    searched=_rates(1e-3, 3e-3, 1e-2, 3e-2),
    fixed={"loss": "sampled_softmax", "n_negatives": 64},
    by_log={"yoochoose": {"loss": "softmax", "n_negatives": 1}},
)
"""The softmax over the whole catalogue where that is small, else 64 negatives: on the shop, SASRec
has a Recall@20 of 0.23 with them and of 0.10 with the whole catalogue after the same 20 seconds."""
OURS, OURS_ALONE = "ours, click endpoint", "ours, clicks alone"

PROGRAMS = {
    OURS: Program(
        source="the default study's network and training, conditioned on the preference",
        searched=_rates(7e-4, 2e-3, 6e-3, 1.8e-2),
        is_ours=True,
    ),
    OURS_ALONE: Program(
        source="the same network, every preference drawn at the click endpoint",
        searched=_rates(7e-4, 2e-3, 6e-3, 1.8e-2),
        fixed={"clicks_alone": True},
        is_ours=True,
    ),
    "SASRec": _RECTOOLS,
    "BERT4Rec": _RECTOOLS,
    "GRU4Rec": Program(
        source="the official PyTorch version, its parameter file, one layer of 64",
        searched=_rates(2e-2, 6e-2, 1.8e-1, 5.4e-1),
        fixed={"parameters": "rees46_xe_shared_best.py"},
        by_log={
            "retailrocket": {"parameters": "retailrocket_bprmax_shared_best.py"},
            "yoochoose": {"parameters": "yoochoose_xe_shared_best.py"},
        },
        checkout="gru4rec",
    ),
    "MultiTRON": Program(
        source="the paper's code, of its negatives 100 count, at its click endpoint",
        searched=_rates(1e-3, 3e-3, 1e-2, 3e-2),
        fixed={"negatives": 512},
        by_log={"retailrocket": {"negatives": 2048}},
        checkout="multitron",
    ),
    "item-kNN": Program(
        source="Ludewig & Jannach 2018",
        searched=(
            {"k": 100, "shrinkage": 0},
            {"k": 100, "shrinkage": 20},
            {"k": 500, "shrinkage": 5},
            {"k": 500, "shrinkage": 50},
        ),
        is_trained=False,
    ),
    "V-SKNN": Program(
        source="Ludewig & Jannach 2018",
        searched=(
            {"k": 20, "sample": 500},
            {"k": 100, "sample": 1000},
            {"k": 500, "sample": 5000},
            {"k": 200, "sample": 5000},
        ),
        is_trained=False,
    ),
}
