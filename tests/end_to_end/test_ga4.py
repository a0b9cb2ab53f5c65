"""An export of Google Analytics 4 becomes a report by params.yaml alone."""

import json

import pytest
import yaml

from paretoscope import open_study
from pipeline.cli import main
from tests.pipeline.datasets.formats import ga4


@pytest.fixture(scope="module")
def project(tmp_path_factory, small_params):
    """A project whose raw log is such an export, and what plain Python counts in it."""
    folder = tmp_path_factory.mktemp("ga4 [v2]")
    export = ga4.export(sessions=1500, items=150)
    (folder / "export").mkdir()
    ga4.write(export[: len(export) // 2], folder / "export/events_20250901.csv")
    ga4.write(export[len(export) // 2 :], folder / "export/events_20250902.csv")
    changes = {
        "study": {"name": "ga4", "seed": 1},
        "dataset": {**ga4.DATASET, "path": "export"},
        "sessions": {"test_days": 3.0, "validation_days": 2.0, "min_item_support": 2},
        "experiment": {**small_params["experiment"], "source": "held-out-replay"},
    }
    (folder / "params.yaml").write_text(
        yaml.safe_dump({**small_params, **changes}, sort_keys=False), "utf-8"
    )
    return folder, ga4.counts(export)


@pytest.mark.slow
def test_the_export_ends_in_a_report_with_its_sessions_and_revenue(project):
    folder, expected = project

    study = open_study(folder)
    study.run()

    read = study.report().document.data["events"]
    assert {name: read[name] for name in expected} == expected
    assert read["rejected_by_reason"].keys() == {"an event type that is not used"}
    items = study.table("items")["item"].to_list()
    assert {"SKU 4=cmd|' /C calc'!A0", "SKU 5a/b", "SKU 6<b>"} <= set(items)
    page = (folder / "data/studies/ga4/report/index.html").read_text("utf-8")
    assert f"The revenue of the orders is {expected['revenue']:,.2f} EUR; 0 orders have" in page
    assert "6<b>" not in page
    assert len(study.report().hypotheses) == 4


def test_validate_data_shows_what_becomes_of_the_rows(project, monkeypatch, capsys):
    folder, expected = project
    monkeypatch.chdir(folder)

    assert main(["validate-data", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert main(["validate-data"]) == 0
    text = capsys.readouterr().out

    assert {name: found[name] for name in expected} == expected
    assert found["columns"]["session"] == "user_pseudo_id, ga_session_id"
    assert f"{expected['sessions']:,} sessions" in text
    assert (
        "view_item → click, add_to_cart → cart, purchase → order, session_start → not used" in text
    )
    assert f"revenue {expected['revenue']:,.2f} EUR; 0 orders without a price" in text
