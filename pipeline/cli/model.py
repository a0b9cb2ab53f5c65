"""``train`` and ``evaluate-shard``: the model outside Dagster."""

import logging
from contextlib import ExitStack

from models.training.distributed import is_first_process
from pipeline.artifacts.lock import study_lock
from pipeline.cli.context import adapted, open_project
from pipeline.cli.output import print_result
from pipeline.core.asset_graph import rematerialize_command
from pipeline.core.errors import StudyError
from pipeline.evaluation.score_files import score_shard
from pipeline.evaluation.scoring import SCORES
from pipeline.recommender.train import MODEL
from pipeline.results.serialization import to_dict
from pipeline.steps.model import fit_model
from pipeline.steps.on_ray.score import score_on_ray
from pipeline.steps.on_ray.train import TrainingSummary, fit_on_ray
from pipeline.steps.storage import on_storage


def train(*, json: bool, ray: int | None) -> int:
    """Train the study's model."""
    study, paths = open_project()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    # of several processes (torchrun) the first writes
    with ExitStack() as first:
        if is_first_process():
            first.enter_context(study_lock(paths, "paretoscope train"))
            first.enter_context(on_storage(MODEL, study, paths))
        if ray is None:
            summary = TrainingSummary.of(fit_model(study, paths).value)
        else:
            summary = fit_on_ray(study, paths, ray)
    line = (
        f"best epoch {summary.best_epoch}, validation hypervolume {summary.hypervolume:.4f}; "
        f"next: {adapted(rematerialize_command('preference_scores'))}"
    )
    if json and not is_first_process():
        return 0
    return print_result(to_dict(summary), [line], json=json)


def evaluate_shard(*, shard: int | None, ray: bool) -> int:
    """Score one shard of the test sessions, or all of them on Ray."""
    if ray is (shard is not None):
        msg = "expected one of SHARD and --ray, such as 'paretoscope evaluate-shard 1'"
        raise StudyError(msg)
    study, paths = open_project()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with on_storage(SCORES, study, paths):
        if shard is None:
            score_on_ray(study, paths)
        else:
            score_shard(study, paths, shard)
    return 0
