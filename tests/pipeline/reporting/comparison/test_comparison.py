"""A comparison contains what the reports of its studies contain, and no more."""

import json
import math

import pytest

from pipeline.cli import main
from pipeline.core.errors import DataError, MissingArtifact
from pipeline.reporting.comparison.build import build_comparison
from pipeline.reporting.render import write_comparison
from pipeline.results.document import SCHEMA_VERSION
from pipeline.results.reader import read_studies
from tests.pipeline.reporting.comparison.studies import H1, H4, report, write


@pytest.fixture
def compared(tmp_path, monkeypatch):
    """Writes reports and compares them."""
    monkeypatch.chdir(tmp_path)

    def compare(*reports, level=0.95):
        names = [str(write(tmp_path / str(n), one)) for n, one in enumerate(reports)]
        return build_comparison(read_studies(names), level=level)

    return compare


def test_slopes_are_compared_and_their_difference_is_tested(compared):
    reports = report("spring", 0.5), report("summer", 1.5, md5="n" * 32)

    found = compared(*reports)

    (one,) = found.hypotheses
    (difference,) = one.differences
    first, second = (whole["hypotheses"][0]["cluster_robust"] for whole in reports)
    assert [row.slope for row in one.studies] == [first["slope"], second["slope"]]
    assert one.studies[0].test.interval == pytest.approx(first["interval"])
    assert difference.test.slope == second["slope"] - first["slope"]
    errors = first["standard_error"], second["standard_error"]
    assert difference.test.standard_error == math.hypot(*errors)
    assert difference.contrast == "different"
    assert difference.independent is True
    assert found.dependence_warnings == ()


def test_the_interval_of_the_difference_covers_the_planted_difference(compared):
    found = compared(report("a", 0.5), report("b", 0.9))

    low, high = found.hypotheses[0].differences[0].test.interval
    assert low < 0.4 < high


def test_equal_slopes_are_inconclusive(compared):
    found = compared(report("a", 0.8), report("b", 0.8, epochs=3))

    difference = found.hypotheses[0].differences[0]
    assert difference.contrast == "inconclusive"
    assert "inconclusive, which does not show that they are equal" in found.summary[1]


def test_the_level_is_that_of_the_intervals(compared):
    reports = report("a", 0.5), report("b", 0.9)

    narrow, wide = (compared(*reports, level=level) for level in (0.8, 0.99))

    ends = [found.hypotheses[0].studies[0].test.interval for found in (narrow, wide)]
    assert ends[1][0] < ends[0][0] < ends[0][1] < ends[1][1]


@pytest.mark.parametrize(
    ("same", "because"),
    [
        ({"experiment": "pareto"}, "both use the experiment 'pareto' and may share users"),
        ({"md5": "0" * 32}, "the offline metrics are measured on the same raw data"),
        (
            {"source": "simulated-shop"},
            "the simulated users have the same seeds",
        ),
    ],
)
def test_reasons_for_dependence_are_reported(compared, same, because):
    found = compared(report("a", 0.5, **same), report("b", 1.5, **{"md5": "n" * 32} | same))

    (warning,) = found.dependence_warnings
    assert (warning.studies, warning.reasons) == (("a", "b"), (because,))
    assert found.hypotheses[0].differences[0].independent is False
    assert "If the studies are independent, the slopes differ" in found.summary[1]


def test_simulated_users_with_other_seeds_are_independent(compared):
    source = {"source": "simulated-shop"}

    found = compared(report("a", 0.5, **source), report("b", 0.5, seed=2, md5="n", **source))

    assert found.dependence_warnings == ()


def test_the_largest_hypervolume_is_named_if_measured_on_the_same_sessions(compared):
    found = compared(report("a", 0.5), report("b", 0.5, better=1.1))

    fronts = found.fronts
    assert (fronts.largest, fronts.not_comparable_because) == ("b", None)
    (a,), (b,) = (one.dominated_by for one in fronts.studies)
    # every recall is 1.1 times as high at the same order density
    assert ((a.study, a.points), (b.study, b.points)) == (("b", 4), ("a", 0))
    assert found.summary[0].startswith("The front of b has the largest hypervolume")


def test_fronts_of_different_data_are_shown_and_not_ranked(compared):
    found = compared(report("a", 0.5), report("b", 0.5, better=1.1, md5="n" * 32))

    assert found.fronts.largest is None
    assert found.fronts.not_comparable_because == "the metrics are measured on different data"
    assert "cannot be compared: the metrics are measured on different data" in found.summary[0]


def test_equal_fronts_are_called_equal(compared):
    found = compared(report("a", 0.5), report("b", 0.9))

    assert found.summary[0].startswith("The fronts have the same hypervolume")


def test_studies_of_variants_have_no_front(compared):
    reports = [report("a", 0.5), report("b", 0.9)]
    for one in reports:
        one["front"] = one["data"] = None

    assert compared(*reports).fronts is None


def test_changed_parameters_are_listed_by_key(compared):
    found = compared(report("a", 0.5), report("b", 0.5, epochs=3))

    assert [(row.key, row.values) for row in found.parameters] == [
        ("study.name", ("a", "b")),
        ("training.epochs", (10, 3)),
    ]
    # study.seed, synthetic.seed, training.threads and experiment.source
    assert found.equal_parameters == 4


def test_the_data_is_compared_fact_by_fact(compared):
    found = compared(report("a", 0.5), report("b", 0.5, md5="n" * 32))

    rows = {row.fact: (row.values, row.same) for row in found.data}
    assert rows["raw data, md5"] == (("m" * 32, "n" * 32), False)
    assert rows["events"] == ((1000, 1000), True)
    assert rows["impressions"] == ((800_000, 800_000), True)


def test_a_slope_that_is_blocked_or_not_tested_is_not_compared(compared):
    found = compared(
        report("a", 0.5, hypotheses=(H1, H4)), report("b", 0.5, healthy=False), report("c", 0.5)
    )

    first, second = found.hypotheses
    assert [one.studies for one in first.differences] == [("a", "c")]
    assert first.studies[1].exclusion_reason == "blocked"
    assert (second.differences, second.not_tested) == ((), ("b", "c"))
    assert "b: not tested; c: not tested" in found.summary[-1]


def test_the_same_metric_at_another_cutoff_is_another_metric(compared):
    other = report("b", 0.5)
    other["cutoff"] = 10

    found = compared(report("a", 0.5), other)

    assert [one.metric for one in found.hypotheses] == ["Recall@20", "Recall@10"]
    assert found.fronts.not_comparable_because == "the metrics have different cutoffs"


def test_three_studies_are_compared_two_by_two(compared):
    found = compared(*(report(name, slope) for name, slope in (("a", 0.2), ("b", 0.8), ("c", 1.4))))

    pairs = [one.studies for one in found.hypotheses[0].differences]
    assert pairs == [("a", "b"), ("a", "c"), ("b", "c")]


def test_studies_with_the_same_name_are_labelled_by_path(tmp_path):
    before, after = (
        write(tmp_path / name, report("shop", slope)) for name, slope in (("old", 0.5), ("new", 1))
    )

    labels = [one.label for one in read_studies([str(before), str(after.parents[1])])]

    assert labels == [str(before.parents[1]), str(after.parents[1])]


def test_a_report_with_another_schema_version_is_rejected_with_a_remedy(tmp_path):
    old = report("old", 0.5) | {"schema_version": SCHEMA_VERSION - 1}
    names = [str(write(tmp_path, one)) for one in (old, report("new", 0.5))]

    with pytest.raises(DataError, match=rf"schema version {SCHEMA_VERSION - 1}.*Re-run: dagster"):
        read_studies(names)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hypotheses": []}, "has no hypotheses; expected at least one"),
        ({"group_kpis": 3}, "group_kpis: Input should be a valid"),
    ],
)
def test_an_invalid_report_is_rejected_by_key(tmp_path, change, words):
    names = [str(write(tmp_path, one)) for one in (report("a", 0.5) | change, report("b", 0.5))]

    with pytest.raises(DataError, match=words):
        read_studies(names)


def test_a_single_study_and_a_repeated_study_are_rejected(tmp_path):
    name = str(write(tmp_path, report("a", 0.5)))

    with pytest.raises(DataError, match=r"got one study, .*; compare needs two or more"):
        read_studies([name])
    with pytest.raises(DataError, match="are the same report"):
        read_studies([name, name])


def test_an_unknown_study_is_rejected_with_the_finished_studies(tmp_path, monkeypatch):
    (tmp_path / "params.yaml").touch()
    write(tmp_path / "data/studies", report("spring", 0.5))
    monkeypatch.chdir(tmp_path)

    with pytest.raises(
        MissingArtifact, match=r"no report of 'winter'.*finished studies are spring"
    ):
        read_studies(["spring", "winter"])


@pytest.mark.slow
def test_a_folder_with_other_files_is_not_replaced(compared, tmp_path):
    found = compared(report("a", 0.5), report("b", 0.9))
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "thesis.tex").touch()

    with pytest.raises(DataError, match=r"other files \(thesis\.tex\), which would be deleted"):
        write_comparison(found, folder)


def test_the_command_writes_three_files_and_prints_the_summary(tmp_path, monkeypatch, capsys):
    (tmp_path / "params.yaml").touch()
    for name, slope in (("spring", 0.5), ("summer", 1.5)):
        write(tmp_path / "data/studies", report(name, slope))
    monkeypatch.chdir(tmp_path)

    status = main(["compare", "spring", "summer"])

    folder = tmp_path / "data/comparisons/spring-summer"
    out, err = capsys.readouterr()
    found = json.loads((folder / "comparison.json").read_text("utf-8"))
    assert (status, err) == (0, "")
    assert out.splitlines()[:-2] == found["summary"]
    assert out.splitlines()[-1] == f"comparison: {folder / 'index.html'}"
    assert {file.name for file in folder.iterdir()} == {
        "comparison.json",
        "comparison.md",
        "index.html",
    }
    assert [one["report"] for one in found["studies"]] == [
        f"data/studies/{name}/report/report.json" for name in ("spring", "summer")
    ]


def test_the_command_prints_the_comparison_as_json(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = [str(write(tmp_path, report(name, 0.5))) for name in ("a", "b")]

    status = main(["compare", *names, "--out", "both", "--json"])

    found = json.loads(capsys.readouterr().out)
    assert (status, found.pop("page")) == (0, "both/index.html")
    assert found == json.loads((tmp_path / "both/comparison.json").read_text("utf-8"))


def test_names_with_html_or_markdown_stay_text(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "<b>a|b"
    names = [str(write(place, report("shop", s))) for place, s in ((folder, 0.5), (tmp_path, 1))]

    write_comparison(build_comparison(read_studies(names), level=0.95), tmp_path / "out")

    assert "<b>a" not in (tmp_path / "out/index.html").read_text("utf-8")
    assert "&lt;b>a\\|b" in (tmp_path / "out/comparison.md").read_text("utf-8")
