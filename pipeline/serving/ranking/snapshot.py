"""A snapshot: a consistent model, traffic plan and rules, from which requests are served."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from models.checkpoint import DESCRIPTION, WEIGHTS, checkpoint_fingerprint
from models.network.model import ConditionedSessionModel
from pipeline.artifacts.storage import StudyPaths
from pipeline.core.errors import DataError, LogError
from pipeline.datasets.item_attributes import read_item_attributes
from pipeline.experiment.design.exploration import Exploration
from pipeline.experiment.design.plan_checks import check_same_model
from pipeline.experiment.design.traffic_plan import PLAN, TrafficPlan, read_plan
from pipeline.experiment.log.log_files import model_version
from pipeline.recommender.recommender import Recommender
from pipeline.serving.explorer.study_tables import FILES as EXPLORER_FILES
from pipeline.serving.explorer.study_tables import ExplorerData
from pipeline.serving.ranking.rule_engine import RuleEngine, filter_files
from pipeline.sessions.catalogue import read_catalogue
from pipeline.study import Study


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A consistent model, traffic plan and rules.

    Attributes:
        study: The study's name.
        recommender: The model and its catalogue.
        version: The model's version: the first 12 digits of the SHA-256 of its files.
        plan: Assigns users to groups.
        rules: Filters and re-ranking rules.
        candidates: The number of items that list rules select from.
        exploration: Random lists for a share of the requests; None for none.
        popular: Eligible items, most clicked in the training split first.
        explorer_data: The study's tables for the front explorer.
    """

    study: str
    recommender: Recommender
    version: str
    plan: TrafficPlan
    rules: RuleEngine
    candidates: int
    exploration: Exploration | None
    popular: tuple[int, ...]
    explorer_data: ExplorerData


def load_snapshot(study: Study, paths: StudyPaths) -> Snapshot:
    """The snapshot of a finished study.

    Raises:
        MissingArtifact: if an artifact is missing; the message gives the command that creates it.
        CheckpointError, DataError, StudyError: if an artifact is corrupt, or they do not match.
        LogError: if the plan was created for another model.
    """
    checkpoint = paths.require("conditioned_model", WEIGHTS).parent
    plan, model_id = read_plan(paths), checkpoint_fingerprint(checkpoint)
    check_same_model(plan, model_id)
    recommender = Recommender.load(paths).with_axis(plan.second_axis, study, paths)
    model = recommender.model
    _check_model(model, plan, checkpoint)
    # Column-major embeddings make the product of few sessions with many items faster.
    table_ID = model.item_embedding.weight.data
    model.item_embedding.weight.data = table_ID.T.contiguous().T
    items = read_catalogue(paths)
    file = study.dataset.item_attributes
    attributes = read_item_attributes(paths.root / file if file else None, items)
    rules = RuleEngine.of(
        study.serving, paths.root, attributes=attributes, embedding_ID=table_ID.numpy()
    )
    by_clicks = np.argsort(-items["train_clicks"].to_numpy(), kind="stable")
    return Snapshot(
        study=study.study.name,
        recommender=recommender,
        version=model_version(model_id),
        plan=plan,
        rules=rules,
        candidates=study.serving.candidates,
        exploration=Exploration.of(study.serving, plan.salt),
        popular=tuple(by_clicks[rules.eligible_I[by_clicks]].tolist()),
        explorer_data=ExplorerData.load(study, paths, plan=plan, attributes=attributes),
    )


def _check_model(model: ConditionedSessionModel, plan: TrafficPlan, checkpoint: Path) -> None:
    if not all(bool(torch.isfinite(weight).all()) for weight in model.parameters()):
        msg = (
            f"{checkpoint} contains weights that are not finite; re-create it with: "
            "dagster asset materialize --select conditioned_model"
        )
        raise DataError(msg)
    for group in plan.groups:
        if len(group.preference) != model.n_objectives:
            msg = (
                f"group {group.name} of {PLAN} weights {len(group.preference)} objectives, the model "
                f"has {model.n_objectives}; re-create the plan with: "
                "dagster asset materialize --select traffic_plan"
            )
            raise LogError(msg)


def file_fingerprint(study: Study, paths: StudyPaths) -> tuple[object, ...]:
    """Identifies the files of a snapshot; changes when one of them changes."""
    files = [
        paths.params_file,
        paths.artifact("conditioned_model", WEIGHTS),
        paths.artifact("conditioned_model", DESCRIPTION),
        paths.artifact("sessions", "items.parquet"),
        paths.artifact("traffic_plan", PLAN),
        *filter_files(study.serving.filters, paths.root).values(),
        *(paths.artifact(*file) for file in EXPLORER_FILES),
    ]
    if study.dataset.item_attributes:
        files.append(paths.root / study.dataset.item_attributes)
    return tuple(_file_state(file) for file in files)


def _file_state(file: Path) -> tuple[str, int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return str(file), found.st_ino, found.st_size, found.st_mtime_ns
