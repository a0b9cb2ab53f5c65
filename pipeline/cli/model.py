"""``train`` and ``evaluate-shard``: the model outside Dagster."""

import logging
from contextlib import ExitStack

from models.training.distributed import is_first_process
from pipeline.artifacts.lock import study_lock
from pipeline.cli.context import adapted, open_project
from pipeline.cli.output import print_result
from pipeline.core.asset_graph import rematerialize_command
from pipeline.evaluation.score_files import score_shard
from pipeline.evaluation.scoring import SCORES
from pipeline.recommender.train import MODEL
from pipeline.steps.model import fit_model
from pipeline.steps.storage import on_storage


def train(*, json: bool) -> int:
    """Train the study's model."""
    study, paths = open_project()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    # of several processes (torchrun) the first writes
    with ExitStack() as first:
        if is_first_process():
            first.enter_context(study_lock(paths, "paretoscope train"))
            first.enter_context(on_storage(MODEL, study, paths))
        trained = fit_model(study, paths).value
    hypervolume = trained.front.hypervolume
    line = (
        f"best epoch {trained.best_epoch}, validation hypervolume {hypervolume:.4f}; "
        f"next: {adapted(rematerialize_command('preference_scores'))}"
    )
    if json and not is_first_process():
        return 0
    found = {"best_epoch": trained.best_epoch, "hypervolume": hypervolume}
    return print_result(found, [line], json=json)


def evaluate_shard(*, shard: int) -> int:
    """Score one shard of the test sessions."""
    study, paths = open_project()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with on_storage(SCORES, study, paths):
        score_shard(study, paths, shard)
    return 0
