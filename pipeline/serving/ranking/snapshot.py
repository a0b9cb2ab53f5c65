"""What answers a request from beginning to end: a model, a plan and rules that belong together."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from models.checkpoint import DESCRIPTION, WEIGHTS, checkpoint_fingerprint
from pipeline.artifacts.storage import StudyPaths
from pipeline.core.errors import DataError, LogError
from pipeline.datasets.item_attributes import read_item_attributes
from pipeline.experiment.design.plan_checks import check_not_running, check_same_model
from pipeline.experiment.design.traffic_plan import PLAN, TrafficPlan, read_plan
from pipeline.recommender.recommender import Recommender
from pipeline.serving.explorer.study_tables import FILES as EXPLORED_FILES
from pipeline.serving.explorer.study_tables import ExplorerData
from pipeline.serving.ranking.rule_engine import RuleBook, filter_files
from pipeline.sessions.catalogue import read_catalogue
from pipeline.study import PARAMS_FILE, Study

_DIGITS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A model, a plan and rules at one moment.

    Attributes:
        recommender: The network and its catalogue.
        version: Names the network: the first 12 digits of the SHA-256 of its files.
        plan: Who gets what.
        rules: Filters and re-ranking.
        candidates: How many items rules that act on lists choose from.
        popular: Items that may be listed, the most clicked in train first.
        explorable: What the explorer shows of the study.
    """

    recommender: Recommender
    version: str
    plan: TrafficPlan
    rules: RuleBook
    candidates: int
    popular: tuple[int, ...]
    explorable: ExplorerData


def load_snapshot(study: Study, paths: StudyPaths) -> Snapshot:
    """What the finished study serves.

    Raises:
        MissingArtifact: naming what is missing and the command that makes it.
        CheckpointError, DataError, StudyError: if a part is damaged or they do not fit.
        LogError: if the plan was made for another model, whose metrics say nothing of this one.
    """
    checkpoint = paths.require("conditioned_model", WEIGHTS).parent
    plan, model_id = read_plan(paths), checkpoint_fingerprint(checkpoint)
    check_same_model(plan, model_id)
    recommender = Recommender.load(paths)
    model = recommender.model
    if not all(bool(torch.isfinite(weight).all()) for weight in model.parameters()):
        msg = (
            f"{checkpoint} holds weights that are not finite; materialise 'conditioned_model' anew"
        )
        raise DataError(msg)
    for group in plan.groups:
        if len(group.preference) != model.n_objectives:
            msg = (
                f"group {group.name} of {PLAN} weighs {len(group.preference)} objectives, the model "
                f"has {model.n_objectives}; materialise 'traffic_plan' anew"
            )
            raise LogError(msg)
    # Products of few sessions with many items read the table faster item after item in memory.
    table_ID = model.item_embedding.weight.data
    model.item_embedding.weight.data = table_ID.T.contiguous().T
    items = read_catalogue(paths)
    known = study.dataset.item_attributes
    attributes = read_item_attributes(paths.root / known if known else None, items)
    rules = RuleBook.of(
        study.serving, paths.root, attributes=attributes, embedding_ID=table_ID.numpy()
    )
    by_clicks = np.argsort(-items["train_clicks"].to_numpy(), kind="stable")
    return Snapshot(
        recommender=recommender,
        version=model_id[:_DIGITS],
        plan=plan,
        rules=rules,
        candidates=study.serving.candidates,
        popular=tuple(by_clicks[rules.listable_I[by_clicks]].tolist()),
        explorable=ExplorerData.load(study, paths, plan=plan, attributes=attributes),
    )


def check_compatible(running: Snapshot, new: Snapshot) -> None:
    """Raise :class:`LogError` if the new plan redefines the experiment that is under way."""
    check_not_running(running.plan, new.plan)


def file_fingerprint(study: Study, paths: StudyPaths) -> tuple[object, ...]:
    """Changes when a file that a snapshot is made from does."""
    files = [
        paths.root / PARAMS_FILE,
        paths.artifact("conditioned_model", WEIGHTS),
        paths.artifact("conditioned_model", DESCRIPTION),
        paths.artifact("sessions", "items.parquet"),
        paths.artifact("traffic_plan", PLAN),
        *filter_files(study.serving.filters, paths.root).values(),
        *(paths.artifact(*file) for file in EXPLORED_FILES),
    ]
    if study.dataset.item_attributes:
        files.append(paths.root / study.dataset.item_attributes)
    return tuple(_state(file) for file in files)


def _state(file: Path) -> tuple[str, int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return str(file), found.st_ino, found.st_size, found.st_mtime_ns
