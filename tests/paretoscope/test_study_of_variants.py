"""A study of variants: its table of metrics, and the plan that was made from it."""

import pytest

import paretoscope as ps
from pipeline.core.errors import DataError


@pytest.mark.parametrize(
    "table",
    [
        "variant,share,recall@20\ncontrol,1,0.30\ntreatment,1,0.37\n",
        "variant,share,recall@20\ncontrol,1,0.30\ntreatment,2,0.36\n",
        "variant,share,recall@20\ncontrol,1,0.30\ntreatment,1,\n",
        "variant,share\ncontrol,1\ntreatment,1\n",
    ],
)
def test_a_table_of_variants_that_changed_after_the_plan_is_never_ignored(
    two_variants_project, table
):
    study = ps.open_study(two_variants_project)
    study.run(until="experiment_log")
    ps.ingest(study)  # unchanged
    (two_variants_project / "variants.csv").write_text(table)

    with pytest.raises(DataError, match=r"variants\.csv"):
        ps.ingest(study)
