"""The lists of both arms of a release: metrics and the preview, by hand."""

import json
import shutil
from dataclasses import replace
from math import sqrt
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from models.tokens import SessionTokens
from pipeline.artifacts.storage import StudyPaths
from pipeline.cli import main
from pipeline.core.errors import DataError
from pipeline.evaluation.test_set import HeldOutSessions
from pipeline.rollout.gates import Outcome
from pipeline.steps.rollout_gates import offline
from pipeline.steps.rollout_gates.arm_lists import ArmLists
from pipeline.steps.rollout_gates.offline import check_offline
from pipeline.steps.rollout_gates.preview import preview_lines, preview_of
from pipeline.steps.run import run_step
from pipeline.study import PARAMS_FILE, EvaluationConfig, Pin, RuleSet, load_study
from pipeline.study.rollout import OfflineGate
from tests.pipeline.rollout.releases import gated

PARAMS = Path(__file__).parents[3] / PARAMS_FILE
ITEMS = ("a", "b", "c", "d")
CONFIG = EvaluationConfig(cutoff=2, cold_item_clicks=1, custom_metrics=(), extra_cutoffs=())


def held_out(*sessions):
    """Sessions of pairs of an item and whether it was ordered."""
    tokens = SessionTokens.from_lists(
        [[(ITEMS.index(item), int(ordered)) for item, ordered in one] for one in sessions]
    )
    return HeldOutSessions(
        tokens=tokens,
        times=np.arange(tokens.offsets[-1]),
        train_clicks_I=np.array([5, 5, 5, 1]),
        items=pl.DataFrame({"item": ITEMS}),
    )


@pytest.fixture
def lists():
    """Of four sessions, the incumbent's lists have three last clicks, the candidate's two."""
    test = held_out(
        [("a", 0), ("b", 1)],
        [("a", 0), ("c", 0)],
        [("b", 0), ("c", 0), ("d", 1)],
        [("c", 0), ("a", 0)],
    )
    return ArmLists(
        k=2,
        test=test,
        candidate=(("d", "b"), ("d", "a"), ("d", "a"), ("d",)),
        incumbent=(("b", "a"), ("a", "c"), ("a", "b"), ("a", "b")),
    )


def test_metrics_of_the_last_clicks_by_hand(lists):
    found = lists.estimates(["recall", "order_density", "mrr", "cold_item_recall"], CONFIG)

    assert found["recall"].value_G.tolist() == [2 / 4, 3 / 4]
    assert found["order_density"].value_G.tolist() == [2 / 2, 1 / 3]
    assert found["mrr"].value_G.tolist() == [(1 / 2 + 1) / 4, (1 + 1 / 2 + 1) / 4]
    assert found["cold_item_recall"].value_G.tolist() == [1.0, 0.0]
    # 4/3 of the mean square deviation, over 4 sessions: hits (1, 0, 1, 0) and (1, 1, 0, 1)
    assert found["recall"].covariance_GG == pytest.approx(
        np.array([[1 / 4, -1 / 8], [-1 / 8, 3 / 16]]) / 3
    )
    with pytest.raises(DataError, match="no column 'click_loss'"):
        lists.estimates(["click_loss"], CONFIG)


def test_a_preview_by_hand(lists):
    plan = gated().plan
    pinned = RuleSet(rules=(Pin(rule="pin", item="d", position=1),))
    plan = replace(plan, candidate=replace(plan.candidate, rules=pinned))

    found = preview_of(replace(lists, unknown_items=1), plan, CONFIG)

    assert (found.sessions, found.k, found.changed) == (4, 2, 1.0)
    assert found.replaced == (1 + 1 + 1 + 1) / 4
    assert (found.short, found.short_before) == (1, 0)
    assert [(one.item, one.position, one.share) for one in found.pins] == [("d", 1, 1.0)]
    assert [(one.item, one.incumbent, one.candidate) for one in found.more] == [("d", 0.0, 1.0)]
    assert [(one.item, one.incumbent, one.candidate) for one in found.less] == [
        ("b", 3 / 4, 1 / 4),
        ("a", 1.0, 1 / 2),
        ("c", 1 / 4, 0.0),
    ]
    recall = found.metrics[0]
    error = sqrt((1 / 4 + 3 / 16 + 2 / 8) / 3)
    assert (recall.candidate, recall.incumbent) == (0.5, 0.75)
    assert recall.interval == pytest.approx((-0.25 - 1.959964 * error, -0.25 + 1.959964 * error))
    assert [one.session for one in found.examples] == [("a",), ("a",), ("b", "c")]
    text = "\n".join(preview_lines(found))
    assert f"p07 with rules {pinned} instead of p04" in text
    assert "100.0% of the lists change; 1.0 of their items on average are new" in text
    assert "recall of the last clicks: 75.00% before, 50.00% after; change -25.00 points" in text
    assert "1 item of its rules and filters not in the catalogue" in text
    assert "d is pinned to position 1: it is there in 100.0% of the lists" in text
    assert "session b c:\n  before: a b\n  after:  d a" in text


def test_equal_lists_change_nothing(lists):
    found = preview_of(replace(lists, candidate=lists.incumbent), gated().plan, CONFIG)

    assert (found.changed, found.replaced, found.more, found.less, found.examples) == (
        0,
        0,
        (),
        (),
        (),
    )
    assert found.metrics[0].interval == pytest.approx((0, 0))


@pytest.fixture
def check(lists, monkeypatch, tmp_path):
    """The gate of a candidate with rules of its own, on these lists."""
    study = replace(load_study(PARAMS), evaluation=CONFIG)
    plan = gated().plan
    plan = replace(plan, candidate=replace(plan.candidate, rules=RuleSet()))

    def checked(found=lists, **margins):
        monkeypatch.setattr(offline, "arm_lists", lambda *_: found)
        return check_offline(OfflineGate(not_worse=margins), plan, study, tmp_path)

    return checked


def test_the_offline_gate_compares_lists_where_rules_differ(check, lists):
    failed = check(recall=0.1)
    assert failed.outcome is Outcome.FAILED
    assert failed.numbers["recall"]["change"] == pytest.approx(2 / 3 - 1)
    same = check(replace(lists, candidate=lists.incumbent), recall=0.1)
    assert same.outcome is Outcome.PASSED
    assert same.numbers["recall"]["at_least"] == pytest.approx(0)


def test_what_lists_cannot_say_fails_the_gate(check, lists):
    assert "lists have places, but no scores" in check(click_loss=0.1).reason
    assert "gini: of lists under other rules, only recall" in check(gini=0.1).reason
    assert "need lists of as many, but they have 1" in check(replace(lists, k=1), recall=0.1).reason
    nothing = replace(lists, candidate=(("a",),) * 3 + (("b",),))
    assert "has no ratio" in check(nothing, recall=0.1).reason


@pytest.mark.slow
def test_a_preview_of_a_finished_study(finished_study, tmp_path, monkeypatch, capsys):
    """A pinned item is in every list of the candidate, and the incumbent's lists hit as often as offline metrics say."""
    shutil.copytree(finished_study, tmp_path, dirs_exist_ok=True)
    paths = StudyPaths(tmp_path, "synthetic-shop")
    front = pl.read_parquet(paths.artifact("pareto_front", "pareto_front.parquet"))
    item = str(pl.read_parquet(paths.artifact("sessions", "items.parquet"))["item"][5])
    (tmp_path / "rules.yaml").write_text(
        f"rules:\n  - {{rule: pin, item: '{item}', position: 1}}\n"
    )
    values = yaml.safe_load((tmp_path / PARAMS_FILE).read_text("utf-8"))
    values["rollout"] = {
        "release": "pinned",
        "candidate": {"rules": "rules.yaml"},
        "incumbent": {"preference": front["preference_id"][0]},
        "gates": {"offline": {"not_worse": {"recall": 0.9}}},
    }
    (tmp_path / PARAMS_FILE).write_text(yaml.safe_dump(values), "utf-8")
    monkeypatch.chdir(tmp_path)

    assert main(["rollout", "preview", "--json"]) == 0

    found = json.loads(capsys.readouterr().out)
    (gained,) = [one for one in found["more"] if one["item"] == item]
    assert gained["candidate"] == 1.0
    assert {one["candidate"][0] for one in found["examples"]} == {item}
    assert found["changed"] > 0.9
    assert found["replaced"] <= 1
    # of last clicks instead of all clicks
    recall = front["recall"][0]
    assert found["metrics"][0]["incumbent"] == pytest.approx(recall, abs=0.1)
    gate = run_step("candidate_gate_offline", load_study(tmp_path / PARAMS_FILE), paths).value
    assert gate.numbers["recall"]["change"] == pytest.approx(
        found["metrics"][0]["candidate"] / found["metrics"][0]["incumbent"] - 1
    )
