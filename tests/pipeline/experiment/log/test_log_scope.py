"""What is out of the experiment's scope is counted under its reason, and is no fault."""

from dataclasses import replace

import polars as pl
import pytest

from pipeline.core.contracts import IMPRESSIONS
from pipeline.core.errors import LogError, QualityError
from pipeline.experiment.design.external_variants import Variant, VariantPlan
from pipeline.experiment.log.row_fates import read_row_fates
from pipeline.experiment.log.validation.row_validation import LogRules
from pipeline.inference.diagnostics.lost_outcomes import lost_outcomes
from pipeline.quality.runner import check_experiment_log, enforce
from pipeline.study import ExperimentConfig
from tests.pipeline.experiment.logs import HOUR, PLAN, TS, impression, ingest_folder, users_in

DAY = 24 * HOUR
PEOPLE = {group: users_in(group, 60) for group in ("g1", "g2")}


def shown(prefix, day, **changes):
    """An impression of each user on a day, without outcomes."""
    rows = [
        impression(f"{prefix}-{user}", user=user, group=group, ts=TS + day * DAY) | changes
        for group, users in PEOPLE.items()
        for user in users
    ]
    columns = {
        n: t for n, t in IMPRESSIONS.columns.items() if n not in {"clicked", "ordered", "units"}
    }
    return pl.DataFrame(rows, schema=columns)


def clicked(impressions):
    return impressions.select("impression", ts=pl.col("ts") + 1000)


def checked(folder, share=0.05):
    enforce(check_experiment_log(folder / "log.duckdb", {"max_faulty_share": share}))


@pytest.mark.parametrize(
    ("other", "reason", "rules"),
    [
        (shown("w", -7), "time outside the experiment", {"first_ts": TS}),
        (shown("w", 7), "time outside the experiment", {"end_ts": TS + DAY}),
        (shown("o", 0, experiment="autumn"), "another experiment", {}),
        (shown("o", 0, experiment="autumn", group=None), "another experiment", {}),
        (
            shown("l", 0, group="old"),
            "group left out (experiment.ignored_groups)",
            {"ignored_groups": ("old",)},
        ),
    ],
    ids=["a-week-before", "a-week-after", "two-experiments", "without-group", "ignored-group"],
)
def test_rows_out_of_scope_are_no_faults_and_their_clicks_not_lost(tmp_path, other, reason, rules):
    log = shown("x", 0)
    pl.concat([log, other]).write_parquet(tmp_path / "impressions.parquet")
    pl.concat([clicked(log), clicked(other)]).write_parquet(tmp_path / "clicks.parquet")
    pl.DataFrame(schema={"impression": pl.String, "ts": pl.Int64, "units": pl.Int32}).write_parquet(
        tmp_path / "orders.parquet"
    )

    result = ingest_folder(tmp_path, **rules)

    assert result.impressions == 120
    assert result.rejected == {reason: 120, "click of an impression out of scope": 120}
    checked(tmp_path)
    found = lost_outcomes(read_row_fates(tmp_path / "log.duckdb"))
    assert (found.passed, found.lost) == (True, 0)


def rows_of(prefix, number, **changes):
    users = users_in("g1", number)
    return [impression(f"{prefix}{n}", user=user, **changes) for n, user in enumerate(users)]


def written(folder, name, rows):
    pl.DataFrame(rows, schema=IMPRESSIONS.columns).write_parquet(folder / f"{name}.parquet")


def test_forced_assignments_are_no_faults(tmp_path):
    testers = users_in("g2", 30)
    plan = replace(PLAN, forced_assignment=dict.fromkeys(testers, "g1"))
    written(tmp_path, "a", [impression(f"t{n}", user=user) for n, user in enumerate(testers)])
    written(tmp_path, "b", rows_of("x", 40))

    result = ingest_folder(tmp_path, plan)

    assert result.rejected == {"forced assignment": 30}
    checked(tmp_path)


def test_a_night_file_with_one_repeated_row_is_accepted(tmp_path):
    written(tmp_path, "day", rows_of("x", 300))
    night = rows_of("n", 11)
    written(tmp_path, "night", [*night, night[0]])

    assert ingest_folder(tmp_path).rejected == {"duplicate impression": 1}
    checked(tmp_path)


@pytest.mark.parametrize(("faulty", "refused"), [(9, False), (10, True)])
def test_fewer_than_ten_faulty_rows_are_accepted(tmp_path, faulty, refused):
    written(tmp_path, "a", rows_of("x", 40))
    written(tmp_path, "b", rows_of("bad", faulty, units=-1))
    ingest_folder(tmp_path)

    if not refused:
        checked(tmp_path)
        return
    with pytest.raises(QualityError, match=r"experiment\.max_faulty_share.*negative units"):
        checked(tmp_path)
    checked(tmp_path, share=1.0)


def test_the_limit_is_over_the_whole_log_with_its_events(tmp_path):
    """20 of 400 rows are 5%: accepted; 21 are refused."""
    written(tmp_path, "a", rows_of("x", 380))
    written(tmp_path, "b", rows_of("bad", 20, units=-1))
    ingest_folder(tmp_path)
    checked(tmp_path)

    written(tmp_path, "c", [impression("worse", units=-1)])
    ingest_folder(tmp_path)
    with pytest.raises(QualityError, match="negative units"):
        checked(tmp_path)


def test_a_plan_with_fewer_variants_than_the_log_names_them_and_the_key(tmp_path):
    plan = VariantPlan(
        experiment="spring",
        groups=(Variant(name="g1", share=0.5), Variant(name="g2", share=0.5)),
    )
    rows = [*rows_of("x", 60), *rows_of("y", 40, group="g2"), *rows_of("z", 20, group="g3")]
    for n, row in enumerate(rows):
        row["user"] = f"u{n}"
    written(tmp_path, "a", rows)

    with pytest.raises(
        LogError,
        match=r"'g3' \(20 impressions\); it has g1, g2.*experiment\.ignored_groups: \['g3'\]",
    ):
        ingest_folder(tmp_path, plan)

    result = ingest_folder(tmp_path, plan, ignored_groups=("g3",))
    assert result.rejected == {"group left out (experiment.ignored_groups)": 20}


@pytest.mark.parametrize(
    ("zone", "first", "end"),
    [
        ("UTC", "2026-03-29T00:00:00+00:00", "2026-03-30T00:00:00+00:00"),
        ("Europe/Berlin", "2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00"),
        ("America/New_York", "2026-03-29T00:00:00-04:00", "2026-03-30T00:00:00-04:00"),
        ("Asia/Kathmandu", "2026-03-29T00:00:00+05:45", "2026-03-30T00:00:00+05:45"),
    ],
)
def test_days_begin_at_local_midnight(zone, first, end):
    """On 29 March 2026, a day has 23 hours in Berlin."""
    from datetime import date, datetime  # noqa: PLC0415 - of this test only

    day = date(2026, 3, 29)
    rules = LogRules.of(ExperimentConfig(first_day=day, last_day=day, time_zone=zone))

    expected = [datetime.fromisoformat(text).timestamp() * 1000 for text in (first, end)]
    assert [rules.first_ts, rules.end_ts] == expected
