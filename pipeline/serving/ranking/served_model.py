"""A model in memory, with the rules that apply to its lists."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
import torch

from models.checkpoint import WEIGHTS, checkpoint_fingerprint
from models.network.model import ConditionedSessionModel
from pipeline.artifacts.storage import StudyPaths
from pipeline.core.errors import DataError
from pipeline.datasets.item_attributes import read_item_attributes
from pipeline.experiment.design.exploration import Exploration
from pipeline.experiment.design.traffic_plan import TrafficPlan
from pipeline.experiment.log.log_files import model_version
from pipeline.recommender.recommender import Recommender
from pipeline.serving.ranking.rule_engine import RuleEngine
from pipeline.sessions.catalogue import read_catalogue
from pipeline.study import Study


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ServedModel:
    """A model with its catalogue and rules; requests of all arms that share it are batched together.

    Attributes:
        fingerprint: SHA-256 of the checkpoint's files.
        recommender: The model and its catalogue.
        rules: Filters and re-ranking rules, compiled for the catalogue.
        candidates: The number of items that list rules select from.
        exploration: Random lists for a share of the groups' requests; None for none.
        popular: Eligible items, most clicked in the training split first.
        attributes: The attributes of the catalogue's items, one row each.
    """

    fingerprint: str
    recommender: Recommender
    rules: RuleEngine
    candidates: int
    exploration: Exploration | None = None
    popular: tuple[int, ...] = ()
    attributes: pl.DataFrame = field(default_factory=pl.DataFrame)

    @property
    def version(self) -> str:
        """The model's version in the log."""
        return model_version(self.fingerprint)


def load_model(
    study: Study, paths: StudyPaths, plan: TrafficPlan, *, root: Path | None = None
) -> ServedModel:
    """The model in a study's folder, with the rules of ``study``.

    Args:
        study: The study.
        paths: The paths of the model.
        plan: The plan whose groups it serves.
        root: The project whose files the study names; that of the model by default.

    Raises:
        MissingArtifact: if the model or its catalogue is missing.
        CheckpointError, DataError, StudyError: if one is corrupt, or they do not match.
    """
    checkpoint = paths.require("conditioned_model", WEIGHTS).parent
    recommender = Recommender.load(paths).with_axis(plan.second_axis, study, paths)
    _check_finite(recommender.model, checkpoint)
    # Column-major embeddings make the product of few sessions with many items faster.
    table_ID = recommender.model.item_embedding.weight.data
    recommender.model.item_embedding.weight.data = table_ID.T.contiguous().T
    items, file = read_catalogue(paths), study.dataset.item_attributes
    root = root or paths.root
    attributes = read_item_attributes(root / file if file else None, items)
    rules = RuleEngine.of(study.serving, root, attributes=attributes, embedding_ID=table_ID.numpy())
    by_clicks = np.argsort(-items["train_clicks"].to_numpy(), kind="stable")
    return ServedModel(
        fingerprint=checkpoint_fingerprint(checkpoint),
        recommender=recommender,
        rules=rules,
        candidates=study.serving.candidates,
        exploration=Exploration.of(study.serving, plan.salt),
        popular=tuple(by_clicks[rules.eligible_I[by_clicks]].tolist()),
        attributes=attributes,
    )


def _check_finite(model: ConditionedSessionModel, checkpoint: Path) -> None:
    if not all(bool(torch.isfinite(weight).all()) for weight in model.parameters()):
        msg = (
            f"{checkpoint} contains weights that are not finite; re-create it with: "
            "dagster asset materialize --select conditioned_model"
        )
        raise DataError(msg)
