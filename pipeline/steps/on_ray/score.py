"""Scoring as tasks of a Ray cluster."""

from pathlib import Path

from pipeline.artifacts.storage import StudyPaths
from pipeline.core.errors import USER_ERRORS, ClusterError
from pipeline.evaluation.score_files import score_shard
from pipeline.evaluation.scoring import preference_ids
from pipeline.steps.on_ray.cluster import RESTARTS, check_is_shared, ray_cluster
from pipeline.study import Study


def score_on_ray(study: Study, paths: StudyPaths) -> int:
    """Score every shard under every preference, each in a task on one CPU; returns their number.

    A task whose process or node is lost runs again elsewhere. The files are those of
    :func:`pipeline.evaluation.score_files.score_shard`, byte for byte.

    Raises:
        ParetoscopeError, ModelError: as ``score_shard``.
        ClusterError: if there is no cluster, or it loses a task too often.
    """
    with ray_cluster(paths) as (ray, shared):
        options = {"num_cpus": 1, "max_retries": RESTARTS, "scheduling_strategy": "SPREAD"}
        task = ray.remote(**options)(_work)
        common = ray.put((study, paths, shared))
        pending = [
            task.remote(common, number, name)
            for number in range(1, study.evaluation.shards + 1)
            for name in preference_ids(study)
        ]
        try:
            ray.get(pending)
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, USER_ERRORS):
                raise error.cause from None
            raise
        except ray.exceptions.RayError as error:
            msg = (
                f"scoring on Ray failed {RESTARTS + 1} times: {error}. Run the command again to score "
                "what is missing"
            )
            raise ClusterError(msg) from error
        return len(pending)


def _work(common: tuple[Study, StudyPaths, Path], number: int, name: str) -> None:
    study, paths, shared = common
    check_is_shared(shared)
    score_shard(study, paths, number, [name])
