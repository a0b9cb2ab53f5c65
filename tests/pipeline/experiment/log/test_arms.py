"""Lists that the endpoint serves outside the groups are counted apart, whatever else the log has."""

import json

import polars as pl
import pytest

from pipeline.core.errors import LogError, QualityError
from pipeline.experiment.log.row_fates import read_row_fates
from pipeline.inference.diagnostics.lost_outcomes import lost_outcomes
from pipeline.quality.runner import check_experiment_log, enforce
from tests.pipeline.experiment.logs import (
    PLAN,
    impression,
    ingest_folder,
    logged_impression,
    outcomes,
    users_in,
    write_impressions,
)

OUTSIDE = "impression outside the test groups"
GROUPS = {group.name: users_in(group.name, 20) for group in PLAN.groups}


def of_groups(**changes):
    return [
        logged_impression(f"{group}-{user}", user=user, group=group, **changes)
        for group, users in GROUPS.items()
        for user in users
    ]


def of_arms(n, prefix="arm"):
    """As the endpoint logs them; every second is the candidate's. Their users may be of the groups."""
    users = [user for group in GROUPS.values() for user in group]
    arms = ("incumbent", "candidate")
    return [
        logged_impression(f"{prefix}-{k}", user=users[k % len(users)], group=None, arm=arms[k % 2])
        for k in range(n)
    ]


def write_lines(folder, name, rows):
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")


def events_of(rows, **more):
    return [{"impression": row["impression"], "ts": row["ts"] + 1000, **more} for row in rows]


def log_of(folder, impressions):
    """Every list is clicked and ordered."""
    for n, rows in enumerate(impressions):
        write_lines(folder, f"impressions-{n}", rows)
    rows = [row for part in impressions for row in part]
    write_lines(folder, "clicks-1", events_of(rows))
    write_lines(folder, "orders-1", events_of(rows, units=1))


def test_lists_of_arms_and_their_events_are_out_of_scope(tmp_path):
    """In a file of their own, in one with those of groups, and beside one of before there were arms."""
    mixed = [row | {"arm": None} for row in of_groups(ts=1_760_000_500_000)[:10]]
    mixed = [row | {"impression": f"again-{row['impression']}"} for row in mixed]
    log_of(tmp_path, [of_groups(), of_arms(30), [*mixed, *of_arms(50, "more")]])

    result = ingest_folder(tmp_path)

    assert result.impressions == 50
    assert result.rejected == {
        OUTSIDE: 80,
        "click of an impression out of scope": 80,
        "order of an impression out of scope": 80,
    }
    found = outcomes(tmp_path / "log.duckdb")
    assert len(found) == 50
    assert set(found.values()) == {(True, True, 1, None)}
    fates = read_row_fates(tmp_path / "log.duckdb")
    assert (lost_outcomes(fates).passed, lost_outcomes(fates).lost) == (True, 0)
    assert set(fates.fates.filter(reason=OUTSIDE)["kind"]) == {"out of scope"}


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_other_formats_have_arms_too(tmp_path, form):
    rows = [impression(f"x{n}", user=user) for n, user in enumerate(GROUPS["g1"])]
    rows = [row | {"arm": None} for row in rows]
    rows += [impression(f"a{n}", group=None, arm="incumbent") for n in range(15)]
    table = pl.DataFrame(rows)
    getattr(table, f"write_{form}")(tmp_path / f"impressions.{form}")

    result = ingest_folder(tmp_path)

    assert (result.impressions, result.rejected) == (20, {OUTSIDE: 15})


def test_a_column_of_this_name_of_another_system_changes_nothing(tmp_path):
    """Only a list without a group is of an arm; without an arm of the endpoint's it lacks its group."""
    rows = [
        impression(f"x{n}", user=user) | {"arm": arm}
        for n, (user, arm) in enumerate(
            zip(GROUPS["g1"], ["incumbent", "candidate", "left", None] * 5, strict=True)
        )
    ]
    rows += [impression("y", group=None) | {"arm": "left"}]
    write_impressions(tmp_path / "impressions.parquet", rows, arm=pl.String)
    numbers = [impression("z", user=GROUPS["g1"][0]) | {"arm": 0.5}]
    write_impressions(tmp_path / "more-impressions.parquet", numbers, arm=pl.Float64)

    result = ingest_folder(tmp_path)

    assert (result.impressions, result.rejected) == (21, {"a field is missing": 1})


@pytest.mark.slow
def test_lists_of_arms_hide_no_faults(tmp_path):
    """12 faulty of 100 lists of groups are too many, with 10,000 lists of arms beside them, too."""
    faulty = [impression(f"bad{n}", units=-1) for n in range(12)]
    good = [impression(f"x{n}") for n in range(88)]
    write_impressions(tmp_path / "impressions-1.parquet", [*faulty, *good])
    arms = [impression(f"a{n}", group=None) | {"arm": "incumbent"} for n in range(10_000)]
    write_impressions(tmp_path / "impressions-2.parquet", arms, arm=pl.String)
    ingest_folder(tmp_path)

    with pytest.raises(QualityError, match="faulty = 12, read = 100"):
        enforce(check_experiment_log(tmp_path / "log.duckdb", {"max_faulty_share": 0.05}))


def test_an_unknown_group_is_found_beside_lists_of_arms(tmp_path):
    rows = [impression(f"x{n}") for n in range(50)]
    rows += [impression(f"y{n}", group="g9") for n in range(20)]
    write_impressions(tmp_path / "impressions-1.parquet", rows)
    arms = [impression(f"a{n}", group=None) | {"arm": "incumbent"} for n in range(1000)]
    write_impressions(tmp_path / "impressions-2.parquet", arms, arm=pl.String)

    with pytest.raises(LogError, match="'g9' \\(20 impressions\\)"):
        ingest_folder(tmp_path)


def test_a_log_of_arms_only_says_so(tmp_path):
    log_of(tmp_path, [of_arms(30)])

    with pytest.raises(LogError, match=f"no usable impression.*30 rows rejected: {OUTSIDE}"):
        ingest_folder(tmp_path)
