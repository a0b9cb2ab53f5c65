"""The chain as Dagster's assets: one per step, and one per preference that is scored."""

from collections.abc import Iterator
from dataclasses import replace

import dagster as dg

from assets.checks import check_specs, diagnostic_specs
from assets.durations import AssetTimer
from assets.loaded_study import LoadedStudy
from assets.materialization import materialize_result, run_asset, translate_errors
from assets.resources import WRITERS, StudyResource
from pipeline.core.asset_graph import OPTIONAL, group_prefix, resource_key
from pipeline.core.errors import StudyError
from pipeline.evaluation.scoring import SCORES, preference_ids
from pipeline.quality.suites import RULES
from pipeline.steps.model import score_preferences
from pipeline.steps.run import STEPS
from pipeline.steps.storage import on_storage
from pipeline.study import Study


def study_assets(study: LoadedStudy) -> list[dg.AssetsDefinition]:
    """The assets of a study; their keys begin with its prefix."""
    return [
        _score_assets(study) if name == SCORES else _step_asset(name, study) for name in study.graph
    ]


def _step_asset(name: str, study: LoadedStudy) -> dg.AssetsDefinition:
    """The asset of one step."""
    (key,), resource = study.keys(name), resource_key(study.prefix)

    @dg.asset(
        key=key,
        deps=_upstream(name, study),
        check_specs=_check_specs(name, key),
        required_resource_keys={resource},
        output_required=name not in OPTIONAL,
        pool=WRITERS,
        **study.asset_kwargs(name),
    )
    def materialize(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult]:
        yield from run_asset(context, getattr(context.resources, resource), STEPS[name])

    return materialize


def _score_assets(study: LoadedStudy) -> dg.AssetsDefinition:
    """Ranks, losses and lists under the selected preferences, in one pass over the items."""
    resource = resource_key(study.prefix)
    upstream, options = _upstream(SCORES, study), study.asset_kwargs(SCORES)
    specs = [dg.AssetSpec(key, deps=upstream, **options) for key in study.keys(SCORES)]

    @dg.multi_asset(
        name=f"{group_prefix(study.prefix)}{SCORES}",
        specs=specs,
        can_subset=True,
        pool=WRITERS,
        required_resource_keys={resource},
    )
    def materialize(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult]:
        loaded: StudyResource = getattr(context.resources, resource)
        with translate_errors(context, loaded.file):
            parameters, paths = loaded.load()
            _check_same_grid(parameters, study)
            selected = sorted(key.path[-1] for key in context.selected_asset_keys)
            share = len(selected) / len(study.preferences)
            timer = AssetTimer(context, SCORES, parameters, paths, share)
            with on_storage(SCORES, parameters, paths):
                result = score_preferences(parameters, paths, selected)
            timing = timer.stop()
        for name in selected:
            one = replace(result, asset=f"{SCORES}/{name}", location=result.location / name)
            yield materialize_result(one, parameters, loaded.file, timing=timing)

    return materialize


def _check_same_grid(parameters: Study, study: LoadedStudy) -> None:
    """Raise if the run's study has other preferences than the loaded assets."""
    if (wanted := preference_ids(parameters)) != study.preferences:
        msg = (
            f"evaluation.preferences makes {len(wanted)} preferences, but the graph was loaded with "
            f"{len(study.preferences)}; set it in the study's file and reload the definitions instead "
            "of overriding it for one run"
        )
        raise StudyError(msg)


def _upstream(name: str, study: LoadedStudy) -> list[dg.AssetKey]:
    return [key for asset in study.graph[name] for key in study.keys(asset)]


def _check_specs(name: str, key: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    """The rules of the artifact; of the estimates, the experiment's diagnostics."""
    if name == "regression_estimates":
        return diagnostic_specs(key)
    return check_specs(name, key) if name in RULES else []
