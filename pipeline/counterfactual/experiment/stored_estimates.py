"""The artifact ``counterfactual_estimates``, and the log that it is of."""

import logging

from models.checkpoint import checkpoint_fingerprint
from pipeline.artifacts.content_version import hash_content
from pipeline.artifacts.storage import DATABASE, StudyPaths, atomic_folder
from pipeline.core.errors import DataError
from pipeline.experiment.design.external_variants import load_plan
from pipeline.experiment.design.plan_checks import paths_of_plan
from pipeline.experiment.design.traffic_plan import TrafficPlan
from pipeline.experiment.log.ingest import ingested_md5s
from pipeline.experiment.log.reading.shown_lists import UnpairableListsError
from pipeline.results.counterfactual_estimates import CounterfactualEstimates
from pipeline.results.serialization import read_result
from pipeline.results.stored import write_result

ESTIMATES = "counterfactual_estimates"
_FILE = f"{ESTIMATES}.json"
_OLD = f"{ESTIMATES} is of an older log, plan or model"
_UPDATE = "update it with: dagster asset materialize --select 'paired_lists*'"

_log = logging.getLogger(__name__)


def write_counterfactual_estimates(found: CounterfactualEstimates, paths: StudyPaths) -> None:
    """Write the artifact."""
    with atomic_folder(paths.artifact(ESTIMATES)) as folder:
        write_result(found, folder / _FILE)


def read_counterfactual_estimates(paths: StudyPaths) -> CounterfactualEstimates:
    """Read the artifact.

    Raises:
        MissingArtifact, DataError: if it is missing or damaged.
    """
    remedy = f"Re-run: dagster asset materialize --select {ESTIMATES}"
    return read_result(CounterfactualEstimates, paths.require(ESTIMATES, _FILE), remedy=remedy)


def current_estimates(paths: StudyPaths) -> CounterfactualEstimates | None:
    """The estimates, if there are any and they are of the log as it is now; older ones are named in a warning."""
    if not paths.artifact(ESTIMATES, _FILE).exists():
        return None
    found = read_counterfactual_estimates(paths)
    if _is_current(found, paths):
        return found
    _log.warning("%s and is left out of the report; %s", _OLD, _UPDATE)
    return None


def require_current_estimates(paths: StudyPaths) -> CounterfactualEstimates:
    """The estimates, which must be of the log as it is now.

    Raises:
        MissingArtifact, DataError: as :func:`read_counterfactual_estimates`.
        DataError: if they are of an older log, plan or model.
    """
    found = read_counterfactual_estimates(paths)
    if not _is_current(found, paths):
        msg = f"{_OLD}; {_UPDATE}"
        raise DataError(msg)
    return found


def _is_current(found: CounterfactualEstimates, paths: StudyPaths) -> bool:
    return found.pairing.log_version == log_version(paths)


def log_version(paths: StudyPaths) -> str:
    """The version of the experiment's log, plan and model.

    Raises:
        MissingArtifact: if one is missing.
        LogError: if the plan is of another model.
        UnpairableListsError: if the groups are external variants.
    """
    plan = plan_of_groups(paths)
    model = checkpoint_fingerprint(paths_of_plan(plan, paths).require("conditioned_model"))
    return hash_content([ingested_md5s(paths.require(DATABASE)), plan.as_dict(), model])


def plan_of_groups(paths: StudyPaths) -> TrafficPlan:
    """The plan of an experiment whose groups share one model.

    Raises:
        MissingArtifact: if there is none.
        UnpairableListsError: if the groups are external variants.
    """
    plan = load_plan(paths)
    if not isinstance(plan, TrafficPlan):
        msg = (
            "the groups are variants of another recommender (experiment.variants), whose lists for the requests of "
            "other groups cannot be computed; expected groups of one model. For a log with propensities use "
            "paretoscope counterfactual --log"
        )
        raise UnpairableListsError(msg)
    return plan
