"""The panel of the monitor: what the study's model and rules recommend for a fixed set of sessions.

It is made in a process of its own, since a model needs more memory than the monitor.
"""

import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

from pipeline.artifacts.file_state import FileState, file_state
from pipeline.artifacts.storage import StudyPaths
from pipeline.core.contracts import Split
from pipeline.core.errors import DataError
from pipeline.core.object_urls import local_copy
from pipeline.core.sections import SERVED_SECTIONS
from pipeline.experiment.design.plan_checks import paths_of_plan
from pipeline.experiment.design.traffic_plan import PLAN
from pipeline.monitoring.panel import PanelSession
from pipeline.study import load_study

SESSIONS = 60
"""Of the panel, for the groups in turn."""

_INPUTS = (
    ("conditioned_model", None),
    ("traffic_plan", PLAN),
    ("sessions", "items.parquet"),
    ("sessions", "tokens.safetensors"),
)

State = tuple[FileState, ...]


class StudyPanel:
    """The panel of a study; made again when its model, plan, sessions or rules have changed."""

    def __init__(self, paths: StudyPaths) -> None:
        self._paths = paths
        self._state: State | None = None
        self._panel: Sequence[PanelSession] = ()

    def __call__(self) -> Sequence[PanelSession]:
        """The current panel.

        Raises:
            MissingArtifact, DataError, LogError, StudyError: if the study cannot be served, or the process was
                killed.
        """
        state = _state_of_files(self._paths)
        if state != self._state:
            self._panel = _in_own_process(self._paths)
            self._state = state
        return self._panel


def _in_own_process(paths: StudyPaths) -> list[PanelSession]:
    try:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            return pool.submit(make_panel, paths).result()
    except BrokenProcessPool as error:
        msg = (
            "the process that makes the panel was killed; the model needs more memory than there is"
        )
        raise DataError(msg) from error


def make_panel(paths: StudyPaths) -> list[PanelSession]:
    """The lists of the study's current model, plan and rules, for sessions of the test set.

    Raises:
        MissingArtifact, DataError, LogError, StudyError: if the study cannot be served.
    """
    import numpy as np  # noqa: PLC0415 - torch only where a panel is made
    import torch  # noqa: PLC0415

    from pipeline.serving.ranking.rank import rank_sessions  # noqa: PLC0415
    from pipeline.serving.ranking.snapshot import load_snapshot  # noqa: PLC0415
    from pipeline.sessions.token_store import open_tokens  # noqa: PLC0415

    torch.set_num_threads(1)
    snapshot = load_snapshot(load_study(paths.params_file, touched=SERVED_SECTIONS), paths)
    model, of_plan = snapshot.model, paths_of_plan(snapshot.plan, paths)
    tokens = open_tokens(of_plan.require("sessions", "tokens.safetensors"), Split.TEST)
    rows = np.flatnonzero(tokens.lengths > 1)
    rows = rows[np.linspace(0, len(rows) - 1, min(SESSIONS, len(rows))).astype(int)]
    names, groups = model.recommender.items, snapshot.plan.groups
    panel: list[PanelSession] = []
    for number, row in enumerate(rows):
        session = np.array(
            tokens.items[tokens.offsets[row] : tokens.offsets[row + 1] - 1], np.int64
        )
        group = groups[number % len(groups)]
        (found,) = rank_sessions(
            model,
            [session],
            [time.time_ns() // 1_000_000],
            preference=group.preference,
            level=group.level,
            k=snapshot.plan.list_length_at(group.level),
        )
        panel.append(
            PanelSession(
                session=tuple(names[item] for item in session),
                group=group.name,
                preference=group.preference,
                items=tuple(names[item] for item in found.items),
            )
        )
    return panel


def _state_of_files(paths: StudyPaths) -> State:
    """Changes when a file changes that the panel depends on."""
    study = load_study(paths.params_file, touched=SERVED_SECTIONS)
    files = [paths.params_file, *study.serving.filters.files(paths.root).values()]
    if study.dataset.item_attributes:
        files.append(paths.root / local_copy(study.dataset.item_attributes))
    for asset, file in _INPUTS:
        path = paths.artifact(asset, file)
        files += sorted(path.iterdir()) if path.is_dir() else [path]
    return tuple(map(file_state, files))
