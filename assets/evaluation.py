"""Scores and offline metrics under every preference, and the Pareto front they span."""

from collections.abc import Iterator
from dataclasses import replace

import dagster as dg

from assets.asset_metadata import asset_kwargs, load_time_study
from assets.checks import check_specs
from assets.data import sessions
from assets.materialization import materialize_result, run_asset, translate_errors
from assets.model import conditioned_model
from assets.resources import StudyResource
from pipeline.core.errors import StudyError
from pipeline.evaluation.scoring import SCORES, preference_ids
from pipeline.steps.model import compute_offline_metrics, find_pareto_front, score_preferences
from pipeline.study import PARAMS_FILE, Study

_STUDY = load_time_study()
_IDS: list[str] = preference_ids(_STUDY) if _STUDY else ["p00"]
"""The preferences of ``params.yaml`` when the definitions are loaded: one asset per preference."""

_SPECS = [
    dg.AssetSpec(
        [SCORES, name],
        deps=[conditioned_model, sessions],
        description="One row per target of a test session: its rank and losses under this "
        "preference. Also one row per session: the list the model recommends.",
        **asset_kwargs(SCORES),
    )
    for name in _IDS
]


@dg.multi_asset(specs=_SPECS, can_subset=True)
def preference_scores(
    context: dg.AssetExecutionContext, study: StudyResource
) -> Iterator[dg.MaterializeResult]:
    """Ranks, losses and lists under the selected preferences, in one pass over the items."""
    with translate_errors(context):
        parameters, paths = study.load()
        _check_same_grid(parameters)
        selected = sorted(key.path[-1] for key in context.selected_asset_keys)
        result = score_preferences(parameters, paths, selected)
    for name in selected:
        one = replace(result, asset=f"{SCORES}/{name}", location=result.location / name)
        yield materialize_result(one, parameters)


def _check_same_grid(study: Study) -> None:
    """Raise if the run's study has other preferences than the loaded assets."""
    if (wanted := preference_ids(study)) != _IDS:
        msg = (
            f"evaluation.preferences makes {len(wanted)} preferences, but the graph was loaded with "
            f"{len(_IDS)}; set it in {PARAMS_FILE} and reload the definitions instead of overriding "
            "it for one run"
        )
        raise StudyError(msg)


@dg.asset(
    deps=[dg.AssetKey([SCORES, name]) for name in _IDS],
    check_specs=check_specs("offline_metrics"),
    **asset_kwargs("offline_metrics"),
)
def offline_metrics(
    context: dg.AssetExecutionContext, study: StudyResource
) -> dg.MaterializeResult:
    """One row per preference and metric: value, standard error over sessions, and n."""
    return run_asset(context, study, compute_offline_metrics)


@dg.asset(deps=[offline_metrics], **asset_kwargs("pareto_front"))
def pareto_front(context: dg.AssetExecutionContext, study: StudyResource) -> dg.MaterializeResult:
    """One row per preference in metric space, dominated or not; also hypervolume and span."""
    return run_asset(context, study, find_pareto_front)
