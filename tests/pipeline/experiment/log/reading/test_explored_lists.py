"""Explored lists in the log: out of scope for the KPIs, faults of their propensities, and what is read of them."""

import json

import polars as pl
import pytest

from pipeline.core.errors import LogError
from pipeline.experiment.kpis.aggregate import aggregate
from pipeline.experiment.log.log_files import DRAW_COLUMNS, EXPLORED_COLUMNS, LIST_COLUMNS
from pipeline.experiment.log.reading.explored_lists import read_explored_lists
from pipeline.experiment.log.reading.log_folder import log_files
from pipeline.experiment.log.row_fates import read_row_fates
from pipeline.inference.diagnostics.lost_outcomes import lost_outcomes
from pipeline.study import ImpressionColumns, LogColumns, LogFileNames
from tests.pipeline.experiment.logs import (
    HOUR,
    PLAN,
    TS,
    impression,
    ingest_folder,
    logged_impression,
    users_in,
    write_impressions,
)

PEOPLE = {group: users_in(group, 20) for group in ("g1", "g2")}
ANN = PEOPLE["g1"][0]
DRAWN = {
    "explored": True,
    "propensity": 0.125,
    "position_propensities": [0.25, 0.5],
    "temperature": 0.3,
    "candidates": 200,
}
SHOWN = {"session": ["1"], "items": ["7", "8"], "model": "0123456789ab"}
COLUMNS = LIST_COLUMNS | EXPLORED_COLUMNS | DRAW_COLUMNS


def own(name, group, user, *, clicked):
    return impression(name, group=group, user=user, clicked=clicked, ordered=False, units=0)


def explored(name, group="g1", user=ANN, **changes):
    row = own(name, group, user, clicked=True)
    return row | SHOWN | {"clicked_item": "8"} | DRAWN | changes


def fates(folder):
    found = read_row_fates(folder / "log.duckdb")
    rows = found.fates.filter(pl.col("reason").is_not_null())
    return found, sorted(rows.select("table", "group", "kind", "reason", "rows").rows())


def read(folder):
    files = log_files(folder, LogFileNames(ignored="*.duckdb")).files
    return read_explored_lists(files, folder / "log.duckdb")


def write_lines(file, rows):
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


def test_explored_lists_never_enter_the_kpis(tmp_path):
    """Planted: every explored list of g1 is clicked and none of g2; of the others, one in four of both."""
    rows = [
        row
        for group, users in PEOPLE.items()
        for n, user in enumerate(users)
        for row in (
            own(f"{user}-own", group, user, clicked=n % 4 == 0) | {"explored": False},
            explored(f"{user}-drawn", group, user, clicked=group == "g1"),
        )
    ]
    write_impressions(tmp_path / "impressions.parquet", rows, **COLUMNS)

    ingest_folder(tmp_path)

    kpis = aggregate(tmp_path / "log.duckdb", PLAN).group_kpis.filter(kpi="ctr").sort("group")
    assert kpis.select("group", "trials", "successes").rows() == [("g1", 20, 5), ("g2", 20, 5)]
    found, rejected = fates(tmp_path)
    reason = ("out of scope", "explored list", 20)
    assert rejected == [("impressions", "g1", *reason), ("impressions", "g2", *reason)]
    funnel = found.funnel().select("group", "read", "usable", "attributed").rows()
    assert funnel == [("g1", 40, 20, 20), ("g2", 40, 20, 20)]
    assert lost_outcomes(found).passed
    drawn = read(tmp_path)
    clicks = drawn.group_by("group").agg(pl.col("clicked").sum()).sort("group")
    assert clicks.rows() == [("g1", 20), ("g2", 0)]


@pytest.mark.parametrize(
    ("propensity", "reason"),
    [
        (None, "explored list without a propensity"),
        (0.0, "propensity not above 0 and at most 1"),
        (1.5, "propensity not above 0 and at most 1"),
        (float("nan"), "propensity not above 0 and at most 1"),
    ],
)
def test_faulty_propensities_are_counted_by_group(tmp_path, propensity, reason):
    rows = [
        own("a", "g1", ANN, clicked=True) | {"explored": None},
        explored("b"),
        explored("c", propensity=propensity),
        explored("d", "g2", PEOPLE["g2"][0], propensity=propensity),
    ]
    write_impressions(tmp_path / "impressions.parquet", rows, **COLUMNS)

    result = ingest_folder(tmp_path)

    assert result.impressions == 1
    assert result.rejected == {reason: 2, "explored list": 1}
    assert reason in result.examples
    assert fates(tmp_path)[1] == [
        ("impressions", "g1", "invalid", reason, 1),
        ("impressions", "g1", "out of scope", "explored list", 1),
        ("impressions", "g2", "invalid", reason, 1),
    ]
    assert read(tmp_path)["impression"].to_list() == ["b"]


def test_clicks_on_explored_lists_are_no_lost_events(tmp_path):
    """As ``paretoscope serve`` writes it; a click counts within the attribution window."""
    served = [
        logged_impression("a", user=ANN) | SHOWN | dict.fromkeys(DRAWN) | {"explored": False},
        logged_impression("b", user=ANN) | SHOWN | DRAWN,
        logged_impression("c", user=ANN, ts=TS + 1) | SHOWN | DRAWN,
    ]
    write_lines(tmp_path / "impressions-1.jsonl", served)
    clicks = [
        {"impression": name, "ts": TS + after, "item": "7"}
        for name, after in (("a", 1000), ("b", 1000), ("c", 30 * HOUR))
    ]
    write_lines(tmp_path / "clicks-1.jsonl", clicks)

    ingest_folder(tmp_path)

    found, rejected = fates(tmp_path)
    outside = "click of an impression out of scope"
    assert [row[3:] for row in rejected] == [(outside, 2), ("explored list", 2)]
    assert lost_outcomes(found).passed
    drawn = read(tmp_path)
    assert drawn.select("impression", "clicked", "clicked_item", "propensity").rows() == [
        ("b", True, "7", 0.125),
        ("c", False, "7", 0.125),
    ]


def test_files_from_before_and_after_exploration_are_one_log(tmp_path):
    write_impressions(tmp_path / "impressions-1.parquet", [impression("a")])
    write_impressions(tmp_path / "impressions-2.parquet", [explored("b")], **COLUMNS)
    text = "experiment,impression,user,group,ts,clicked,ordered,units,explored,propensity\n"
    row = f"spring,{{}},{ANN},g1,{TS},true,true,2,{{}},{{}}\n"
    (tmp_path / "impressions-3.csv").write_text(
        text + row.format("c", "false", "") + row.format("d", "true", "1e-40")
    )

    result = ingest_folder(tmp_path)

    assert (result.impressions, result.rejected) == (2, {"explored list": 2})


def test_columns_of_another_name_can_be_mapped(tmp_path):
    rows = [own(f"{n}", "g1", ANN, clicked=False) | {"random": n > 0, "p": 0.5} for n in range(2)]
    pl.DataFrame(rows).write_parquet(tmp_path / "impressions.parquet")
    columns = LogColumns(impressions=ImpressionColumns(explored="random", propensity="p"))

    result = ingest_folder(tmp_path, columns=columns)

    assert (result.impressions, result.rejected) == (1, {"explored list": 1})


def test_events_without_an_impression_cannot_be_told_apart(tmp_path):
    """Those of an explored list would count for the user's last other list."""
    shown = [logged_impression("a", user=ANN) | DRAWN, logged_impression("b", user=ANN)]
    pl.DataFrame(shown).write_parquet(tmp_path / "impressions.parquet")
    pl.DataFrame({"user": [ANN], "ts": [TS + 1000]}).write_parquet(tmp_path / "clicks.parquet")

    with pytest.raises(LogError, match=r"1 explored lists, but its clicks do not name their impr"):
        ingest_folder(tmp_path, columns=LogColumns())


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"position_propensities": None},
            "has no position_propensities, temperature or candidates",
        ),
        ({"temperature": None}, "has no position_propensities, temperature or candidates"),
        ({"position_propensities": [0.125]}, "has not one of the position_propensities per item"),
        ({"position_propensities": [0.0, 0.5]}, "not above 0 and at most 1"),
        ({"position_propensities": [0.5, 0.5]}, "is not the product of its position_propensities"),
        ({"clicked_item": "9"}, "its clicked_item is not one of its items"),
        ({"clicked_item": None}, "its clicked_item is not one of its items"),
    ],
)
def test_draws_that_contradict_themselves_are_refused(tmp_path, changes, problem):
    rows = [impression("a"), explored("b"), explored("c", **changes)]
    write_impressions(tmp_path / "impressions.parquet", rows, **COLUMNS)
    ingest_folder(tmp_path)

    with pytest.raises(LogError, match=f"explored list c .*{problem}.*as 1 of 2 do"):
        read(tmp_path)


def test_a_log_without_explored_lists_says_how_to_get_them(tmp_path):
    write_impressions(tmp_path / "impressions.parquet", [impression("a", **SHOWN)], **LIST_COLUMNS)
    ingest_folder(tmp_path)

    with pytest.raises(LogError, match=r"no explored lists: set serving\.exploration"):
        read(tmp_path)
