"""Very small and very wide studies end in a report, or say in one line before training why not."""

import random

import polars as pl
import pytest
import yaml

from paretoscope import open_study
from pipeline.core.errors import ParetoscopeError

T = 1_756_684_800_000
HOUR = 3_600_000
GENERIC = {
    "session": "s",
    "item": "i",
    "time": "t",
    "event_type": "k",
    "event_types": {"v": "click", "o": "order"},
}


def visits(sessions, items, hours):
    """Sessions of two to six clicks on random items, a third of them ordered, spread over time."""
    rng = random.Random(3)
    for session in range(sessions):
        at = T + rng.randrange(hours * HOUR)
        for _ in range(rng.randrange(2, 7)):
            at += rng.randrange(1000, 60_000)
            item = rng.randrange(items)
            yield session, item, at, "v"
            if rng.random() < 0.3:
                yield session, item, at + 500, "o"


@pytest.fixture
def study_of(tmp_path, small_params):
    """A study of these rows, with changes to its parameters."""

    def made(rows, **changes):
        lines = [",".join(map(str, row)) + "\n" for row in rows]
        (tmp_path / "log.csv").write_text("s,i,t,k\n" + "".join(lines))
        generic = GENERIC | changes.pop("generic", {})
        generic = {name: value for name, value in generic.items() if value is not None}
        changes = {
            "dataset": {"format": "generic", "path": "log.csv", "generic": generic},
            "sessions": {"test_days": 3.0, "validation_days": 2.0, "min_item_support": 1},
            **changes,
        }
        changes["experiment"] = {"source": "held-out-replay", **changes.get("experiment", {})}
        changes["training"] = {"negatives": {"uniform": 1}, **changes.get("training", {})}
        values = dict(small_params)
        values.update({name: values[name] | changed for name, changed in changes.items()})
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(values), "utf-8")
        return open_study(tmp_path)

    return made


ONE = {"evaluation": {"cutoff": 1, "extra_cutoffs": []}}
HOURS = {"test_days": 0.2, "validation_days": 0.1, "min_item_support": 1}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rows", "changes"),
    [
        (visits(300, 1, 280), {**ONE, "experiment": {"groups": 3, "list_length": 1}}),
        (
            [
                ("u", (n + k // 2) % 25, T + 3 * HOUR * n + 1000 * k, kind)
                for n in range(100)
                for k, kind in enumerate("vovo")
            ],
            {"generic": {"session": None, "user": "s"}, "experiment": {"groups": 3}},
        ),
        (visits(600, 30, 23), {"sessions": HOURS, "experiment": {"groups": 3}}),
        (
            [(s, 7 if s % 20 else i, at, kind) for s, i, at, kind in visits(600, 9, 280)],
            {**ONE, "experiment": {"groups": 3, "list_length": 1}},
        ),
        (
            [
                (s, i, T + 96 * HOUR * s + 1000 * i, kind)
                for s in range(3)
                for i in range(4)
                for kind in "vo"
            ],
            {**ONE, "experiment": {"groups": 3, "list_length": 1}},
        ),
        (
            visits(600, 60, 280),
            {
                "evaluation": {"preferences": 61},
                "experiment": {"groups": 60},
                "training": {"epochs": 1},
            },
        ),
    ],
    ids=[
        "one item",
        "one user",
        "one day",
        "all on one item",
        "one session per split",
        "60 groups",
    ],
)
def test_an_extreme_size_ends_in_a_report(study_of, rows, changes):
    study = study_of(rows, **changes)

    study.run()

    assert study.report().page.is_file()


def large_catalogue(items):
    """Sessions of 20 new items each, until all were clicked once; then 300 of two to six items."""
    for session in range(items // 20):
        for n in range(20):
            yield f"train {session}", 20 * session + n, T + 1000 * (20 * session + n), "v"
    last = T + 1000 * items
    for session, item, at, kind in visits(300, items, 120):
        yield session, item, last + at - T, kind


@pytest.mark.slow
@pytest.mark.parametrize("items", [3_000, 300_000])
def test_a_catalogue_that_is_too_large_for_its_sessions_ends_in_a_report(study_of, items):
    """No target of any test session is in the top 20, so there is no order density to show."""
    study = study_of(
        large_catalogue(items),
        sessions={"test_days": 2.5, "validation_days": 1.0, "min_item_support": 1},
        evaluation={"cutoff": 20 if items > 3_000 else 1, "extra_cutoffs": []},
        training={"epochs": 1},
        experiment={"groups": 3},
    )

    study.run()

    points = study.table("pareto_front")
    assert study.table("items").height == items
    undefined = points.filter(pl.col("order_density").is_null())["preference_id"].to_list()
    assert undefined
    page = study.report().page.read_text("utf-8")
    assert f"{len(undefined)} of {points.height} preferences ({', '.join(undefined)})" in page
    assert "undefined: the metric is undefined, 0 or negative in a group" in page


@pytest.mark.parametrize(
    ("rows", "changes", "words"),
    [
        (visits(300, 1, 280), {}, "the catalogue has 1 item, fewer than evaluation.cutoff = 20"),
        (
            [("a", 1, T, "v"), ("a", 2, T + 1, "v"), ("b", 1, T + 200 * HOUR, "v")],
            {},
            "nothing is left in validation_sessions, test_sessions after filtering",
        ),
        (visits(300, 30, 23), {}, "days, but test and validation take 5.00; shorten"),
        ([("a", 1, T, "v")], {}, "the data covers 0.00 days"),
        ([("a", 1, T, "o")], {}, "clicks_present"),
        ([], {}, "no usable event (no rows at all)"),
    ],
    ids=["one item", "two sessions", "one day", "one event", "no click", "no row"],
)
def test_a_size_that_is_too_small_says_why_before_training(study_of, rows, changes, words):
    study = study_of(rows, **changes)

    with pytest.raises(ParetoscopeError) as caught:
        study.run(until="sessions")

    assert words in str(caught.value)
