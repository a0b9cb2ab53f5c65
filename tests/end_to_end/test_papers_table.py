"""The paper's Table 1 from 26.5 million impressions: written to files, ingested, summed and fitted."""

import polars as pl
import pytest

from pipeline.core.contracts import ALL_TARGETS, IMPRESSIONS, OFFLINE_METRICS
from pipeline.experiment.design.traffic_plan import Group, TrafficPlan
from pipeline.experiment.kpis.aggregate import aggregate
from pipeline.inference.hypotheses.estimate import estimate_hypotheses
from pipeline.inference.hypotheses.inputs import RegressionInputs
from pipeline.study import PAPER_HYPOTHESES, RegressionConfig
from tests.pipeline.experiment.logs import ingest
from tests.pipeline.inference.golden import GOLDEN, IMPRESSIONS_A_GROUP, TABLE_1, TEST_CLICKS

USERS = 2_000_000
PLAN = TrafficPlan(
    experiment="paper",
    salt="paper",
    list_length=20,
    groups=tuple(
        Group(
            name=name,
            preference_id=name,
            preference=(n / 4, 1 - n / 4),
            first_bucket=2000 * n,
            last_bucket=2000 * n + 1999,
        )
        for n, name in enumerate(GOLDEN)
    ),
)


def write_group(name, users, folder):
    *_, clicks, orders = GOLDEN[name]
    number = pl.int_range(IMPRESSIONS_A_GROUP, eager=True)
    frame = pl.DataFrame(
        {
            "experiment": pl.repeat("paper", IMPRESSIONS_A_GROUP, eager=True),
            "impression": pl.select(pl.format("{}-{}", pl.lit(name), number)).to_series(),
            "user": users.gather(number % len(users)),
            "group": pl.repeat(name, IMPRESSIONS_A_GROUP, eager=True),
            "ts": 1_760_000_000_000 + number * 200,
            "clicked": number < clicks,
            "ordered": number < orders,
            "units": (number < orders).cast(pl.Int32),
        }
    )
    IMPRESSIONS.validate(frame).write_parquet(folder / f"impressions-{name}.parquet")


def offline_metrics():
    rows = []
    for group, (hits, ordered, *_) in GOLDEN.items():
        recall, density = hits / TEST_CLICKS, ordered / hits
        for metric, value in (
            ("recall", recall),
            ("order_density", density),
            ("recall_order_density", recall * density),
        ):
            rows.append(
                {
                    "preference_id": group,
                    "preference": [],
                    "metric": metric,
                    "segment": ALL_TARGETS,
                    "value": value,
                    "higher_is_better": True,
                }
            )
    return pl.DataFrame(rows, schema=OFFLINE_METRICS.schema)


@pytest.mark.slow
def test_the_papers_table_from_files_of_26_million_impressions(tmp_path):
    users = pl.select(pl.format("user-{}", pl.int_range(USERS))).to_series()
    groups = PLAN.groups_of(users)
    for name in GOLDEN:
        write_group(name, users.filter(groups == name), tmp_path)

    log = ingest(sorted(tmp_path.glob("*.parquet")), PLAN, tmp_path / "log.duckdb")
    inputs = RegressionInputs(
        offline_metrics(), None, aggregate(tmp_path / "log.duckdb", PLAN).group_kpis
    )
    results = estimate_hypotheses(inputs, RegressionConfig(hypotheses=PAPER_HYPOTHESES), seed=1)

    assert (log.impressions, log.rejected) == (26_500_000, {})
    for one in results:
        slope, within, interval = TABLE_1[one.id]
        assert one.slope == pytest.approx(slope, abs=within)
        assert one.interval == pytest.approx(interval, abs=5.1e-4)
    p_values = {one.id: one.p_value for one in results}
    assert p_values["H2"] == pytest.approx(0.0080, abs=5e-5)
    assert p_values["H4"] == pytest.approx(0.0174, abs=5e-5)
