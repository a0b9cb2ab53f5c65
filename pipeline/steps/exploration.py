"""The expected cost of exploration, from the model and held-out sessions."""

import numpy as np

from pipeline.artifacts.storage import StudyPaths
from pipeline.counterfactual.exploration_cost import exploration_loss
from pipeline.evaluation.test_set import HeldOutSessions
from pipeline.experiment.design.traffic_plan import TrafficPlan
from pipeline.recommender.recommender import Recommender
from pipeline.results.exploration import ExplorationLoss
from pipeline.study import ExplorationConfig, Study

_SESSIONS = 1000
"""Held-out sessions at most: their error is about 3% of the loss."""


def predict_exploration(
    section: ExplorationConfig, study: Study, paths: StudyPaths, plan: TrafficPlan
) -> ExplorationLoss:
    """What explored lists lose; ``section`` need not be the study's.

    Raises:
        MissingArtifact: if the sessions or the model are missing.
    """
    test = HeldOutSessions.open(study, paths)
    available = test.tokens.n_sessions
    if available > _SESSIONS:
        rng = np.random.default_rng([study.study.seed, 12])
        test = test.take(np.sort(rng.choice(available, _SESSIONS, replace=False)))
    return exploration_loss(
        Recommender.load(paths).model,
        test.tokens,
        [(group.preference, group.share) for group in plan.groups],
        temperature=section.temperature,
        candidates=study.serving.candidates,
        k=plan.list_length,
        seed=study.study.seed,
    )
