"""Counterfactual evaluation of the experiment: its lists under every group, and what they say of policies."""

from functools import partial
from pathlib import Path

import numpy as np

from pipeline.artifacts.storage import DATABASE, StudyPaths, atomic_folder
from pipeline.counterfactual.experiment.examination import harvest_examination
from pipeline.counterfactual.experiment.leave_one_out import leave_groups_out
from pipeline.counterfactual.experiment.paired_lists import pair_lists
from pipeline.counterfactual.experiment.paired_table import StoredPairs, read_pairs, write_pairs
from pipeline.counterfactual.experiment.stored_estimates import (
    ESTIMATES,
    log_version,
    plan_of_groups,
    read_counterfactual_estimates,
    write_counterfactual_estimates,
)
from pipeline.experiment.design.plan_checks import paths_of_plan
from pipeline.experiment.log.reading.log_folder import study_log
from pipeline.experiment.log.reading.shown_lists import UnpairableListsError, read_shown_lists
from pipeline.recommender.recommender import Recommender
from pipeline.reporting.counterfactual_report import write_page
from pipeline.reporting.figures.counterfactual import lift_panels
from pipeline.reporting.text.counterfactual_estimates import (
    estimate_lines,
    pairing_sentence,
    recovery_rows,
)
from pipeline.reporting.text.markdown import as_list
from pipeline.results.counterfactual_estimates import (
    CounterfactualEstimates,
    Examination,
    PairingSummary,
)
from pipeline.results.serialization import to_dict
from pipeline.steps.result import LazyFigure, Markdown, StepResult, markdown_table
from pipeline.study import Study

_RECOVERY_HEADS = (
    "KPI",
    "estimator",
    "mean Recovery",
    "mean distance from 1",
    "CV (absolute deviation)",
    "CV (standard deviation)",
    "rank correlation",
    "groups",
    "status",
)


def pair_experiment_lists(study: Study, paths: StudyPaths) -> StepResult[PairingSummary]:
    """Compute the list of every group for every request of the experiment.

    Raises:
        MissingArtifact: if the log, the plan or the model is missing.
        LogError: if the log has no lists, they are not the model's, or the groups are external variants.
    """
    if study.compute.warehouse is not None:
        msg = (
            "the log is in a warehouse (compute.warehouse), and no row leaves it, so its lists cannot be paired; "
            "export the log to files, and set experiment.log_path instead"
        )
        raise UnpairableListsError(msg)
    plan, version = plan_of_groups(paths), log_version(paths)
    served = paths_of_plan(plan, paths)
    recommender = Recommender.load(served).with_axis(plan.second_axis, study, served)
    shown = read_shown_lists(study_log(study.experiment, paths).files, paths.require(DATABASE))
    pairs = pair_lists(shown, plan, recommender)
    summary = PairingSummary(
        groups=tuple(group.name for group in plan.groups),
        list_length=plan.list_length,
        requests=len(pairs.users),
        users=int(pairs.log.user_N.max()) + 1,
        equal_share=pairs.equal_share,
        fallbacks=pairs.fallbacks,
        unplaced_clicks=pairs.unplaced_clicks,
        log_version=version,
    )
    with atomic_folder(paths.artifact("paired_lists")) as folder:
        write_pairs(StoredPairs(pairs, summary), folder)
    return StepResult(
        asset="paired_lists",
        value=summary,
        location=paths.artifact("paired_lists"),
        rows=summary.requests,
        details={"summary": Markdown(pairing_sentence(summary))},
    )


def estimate_counterfactuals(
    study: Study, paths: StudyPaths
) -> StepResult[CounterfactualEstimates]:
    """Estimate every group from the other groups, and choose an estimator for each KPI.

    Raises:
        MissingArtifact: if ``paired_lists`` is missing.
        DataError: if there are too few clicks for an examination curve, or one group only.
    """
    stored, seed, level = read_pairs(paths), study.study.seed, study.regression.level
    rng = np.random.default_rng([seed, 21])
    curve = harvest_examination(stored.pairs.log, stored.pairs.click_NK, rng)
    groups, kpis = leave_groups_out(
        stored.pairs, stored.summary.groups, curve, level=level, seed=seed
    )
    found = CounterfactualEstimates(
        pairing=stored.summary,
        examination=Examination(
            exponent=curve.exponent,
            standard_error=curve.standard_error,
            pairs=curve.pairs,
            clicks=curve.clicks,
        ),
        level=level,
        groups=groups,
        kpis=kpis,
    )
    write_counterfactual_estimates(found, paths)
    return StepResult(
        asset=ESTIMATES,
        value=found,
        location=paths.artifact(ESTIMATES),
        rows=sum(len(kpi.estimators) * len(groups) for kpi in kpis),
        details={
            "figure": LazyFigure("estimated and realised lifts", partial(lift_panels, kpis)),
            "summary": Markdown(as_list(estimate_lines(found))),
            "Recovery": markdown_table(
                _RECOVERY_HEADS, [tuple(row) for row in recovery_rows(found)]
            ),
        },
    )


def write_counterfactual_report(
    study: Study, paths: StudyPaths
) -> StepResult[CounterfactualEstimates]:
    """Write the page of the estimates, as HTML, Markdown and JSON.

    Raises:
        MissingArtifact: if ``counterfactual_estimates`` is missing.
    """
    found = read_counterfactual_estimates(paths)
    target: Path = paths.artifact("counterfactual_report")
    with atomic_folder(target) as folder:
        write_page(found, study.study.name, folder)
    return StepResult(
        asset="counterfactual_report",
        value=found,
        location=target,
        details={
            "summary": Markdown(as_list(estimate_lines(found))),
            "page": str(target / "index.html"),
            "pairing": to_dict(found.pairing),
        },
    )
