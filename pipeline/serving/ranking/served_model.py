"""A model in memory, with the rules that apply to its lists."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from models.checkpoint import WEIGHTS, checkpoint_fingerprint
from models.network.model import ConditionedSessionModel
from pipeline.artifacts.storage import StudyPaths
from pipeline.core.errors import DataError
from pipeline.core.object_urls import local_copy
from pipeline.datasets.item_attributes import read_item_attributes
from pipeline.experiment.design.exploration import Exploration
from pipeline.experiment.design.traffic_plan import TrafficPlan
from pipeline.experiment.log.log_files import model_version
from pipeline.recommender.recommender import Recommender
from pipeline.serving.ranking.rule_engine import RuleEngine
from pipeline.sessions.catalogue import read_catalogue
from pipeline.study import RuleSet, Study


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ServedModel:
    """A model with its catalogue and rules; requests of all arms that share it are batched together.

    Attributes:
        fingerprint: SHA-256 of the checkpoint's files.
        recommender: The model and its catalogue.
        rules: Filters and re-ranking rules, compiled for the catalogue.
        exploration: Random lists for a share of the groups' requests; None for none.
        by_clicks_I: All items, most clicked in the training split first.
        popular: Those of them that are eligible.
        attributes: The attributes of the catalogue's items, one row each.
    """

    fingerprint: str
    recommender: Recommender
    rules: RuleEngine
    by_clicks_I: NDArray[np.int64]
    popular: tuple[int, ...]
    exploration: Exploration | None = None
    attributes: pl.DataFrame = field(default_factory=pl.DataFrame)

    @property
    def version(self) -> str:
        """The model's version in the log."""
        return model_version(self.fingerprint)

    def with_rules(self, rule_set: RuleSet, root: Path) -> "ServedModel":
        """The same model in memory under other rules; ``root`` is the project of their files.

        Raises:
            DataError, StudyError: if the rules do not fit the catalogue.
        """
        rules = RuleEngine.of(
            rule_set, root, attributes=self.attributes, embedding_ID=self.rules.embedding_ID
        )
        return replace(
            self,
            rules=rules,
            popular=_eligible(self.by_clicks_I, rules),
        )


def load_model(
    study: Study,
    paths: StudyPaths,
    plan: TrafficPlan,
    *,
    rule_set: RuleSet | None = None,
    root: Path | None = None,
) -> ServedModel:
    """The model in a study's folder.

    Args:
        study: The study.
        paths: The paths of the model.
        plan: The plan whose groups it serves.
        rule_set: Its rules; those of the study by default.
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
    attributes = read_item_attributes(root / local_copy(file) if file else None, items)
    rule_set = rule_set or study.serving.rule_set
    rules = RuleEngine.of(rule_set, root, attributes=attributes, embedding_ID=table_ID.numpy())
    by_clicks_I = np.argsort(-items["train_clicks"].to_numpy(), kind="stable")
    return ServedModel(
        fingerprint=checkpoint_fingerprint(checkpoint),
        recommender=recommender,
        rules=rules,
        by_clicks_I=by_clicks_I,
        popular=_eligible(by_clicks_I, rules),
        exploration=Exploration.of(study.serving, plan.salt),
        attributes=attributes,
    )


def _eligible(item_I: NDArray[np.int64], rules: RuleEngine) -> tuple[int, ...]:
    return tuple(item_I[rules.eligible_I[item_I]].tolist())


def _check_finite(model: ConditionedSessionModel, checkpoint: Path) -> None:
    if not all(bool(torch.isfinite(weight).all()) for weight in model.parameters()):
        msg = (
            f"{checkpoint} contains weights that are not finite; re-create it with: "
            "dagster asset materialize --select conditioned_model"
        )
        raise DataError(msg)
