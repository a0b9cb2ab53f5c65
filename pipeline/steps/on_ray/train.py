"""Training on the workers of a Ray cluster, by Ray Train."""

import logging
import os
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from models.training.result import TrainedModel
from pipeline.artifacts.storage import StudyPaths
from pipeline.core.errors import USER_ERRORS, ClusterError, StorageError
from pipeline.evaluation.metric_registry import build_metrics
from pipeline.recommender.train import fit_study
from pipeline.steps.on_ray.cluster import RESTARTS, check_is_shared, ray_cluster
from pipeline.study import Study

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSummary:
    """What a training came to.

    Attributes:
        best_epoch: The epoch that was kept.
        hypervolume: Of its validation front.
    """

    best_epoch: int
    hypervolume: float

    @classmethod
    def of(cls, trained: TrainedModel) -> "TrainingSummary":
        """The summary of a trained model."""
        return cls(best_epoch=trained.best_epoch, hypervolume=trained.front.hypervolume)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Training:
    """What a worker is sent.

    Attributes:
        study: The study.
        paths: Its paths, the same on every node.
        shared: A folder that the driver has made.
    """

    study: Study
    paths: StudyPaths
    shared: Path


def fit_on_ray(study: Study, paths: StudyPaths, workers: int) -> TrainingSummary:
    """Train the study's network on ``workers`` workers, which share every batch, and publish it.

    If a worker dies, all begin again from the saved state, on the nodes that are left or new.

    Raises:
        ParetoscopeError, ModelError: as :func:`pipeline.steps.model.fit_model`.
        ClusterError: if there is no cluster, the workers do not start, or die too often.
    """
    build_metrics(study.evaluation)  # a faulty custom metric shows before hours of training
    with ray_cluster(paths) as (ray, shared):
        api, torch_api = import_module("ray.train"), import_module("ray.train.torch")
        trainer = torch_api.TorchTrainer(
            _work,
            train_loop_config={"training": _Training(study=study, paths=paths, shared=shared)},
            scaling_config=api.ScalingConfig(
                num_workers=workers,
                use_gpu=_use_gpus(study.training.device, ray.cluster_resources(), workers),
                resources_per_worker={"CPU": study.training.threads},
            ),
            run_config=api.RunConfig(
                storage_path=shared,
                failure_config=api.FailureConfig(
                    max_failures=RESTARTS, controller_failure_limit=RESTARTS
                ),
            ),
        )
        try:
            found = trainer.fit().return_value
        except api.TrainingFailedError as error:
            raise _cluster_error(error, study, workers, ray.cluster_resources()) from error
    if isinstance(found, Exception):
        raise found
    return found


def _use_gpus(device: str, resources: dict[str, float], workers: int) -> bool:
    """Whether each worker gets a GPU; ``auto`` takes them if there are enough."""
    return device == "cuda" or (device == "auto" and resources.get("GPU", 0) >= workers)


def _cluster_error(
    error: Exception, study: Study, workers: int, resources: dict[str, float]
) -> ClusterError:
    last = str(error).strip().splitlines()[-1].rstrip(".")
    needed = f"{workers} × {study.training.threads} CPUs (training.threads)"
    msg = (
        f"training on Ray failed {RESTARTS + 1} times, at last with: {last}. The workers need {needed}; "
        f"the cluster has {resources.get('CPU', 0):.0f}, see 'ray status'. Run the command again to "
        "continue from the saved state"
    )
    return ClusterError(msg)


def _work(config: dict[str, Any]) -> TrainingSummary | Exception:
    """One worker's training.

    Returns:
        The summary; or an error of the study, which all workers find alike, so that it is not tried
        again.
    """
    training: _Training = config["training"]
    check_is_shared(training.shared)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    _LOG.info(
        "rank %s of %s is process %d", os.environ["RANK"], os.environ["WORLD_SIZE"], os.getpid()
    )
    try:
        return TrainingSummary.of(fit_study(training.study, training.paths))
    except StorageError:  # of the one that writes
        raise
    except USER_ERRORS as error:
        return error
