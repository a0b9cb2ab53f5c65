"""Intervals of a bandit table: they cover the truth in fresh worlds, or there is none, with the reason."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipeline.core.errors import DataError
from pipeline.counterfactual.bandit.evaluate import _weigh_by_context, evaluate_policies
from pipeline.counterfactual.bandit.policies import ContextPolicy
from pipeline.counterfactual.bandit.read_log import BanditLog, LogColumns
from pipeline.counterfactual.estimators import sums_of
from pipeline.counterfactual.user_sums import Estimate
from pipeline.results.counterfactual import Estimator, NoInterval, SupportReason, SupportStatus
from pipeline.steps.counterfactual import policy_values_of

LOGGING, TARGET = np.array([0.4, 0.3, 0.2, 0.1]), np.array([0.1, 0.2, 0.3, 0.4])
RATES = np.array([0.1, 0.2, 0.3, 0.4])
TRUTH = 0.30  # .01 + .04 + .09 + .16
CUT = [Estimator.CLIPPED_IPS, Estimator.SWITCH_DR, Estimator.DROS]
WORLDS = 200


def world(seed, *, users=500, per_user=3):
    """Rounds of users who differ; the best actions are the rarest."""
    rng = np.random.default_rng([seed, 7])
    n = users * per_user
    user_N = np.arange(n) % users
    action_N = rng.choice(4, n, p=LOGGING)
    taste_N = rng.uniform(0.6, 1.4, users)[user_N]
    log = BanditLog(
        source="log.csv",
        frame=pl.DataFrame(),
        actions=pl.Series(["a0", "a1", "a2", "a3"]),
        action_N=action_N,
        propensity_N=LOGGING[action_N],
        reward_N=(rng.random(n) < RATES[action_N] * taste_N).astype(float),
        user_N=user_N,
        has_users=True,
    )
    return log, policy_of(log, TARGET)


def policy_of(log, probability_A, *, actions=("a0", "a1", "a2", "a3")):
    return ContextPolicy(
        name="new",
        actions=actions,
        probability_CA=np.atleast_2d(probability_A),
        context_N=np.zeros(len(log.user_N), np.int64),
        level_CX=np.empty((1, 0), np.int64),
    )


@pytest.fixture(scope="module")
def worlds():
    return [(*one, evaluate_policies(one[0], [one[1]])) for one in map(world, range(WORLDS))]


def test_intervals_of_a_table_cover_the_truth_in_fresh_worlds(worlds):
    covered = {}
    for _, _, found in worlds:
        for one in found.policies[0].estimators:
            if one.found is not None and one.found.interval is not None:
                low, high = one.found.interval
                covered.setdefault(one.name, []).append(low <= TRUTH <= high)

    assert set(covered) == {"IPS", "SNIPS", "β-IPS", "DR", "SNDR", "β-DR"}
    for inside in covered.values():
        assert len(inside) > 0.95 * WORLDS  # of SNIPS and SNDR without refused ones
        assert 0.92 <= np.mean(inside) <= 0.98


@pytest.mark.slow
def test_an_estimator_that_cuts_weights_has_no_interval_since_its_own_would_not_cover(worlds):
    """The parameter with the least estimated error makes it almost DM, whose variation is not its error."""
    inside = []
    for log, policy, found in worlds[:80]:
        by_name = {one.name: one for one in found.policies[0].estimators}
        for one in CUT:
            value = by_name[one.value]
            assert value.found.no_interval is NoInterval.CUT_WEIGHTS
            assert (value.found.interval, value.found.standard_error) == (None, None)
            assert value.lift_interval is None
            assert value.lift == pytest.approx(value.found.value / found.logged.value - 1)
        weighted = _weigh_by_context(log, policy, None)
        low, high = Estimate.of(sums_of(weighted, Estimator.DROS)).interval(0.95)
        inside.append(low <= TRUTH <= high)

    assert np.mean(inside) < 0.6


def folder_of(path: Path, rows, policy, *, columns=("action", "propensity", "reward", "user")):
    pl.DataFrame(rows, list(columns), orient="row").write_csv(path / "log.csv")
    text = "".join(f"{action},{probability}\n" for action, probability in policy.items())
    (path / "new.csv").write_text("action,probability\n" + text)
    return path


def values(folder, *, user=None, **options):
    return policy_values_of(
        folder / "log.csv", [str(folder / "new.csv")], columns=LogColumns(user=user), **options
    )


def test_equal_rewards_have_no_interval(tmp_path):
    """No success in 400 rows does not mean a value of exactly 0."""
    rows = [("ab"[n % 2], 0.5, 0, n) for n in range(400)]
    found = values(folder_of(tmp_path, rows, {"a": 0.3, "b": 0.7}), realised=tmp_path / "log.csv")

    assert (found.logged.value, found.logged.interval) == (0, None)
    assert found.logged.no_interval is NoInterval.EQUAL_REWARDS
    assert found.logged.standard_error is None
    for one in found.policies[0].estimators:
        assert one.found.interval is None
        expected = Estimator(one.name).unknown_error or NoInterval.EQUAL_REWARDS
        assert one.found.no_interval is expected
    assert found.difference is None


def test_rewards_that_are_equal_where_the_policy_chooses_have_no_interval(tmp_path):
    """Only a is rewarded, and the policy always chooses b: its rows are all 0."""
    rows = [("ab"[n % 2], 0.5, n % 4 == 0, n) for n in range(800)]
    rows = [(action, p, int(reward), user) for action, p, reward, user in rows]
    found = values(folder_of(tmp_path, rows, {"a": 0.0, "b": 1.0}))

    assert found.logged.interval is not None
    by_name = {one.name: one.found for one in found.policies[0].estimators}
    assert by_name["IPS"].value == 0
    assert by_name["IPS"].no_interval is NoInterval.EQUAL_REWARDS
    assert by_name["DR"].no_interval is NoInterval.EQUAL_REWARDS


def test_one_user_has_no_interval(tmp_path):
    rows = [("ab"[n % 2], 0.5, n % 3 // 2, "u") for n in range(400)]
    folder = folder_of(tmp_path, rows, {"a": 0.3, "b": 0.7})

    found = values(folder, user="user")

    assert found.logged.no_interval is NoInterval.ONE_USER
    assert found.policies[0].headline_result.found.no_interval is NoInterval.ONE_USER
    assert values(folder).policies[0].headline_result.found.interval is not None  # of rows


def test_an_action_that_is_never_logged_is_named_and_its_propensities_are_not_blamed():
    log, _ = world(0)
    more = ("a0", "a1", "a2", "a3", "a9", "b")
    policy = policy_of(log, np.array([0.1, 0.2, 0.3, 0.28, 0.1, 0.02]), actions=more)

    one = evaluate_policies(log, [policy]).policies[0]

    named = [(each.action, each.share) for each in one.unlogged]
    assert named == [("a9", pytest.approx(0.1)), ("b", pytest.approx(0.02))]
    assert one.diagnostics.support == pytest.approx(0.88)
    assert abs(one.diagnostics.z) < 3
    assert one.diagnostics.status is SupportStatus.WEAK
    assert [each.reason for each in one.diagnostics.limits] == [SupportReason.SUPPORT]
    # the rewards of a9 and b are unknown, so that no interval can cover
    assert one.headline_result.found.no_interval is NoInterval.SUPPORT
    known = evaluate_policies(
        log, [policy], logging=policy_of(log, np.append(LOGGING, [0, 0]), actions=more)
    ).policies[0]
    assert known.unlogged == ()
    assert known.diagnostics.support == pytest.approx(0.88)
    assert known.betting is None


def test_a_realised_log_needs_rewards_only(tmp_path):
    rows = [("ab"[n % 2], 0.5, n % 3 // 2, n % 50) for n in range(400)]
    folder = folder_of(tmp_path, rows, {"a": 0.3, "b": 0.7})
    (tmp_path / "real.csv").write_text("reward,user\n" + "1,x\n0,y\n1,z\n0,x\n")

    found = values(folder, user="user", realised=tmp_path / "real.csv")

    assert (found.realised.value, found.realised.rows) == (0.5, 4)
    assert found.difference is not None
    (tmp_path / "real.csv").write_text("click,user\n1,x\n")
    with pytest.raises(DataError, match=r"real\.csv: the column reward is missing.*--reward or"):
        values(folder, user="user", realised=tmp_path / "real.csv")


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("1e308", r"reward is 1e\+308 in row 2; expected a reward from -1e\+30 to 1e\+30"),
        ("-1e308", r"reward is -1e\+308 in row 2; expected a reward from"),
        ("1e400", r"reward is '1e400' in row 2; expected a number"),
        ("inf", r"reward is '?inf'? in row 2; expected a number"),
        ("-inf", r"reward is '?-inf'? in row 2; expected a number"),
        ("nan", r"reward is '?nan'? in row 2; expected a number"),
    ],
)
def test_a_reward_that_has_no_variance_is_refused_in_one_line(tmp_path, cell, message):
    (tmp_path / "log.csv").write_text(f"action,propensity,reward\na,0.5,1\na,0.5,{cell}\n")
    (tmp_path / "new.csv").write_text("action,probability\na,1\n")

    with pytest.raises(DataError, match=message) as error:
        values(tmp_path)
    assert "\n" not in str(error.value)


def test_a_propensity_whose_weight_has_no_variance_is_refused_in_one_line(tmp_path):
    (tmp_path / "log.csv").write_text("action,propensity,reward\na,0.5,1\na,1e-300,1\n")
    (tmp_path / "new.csv").write_text("action,probability\na,1\n")

    with pytest.raises(DataError, match=r"propensity is 1e-300 in row 2; expected a probability"):
        values(tmp_path)
