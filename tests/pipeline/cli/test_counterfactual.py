"""``paretoscope counterfactual``: what it prints, and one line for what it refuses."""

import json

import numpy as np
import pytest

from pipeline.cli import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A log of 1,000 rounds with the actions x and y, of which y is better."""
    folder = tmp_path_factory.mktemp("log")
    rng = np.random.default_rng(4)
    rows = ["action,propensity,reward,p_new"]
    for _ in range(1000):
        is_y = rng.random() < 0.3
        reward = int(rng.random() < (0.6 if is_y else 0.2))
        rows.append(
            f"{'y' if is_y else 'x'},{0.3 if is_y else 0.7},{reward},{0.8 if is_y else 0.2}"
        )
    (folder / "log.csv").write_text("\n".join(rows))
    (folder / "new.csv").write_text("action,probability\nx,0.2\ny,0.8\n")
    (folder / "old.csv").write_text("action,probability\nx,0.7\ny,0.3\n")
    return folder


def run(folder, *options):
    return main(["counterfactual", "--log", str(folder / "log.csv"), *map(str, options)])


def test_it_prints_the_value_and_what_it_rests_on(folder, capsys):
    code = run(folder, "--policy", folder / "new.csv", "--logging", folder / "old.csv")

    lines = capsys.readouterr().out.splitlines()
    assert code == 0
    assert "1,000 rows, 2 actions, no column of users: rows count as independent" in lines[0]
    assert lines[1].startswith("new: 0.5")
    assert "by DR" in lines[1]
    assert "against the logging policy (95% CI +" in lines[1]
    assert "support 100.0%; mean weight" in lines[2]
    assert any(line.startswith("  DM: ") and "reward model" in line for line in lines)


def test_json_has_every_number(folder, capsys):
    run(folder, "--policy", "p_new", "--json")

    found = json.loads(capsys.readouterr().out)
    assert found["policies"][0]["policy"] == "p_new"
    assert found["policies"][0]["headline"] == "IPS"
    assert found["policies"][0]["estimators"][0]["found"]["interval"][0] > 0.4
    assert found["realised"] is None


def test_a_realised_log_is_compared(folder, capsys):
    run(folder, "--policy", folder / "new.csv", "--realised", folder / "log.csv")

    last = capsys.readouterr().out.splitlines()[-1]
    assert "Realised in" in last
    assert "differs significantly from it: +" in last


def test_a_refused_estimate_says_what_to_do(folder, tmp_path, capsys):
    other = tmp_path / "other.csv"
    other.write_text("action,probability\nx,0.2\ny,0.1\nz,0.7\n")

    code = run(folder, "--policy", other, "--logging", folder / "old.csv")

    text = capsys.readouterr().out
    assert code == 0
    assert "other: no value is given, since support 30.0% is below 80%" in text
    assert "closer to the logging policy" in text


def test_a_faulty_log_is_one_line(tmp_path, capsys):
    (tmp_path / "log.csv").write_text("action,propensity,reward\nx,0.5,1\ny,0,1\n")

    code = main(["counterfactual", "--log", str(tmp_path / "log.csv"), "--policy", "p"])

    error = capsys.readouterr().err
    assert code == 1
    assert error.startswith("paretoscope counterfactual: ")
    assert "propensity is 0 in row 2" in error
    assert error.count("\n") == 1
