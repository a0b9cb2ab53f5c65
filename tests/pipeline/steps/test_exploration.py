"""The expected cost of exploration of a finished study, before it is on and when it is."""

import json

import pytest

from pipeline.cli import main


@pytest.mark.slow
def test_the_plan_says_what_exploration_would_cost(finished_study, capsys, monkeypatch):
    monkeypatch.chdir(finished_study)

    assert main(["plan", "--explore", "0.05,0.3"]) == 0
    with_cost = capsys.readouterr().out.splitlines()
    assert main(["plan"]) == 0
    without = capsys.readouterr().out.splitlines()
    assert main(["plan", "--explore", "0.05,0.3", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    found, groups = printed["exploration"], printed["plan"]["groups"]

    assert with_cost[: len(without)] == without
    assert with_cost[len(without)].startswith("exploration: 5% of the lists are drawn at random")
    assert (found["share"], found["temperature"]) == (0.05, 0.3)
    assert [one["metric"] for one in found["metrics"]] == ["recall", "ndcg"]
    assert [len(one["by_group"]) for one in found["metrics"]] == [len(groups)] * 2
    assert 0 < found["first_kept"] < 1


@pytest.mark.slow
def test_the_exploration_of_the_study_has_its_cost_without_an_option(
    finished_study, tmp_path, capsys, monkeypatch
):
    (tmp_path / "data").symlink_to(finished_study / "data")
    params = (finished_study / "params.yaml").read_text("utf-8")
    assert "exploration: null" in params
    section = "exploration: {share: 0.1, temperature: 0.2}"
    (tmp_path / "params.yaml").write_text(params.replace("exploration: null", section))
    monkeypatch.chdir(tmp_path)

    assert main(["plan"]) == 0

    cost = capsys.readouterr().out.splitlines()[-3:]
    assert cost[0].startswith("exploration: 10% of the lists are drawn at random, temperature 0.2")
    assert cost[2].endswith("the power is that of 90% of the impressions")
