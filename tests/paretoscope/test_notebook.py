"""A notebook that imports nothing else: a whole study, and two variants of another recommender."""

import subprocess
import sys

import pytest

from tests.paretoscope.conftest import write_params

NOTEBOOK = """
import sys
import paretoscope as ps

assert "torch" not in sys.modules

study = ps.open_study("shop")
study.generate_log()
results = study.run()
assert list(results)[0] == "raw_events" and list(results)[-1] == "regression_report"
assert study.table("group_kpis").filter(kpi="ctr").height == 3
report = study.report()
assert [one.id for one in report.hypotheses] == ["H1", "H2", "H3", "H4"]
assert report.page.exists() and "<svg" in report._repr_html_()
assert ps.plan(study).to_frame().height == 3

variants = ps.open_study("variants")
assert list(variants.run()) == [
    "traffic_plan", "experiment_log_files", "experiment_log", "group_kpis",
    "regression_estimates", "regression_report",
]
(one,) = variants.report().hypotheses
assert (one.kpi.value, one.n, one.groups) == ("ctr", 4000, 2)
log = variants.table("experiment_log")
for group in one.points:
    clicked = log.filter(group=group.group)["clicked"]
    assert (group.trials, group.rate) == (2000, clicked.mean())
assert one.slope > 0 and one.verdict.value == "suggestive"

counts = variants.table("group_kpis").filter(kpi="ctr").select(
    "group", "rate", impressions="trials", clicks="successes"
)
counts = counts.select("group", "impressions", "clicks", auc=counts["rate"].rank())
fit = ps.fit(counts, ["auc:ctr:+"])
assert fit.to_frame()["n"].to_list() == [4000]

assert "dagster" not in sys.modules
print("done")
"""


@pytest.mark.slow
@pytest.mark.usefixtures("two_variants_project")
def test_a_study_and_two_variants_through_the_python_api_alone(tmp_path, small_params):
    write_params(tmp_path / "shop", small_params)

    done = subprocess.run(
        [sys.executable, "-c", NOTEBOOK], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout == "done\n"
