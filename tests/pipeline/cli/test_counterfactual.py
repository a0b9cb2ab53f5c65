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
    assert code == 1
    assert "other: no value is given, since support 30.0% is below 80%" in text
    assert "closer to the logging policy" in text
    assert text.count("support 30.0% is below 80%") == 1  # not once per estimator
    assert "  IPS, clipped IPS, " in text
    assert run(folder, "--policy", other, "--logging", folder / "old.csv", "--json") == 1
    assert json.loads(capsys.readouterr().out)["policies"][0]["estimators"][0]["found"] is None


@pytest.mark.parametrize(("propensity", "side"), [("0.4", "above"), ("0.9", "below")])
def test_wrong_propensities_are_to_be_corrected(folder, tmp_path, capsys, propensity, side):
    """More rows would not help. Only a mean weight that is too small could be a lack of support."""
    head, *rows = (folder / "log.csv").read_text().splitlines()
    cells = [row.split(",") for row in rows]
    wrong = [head, *(",".join([action, propensity, *rest]) for action, _, *rest in cells)]
    (tmp_path / "log.csv").write_text("\n".join(wrong))
    (tmp_path / "x.csv").write_text("action,probability\nx,0.9\ny,0.1\n")

    assert run(tmp_path, "--policy", tmp_path / "x.csv") == 1

    text = capsys.readouterr().out
    assert text.count(f"standard errors {side} its expectation") == 1
    assert "Correct the propensities: they are not" in text
    assert "Log more rows" not in text
    assert ("unless the logging policy could never choose" in text) is (side == "below")


def test_an_action_that_is_never_logged_is_named(folder, tmp_path, capsys):
    other = tmp_path / "other.csv"
    other.write_text("action,probability\nx,0.2\ny,0.7\nz,0.1\n")

    assert run(folder, "--policy", other) == 0

    text = capsys.readouterr().out
    assert "  never logged: z (10.0%); the log says nothing of 10.0% of what the policy" in text
    assert "Pass --logging" in text
    assert "support 90.0% at most" in text
    assert "propensities" not in text
    assert "(no CI: the reward of what the log cannot show is unknown) by DR" in text


def test_no_success_has_no_interval(tmp_path, capsys):
    (tmp_path / "log.csv").write_text("action,propensity,reward,p_new\n" + "x,0.7,0,0.2\n" * 300)

    run(tmp_path, "--policy", "p_new")

    first = capsys.readouterr().out.splitlines()[0]
    assert first.endswith("Mean reward 0.0000 (no CI: the rewards that it rests on are all equal).")


def test_a_faulty_log_is_one_line(tmp_path, capsys):
    (tmp_path / "log.csv").write_text("action,propensity,reward\nx,0.5,1\ny,0,1\n")

    code = main(["counterfactual", "--log", str(tmp_path / "log.csv"), "--policy", "p"])

    error = capsys.readouterr().err
    assert code == 1
    assert error.startswith("paretoscope counterfactual: ")
    assert "propensity is 0 in row 2" in error
    assert error.count("\n") == 1
