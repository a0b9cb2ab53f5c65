"""``train`` and ``score``: the network outside of Dagster."""

import logging

from models.training.distributed import is_first_process
from pipeline.cli.context import open_project
from pipeline.cli.output import echo, print_json
from pipeline.evaluation.scoring import score_shard
from pipeline.recommender.train import fit_study


def train(*, json: bool) -> int:
    """Fit the study's network."""
    study, paths = open_project()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    trained = fit_study(study, paths)
    hypervolume = trained.front.hypervolume
    if json:
        if is_first_process():
            print_json({"best_epoch": trained.best_epoch, "hypervolume": hypervolume})
        return 0
    echo(
        f"the best epoch is {trained.best_epoch}, its front's hypervolume on validation "
        f"{hypervolume:.4f}; now: dagster asset materialize --select 'group:preference_scores+'"
    )
    return 0


def score(*, shard: int) -> int:
    """Score one shard of the test sessions."""
    study, paths = open_project()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    score_shard(study, paths, shard)
    return 0
