"""``paretoscope validate-data``: what would become of the rows, and whether they would be refused."""

import json

import pytest
import yaml

from pipeline.cli import main

T = 1_756_684_800_000
HEADER = "s,i,t\n"
GOOD = "".join(f"a,x{n},{T + n}\n" for n in range(4))
BAD = "b,,5\nb,y,never\n"


@pytest.fixture
def project(tmp_path, small_params, monkeypatch):
    """A project whose raw log is a CSV file of these lines."""
    monkeypatch.chdir(tmp_path)

    def made(text):
        (tmp_path / "log.csv").write_text(HEADER + text)
        layout = {"session": "s", "item": "i", "time": "t"}
        dataset = {"format": "generic", "path": "log.csv", "generic": layout}
        experiment = small_params["experiment"] | {"source": "held-out-replay"}
        values = small_params | {"dataset": dataset, "experiment": experiment}
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(values), "utf-8")
        return tmp_path

    return made


def test_data_that_would_be_refused_is_shown_and_fails(project, capsys):
    folder = project(GOOD + BAD)

    assert main(["validate-data"]) == 1

    shown = capsys.readouterr()
    assert "4 usable events of 1 session and 4 items in 1 file; 2 rows rejected" in shown.out
    assert "ts (column t): 2025-09-01T00:00:00.000Z, 2025-09-01T00:00:00.001Z" in shown.out
    assert "1 row rejected: a field is missing (i); first in log.csv line 6: 'b,5,,click'" in (
        shown.out
    )
    assert "1 row rejected: a field has the wrong type (t); first in log.csv line 7" in shown.out
    assert "2 of 6 rows are rejected" in shown.err
    assert sorted(file.name for file in folder.iterdir()) == ["log.csv", "params.yaml"]


def test_the_json_has_every_kind_of_rejected_row(project, capsys):
    project(GOOD + BAD)

    assert main(["validate-data", "--json"]) == 1

    found = json.loads(capsys.readouterr().out)
    kinds = [(kind["reason"], kind["field"], kind["rows"]) for kind in found["rejected_kinds"]]
    assert kinds == [("a field has the wrong type", "t", 1), ("a field is missing", "i", 1)]
    assert (found["events"], found["items"]) == (4, 4)
    assert "at most 5.0% are accepted" in found["refusal"]


@pytest.mark.parametrize(("text", "code"), [(GOOD, 0), ("", 1), (BAD, 1)], ids=repr)
def test_the_exit_code_is_whether_ingestion_would_accept(project, capsys, text, code):
    project(text)

    assert main(["validate-data"]) == code
    assert ("no usable event" in capsys.readouterr().err) == bool(code)
