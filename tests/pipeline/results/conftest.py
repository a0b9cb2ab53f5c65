"""One report of each kind."""

from dataclasses import replace

import pytest

from pipeline.inference.hypotheses.from_counts import fit_counts
from pipeline.reporting.report import build_counts_report
from pipeline.results.document import PlanSummary
from tests.pipeline.inference.hypotheses.test_from_counts import golden_table
from tests.pipeline.reporting.conftest import card, rebuild, whole_report

__all__ = ["card", "whole_report"]


@pytest.fixture(scope="session")
def reports(whole_report, tmp_path_factory):
    """A report of a study, of external variants, and of a table of counts, by kind."""
    counts = tmp_path_factory.mktemp("counts") / "counts.csv"
    golden_table().write_csv(counts)
    found = fit_counts(counts, [], level=0.95, seed=0)
    plan = PlanSummary(
        experiment="autumn",
        groups=tuple(replace(one, preference=None) for one in whole_report.groups),
    )
    variants = replace(
        whole_report,
        experiment=replace(whole_report.experiment, plan=plan, power=None),
        objectives=(),
        front=None,
        training=None,
        learning_curves=(),
        data=None,
        changed_since_training=(),
    )
    return {
        "study": whole_report,
        "variants": rebuild(variants),
        "counts": build_counts_report(found, counts),
    }
