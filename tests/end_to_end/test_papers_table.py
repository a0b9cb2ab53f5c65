"""The paper's Table 1 from 26.5 million exposures: written to files, taken in, summed and fitted."""

import polars as pl
import pytest

from pipeline.experiment.ingestion import ingest
from pipeline.experiment.kpis import sum_up
from pipeline.experiment.plan import Group, TrafficPlan
from pipeline.inference.evidence import Evidence
from pipeline.inference.hypotheses import estimate_hypotheses
from pipeline.schemas import ALL_TARGETS, EXPOSURES, OFFLINE_METRICS
from pipeline.study import PAPER_HYPOTHESES, RegressionSection

EXPOSURES_A_GROUP = 5_300_000
USERS = 2_000_000
# hits and ordered hits of 10,000,000 test clicks; clicks and orders
GOLDEN = {
    "g1": (4_499_877, 183_654, 525_089, 14_290),
    "g2": (4_571_347, 186_088, 532_113, 14_903),
    "g3": (4_776_092, 193_543, 552_233, 15_167),
    "g4": (4_932_626, 198_120, 567_671, 15_662),
    "g5": (4_995_393, 199_839, 573_752, 15_260),
}
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
# slope, interval and how closely the paper prints them
TABLE_1 = {
    "H1": (0.8985, 5e-5, (0.870, 0.927)),
    "H2": (1.2608, 5e-5, (0.329, 2.193)),
    "H3": (0.7621, 5e-5, (0.557, 0.967)),
    "H4": (-0.204, 5e-4, (-0.372, -0.036)),
}


def write_group(name, users, folder):
    *_, clicks, orders = GOLDEN[name]
    number = pl.int_range(EXPOSURES_A_GROUP, eager=True)
    frame = pl.DataFrame(
        {
            "experiment": pl.repeat("paper", EXPOSURES_A_GROUP, eager=True),
            "exposure": pl.select(pl.format("{}-{}", pl.lit(name), number)).to_series(),
            "unit": users.gather(number % len(users)),
            "group": pl.repeat(name, EXPOSURES_A_GROUP, eager=True),
            "ts": 1_760_000_000_000 + number * 200,
            "clicked": number < clicks,
            "ordered": number < orders,
            "units": (number < orders).cast(pl.Int32),
        }
    )
    EXPOSURES.check(frame).write_parquet(folder / f"exposures-{name}.parquet")


def offline_metrics():
    rows = []
    for group, (hits, ordered, *_) in GOLDEN.items():
        recall, density = hits / 10_000_000, ordered / hits
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
def test_the_papers_table_from_files_of_26_million_exposures(tmp_path):
    users = pl.select(pl.format("user-{}", pl.int_range(USERS))).to_series()
    groups = PLAN.groups_of(users)
    for name in GOLDEN:
        write_group(name, users.filter(groups == name), tmp_path)

    taken_in = ingest(sorted(tmp_path.glob("*.parquet")), PLAN, tmp_path / "log.duckdb")
    evidence = Evidence(offline_metrics(), None, sum_up(tmp_path / "log.duckdb", PLAN)[0])
    estimates = estimate_hypotheses(
        evidence, RegressionSection(hypotheses=PAPER_HYPOTHESES), seed=1
    )

    assert (taken_in.exposures, taken_in.rejected) == (26_500_000, {})
    for estimate in estimates:
        slope, within, interval = TABLE_1[estimate.hypothesis.id]
        assert estimate.fit.slope == pytest.approx(slope, abs=within)
        assert estimate.fit.model.interval == pytest.approx(interval, abs=5.1e-4)
    p_values = {one.hypothesis.id: one.fit.model.p_value for one in estimates}
    assert p_values["H2"] == pytest.approx(0.0080, abs=5e-5)
    assert p_values["H4"] == pytest.approx(0.0174, abs=5e-5)
