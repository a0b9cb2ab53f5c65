"""A logged bandit table: values by hand, a planted truth, the Open Bandit sample, and every refusal."""

import gzip

import numpy as np
import polars as pl
import pytest

from pipeline.core.errors import DataError
from pipeline.counterfactual.bandit import evaluate
from pipeline.counterfactual.bandit.read_log import LogColumns
from pipeline.counterfactual.bandit.reward_model import FOLDS, RewardRows, fit_rewards, fold_of
from pipeline.results.counterfactual import Estimator, SupportReason, SupportStatus
from pipeline.steps.counterfactual import policy_values_of

COLUMNS = LogColumns()
LOGGING = {"a": 0.5, "b": 0.3, "c": 0.2}
TARGET = {"a": 0.2, "b": 0.3, "c": 0.5}
RATES = {"a": 0.2, "b": 0.4, "c": 0.5}
TRUTH = sum(TARGET[one] * RATES[one] for one in TARGET)  # .04 + .12 + .25


def policy(path, probabilities):
    actions, values = zip(*probabilities.items(), strict=True)
    pl.DataFrame({"action": actions, "probability": values}).write_csv(path)
    return path


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Rounds of users that differ, in a table with its logging and its target policy."""
    folder = tmp_path_factory.mktemp("shop")
    rng = np.random.default_rng(0)
    users, n = 1000, 6000
    user = np.arange(n) % users
    taste = rng.uniform(0.6, 1.4, users)[user]
    action = rng.choice(list(LOGGING), n, p=list(LOGGING.values()))
    chance = np.array([RATES[one] for one in action]) * taste
    frame = pl.DataFrame(
        {
            "action": action,
            "propensity": [LOGGING[one] for one in action],
            "reward": (rng.random(n) < chance).astype(int),
            "user": [f"u{one}" for one in user],
            "p_new": [TARGET[one] for one in action],
        }
    )
    frame.write_csv(folder / "log.csv")
    frame.write_parquet(folder / "log.parquet")
    frame.write_ndjson(folder / "log.jsonl")
    (folder / "log.csv.gz").write_bytes(gzip.compress((folder / "log.csv").read_bytes()))
    policy(folder / "old.csv", LOGGING)
    policy(folder / "new.csv", TARGET)
    return folder


def values(folder, policies=("new.csv",), *, log="log.csv", user="user", logging=None, **options):
    named = [str(folder / one) if one.endswith(".csv") else one for one in policies]
    return policy_values_of(
        folder / log,
        named,
        columns=LogColumns(user=user),
        logging=logging and folder / logging,
        **options,
    )


def test_the_value_of_the_other_policy_is_recovered(shop):
    found = values(shop, logging="old.csv")

    one = found.policies[0]
    assert (found.users, found.actions, found.logged.rows) == (1000, 3, 6000)
    assert one.headline == "DR"
    assert one.diagnostics.status is SupportStatus.USABLE
    assert one.diagnostics.support == pytest.approx(1.0)
    low, high = one.headline_result.found.interval
    assert low < TRUTH < high
    assert high - low < 0.07
    assert one.headline_result.lift == pytest.approx(
        one.headline_result.found.value / found.logged.value - 1
    )
    for other in one.estimators:
        assert other.found.value == pytest.approx(TRUTH, abs=0.04)


def test_ips_of_the_table_is_the_sum_by_hand(shop):
    frame = pl.read_csv(shop / "log.csv")

    found = values(shop, ("p_new",)).policies[0]

    weighted = frame.select((pl.col("p_new") / pl.col("propensity") * pl.col("reward")).mean())
    ips = next(one for one in found.estimators if one.name == "IPS")
    assert ips.found.value == pytest.approx(weighted.item(), rel=1e-12)
    assert found.headline == "IPS"
    assert not any(Estimator(one.name).needs_model for one in found.estimators)


@pytest.mark.parametrize("log", ["log.parquet", "log.jsonl", "log.csv.gz"])
def test_every_format_gives_the_same(shop, log):
    assert values(shop, log=log).policies == values(shop).policies


def test_chunks_of_rows_give_the_same(shop, monkeypatch):
    whole = values(shop, logging="old.csv")

    monkeypatch.setattr(evaluate, "_CHUNK", 1000)

    assert values(shop, logging="old.csv") == whole


def test_a_log_without_users_has_shorter_intervals_and_a_betting_interval(shop):
    by_row, by_user = (values(shop, logging="old.csv", user=user) for user in (None, "user"))

    assert by_row.users is None
    assert by_user.policies[0].betting is None  # six dependent rows per user
    low, high = by_row.policies[0].betting
    ips = by_row.policies[0].estimators[0].found
    assert low < ips.interval[0] < ips.interval[1] < high
    assert low < TRUTH < high


def test_a_realised_log_is_compared_with_the_estimate(shop):
    found = values(shop, realised=shop / "log.csv")

    value, realised = found.policies[0].headline_result.found, found.realised
    assert realised.value == found.logged.value
    error = (value.standard_error**2 + realised.standard_error**2) ** 0.5
    assert found.difference == pytest.approx((value.value - realised.value) / error)
    with pytest.raises(DataError, match="2 policies and one realised mean reward"):
        values(shop, ("new.csv", "p_new"), realised=shop / "log.csv")


def test_a_policy_may_depend_on_columns_of_the_log(tmp_path):
    """Two contexts with opposite policies; the log chooses evenly."""
    rows = [(page, one, 0.5, int(page == one)) for page in "ab" for one in "ab"] * 100
    pl.DataFrame(rows, ["page", "action", "propensity", "reward"], orient="row").write_csv(
        tmp_path / "log.csv"
    )
    right = [("a", "a", 1.0), ("b", "b", 1.0), ("a", "b", 0.0), ("b", "a", 0.0)]
    for name, chosen in {"right": right, "wrong": [(p, a, 1 - x) for p, a, x in right]}.items():
        frame = pl.DataFrame(chosen, ["page", "action", "probability"], orient="row")
        frame.write_csv(tmp_path / f"{name}.csv")

    found = values(tmp_path, ("right.csv", "wrong.csv"), user=None).policies

    assert [one.policy for one in found] == ["right", "wrong"]
    assert [one.estimators[0].found.value for one in found] == pytest.approx([1.0, 0.0])


def test_a_missing_cell_of_a_context_is_a_context_of_its_own(tmp_path):
    """The policy is right where the page is a or missing, and wrong at b; the log chooses evenly."""
    rows = [(page, one, 0.5, int(one == "x")) for page in ("a", "b", None) for one in "xy"] * 100
    pl.DataFrame(rows, ["page", "action", "propensity", "reward"], orient="row").write_csv(
        tmp_path / "log.csv"
    )
    chosen = [("a", "x", 1.0), ("a", "y", 0.0), ("b", "x", 0.0), ("b", "y", 1.0)]
    missing = [(None, "x", 1.0), (None, "y", 0.0)]
    for name, table in {
        "all": chosen + missing,
        "some": chosen,
        "sums": chosen + missing[1:],
    }.items():
        frame = pl.DataFrame(table, ["page", "action", "probability"], orient="row")
        frame.write_csv(tmp_path / f"{name}.csv")

    found = {
        one.name: one.found
        for one in values(tmp_path, ("all.csv",), user=None).policies[0].estimators
    }

    assert found["IPS"].value == pytest.approx(2 / 3)
    assert found["DM"].value == pytest.approx(2 / 3, abs=0.02)
    with pytest.raises(DataError, match=r"the context missing \(page\) of .*log\.csv is unknown"):
        values(tmp_path, ("some.csv",), user=None)
    with pytest.raises(
        DataError, match=r"the probabilities of the context missing sum to 0; expected 1"
    ):
        values(tmp_path, ("sums.csv",), user=None)


def test_a_policy_of_actions_that_were_never_logged_is_refused_with_the_number(shop, tmp_path):
    new = policy(tmp_path / "new.csv", {"a": 0.2, "b": 0.3, "c": 0.2, "d": 0.3})

    found = values(shop, (str(new),), logging="old.csv").policies[0]

    assert found.diagnostics.support == pytest.approx(0.7)
    assert all(one.found is None for one in found.estimators)
    assert found.estimators[0].limits[0].reason is SupportReason.SUPPORT
    unknown = values(shop, (str(new),)).policies[0]  # the mean weight shows it, too
    assert unknown.diagnostics.mean_weight == pytest.approx(0.7, abs=0.03)
    assert unknown.diagnostics.status is SupportStatus.NO_SUPPORT


REFUSED = {
    "missing": ({"propensity": None}, r"propensity is missing in row 3; expected a number"),
    "zero": ({"propensity": "0"}, r"propensity is 0 in row 3; expected a probability above 0"),
    "above 1": ({"propensity": "1.2"}, r"propensity is 1\.2 in row 3; expected a probability"),
    "text": ({"reward": "yes"}, r"reward is 'yes' in row 3; expected a number"),
    "no action": ({"action": ""}, r"action is missing in row 3; expected an id"),
    "unknown": ({"action": "z"}, r"the action z of .*log\.csv is unknown; add it"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_faulty_cell_is_refused_in_one_line(shop, tmp_path, case):
    changes, message = REFUSED[case]
    frame = pl.read_csv(shop / "log.csv", infer_schema=False).head(10)
    at = pl.int_range(pl.len()) == 2
    frame.with_columns(
        pl.when(at).then(pl.lit(value, pl.String)).otherwise(pl.col(name)).alias(name)
        for name, value in changes.items()
    ).write_csv(tmp_path / "log.csv")

    with pytest.raises(DataError, match=message) as error:
        values(tmp_path, (str(shop / "new.csv"),))
    assert "\n" not in str(error.value)


POLICIES = {
    "sums": ({"a": 0.5, "b": 0.3, "c": 0.1}, r"the probabilities sum to 0\.9; expected 1"),
    "negative": (
        {"a": 0.7, "b": -0.4, "c": 0.7},
        r"probability is -0\.4 in row 2; expected a probability of 0 to 1",
    ),
    "no action": (
        {"a": 0.5, "b": 0.3, "c": 0.2, "": 0.0},
        r"action is missing in row 4; expected an id",
    ),
    "unknown": ({"a": 0.5, "b": 0.5}, r"the action c of .* is unknown; add it, with probability 0"),
}


@pytest.mark.parametrize("case", POLICIES)
def test_a_faulty_policy_is_refused_in_one_line(shop, tmp_path, case):
    probabilities, message = POLICIES[case]

    with pytest.raises(DataError, match=message):
        values(shop, (str(policy(tmp_path / "new.csv", probabilities)),))


def test_other_tables_are_refused_in_one_line(shop, tmp_path):
    strange = tmp_path / "strange.csv"

    strange.write_text("action,chance\na,1\n")
    with pytest.raises(DataError, match=r"the column probability is missing"):
        values(shop, (str(strange),))
    strange.write_text("page,action,probability\n1,a,1\n")
    with pytest.raises(DataError, match=r"the column page is not in .*log\.csv"):
        values(shop, (str(strange),))
    strange.write_text("user,action,probability\nu1,a,1\n")
    with pytest.raises(DataError, match=r"the context u0 \(user\) of .*log\.csv is unknown"):
        values(shop, (str(strange),))
    strange.write_text("action,probability\na,0.5\na,0.5\n")
    with pytest.raises(DataError, match=r"action a occurs twice in one context, in row 1"):
        values(shop, (str(strange),))
    with pytest.raises(DataError, match=r"p_old is neither a file nor a column of .*log\.csv"):
        values(shop, ("p_old",))
    with pytest.raises(DataError, match=r"cannot read .*nothing\.csv: No such file or directory"):
        values(shop, log="nothing.csv")
    strange.write_text("action,Propensity,reward\na,1,1\n")
    with pytest.raises(DataError, match=r"propensity is missing \(did you mean 'Propensity'"):
        policy_values_of(strange, ["p"], columns=COLUMNS)
    strange.write_text("action,propensity,reward\n")
    with pytest.raises(DataError, match="no rows"):
        policy_values_of(strange, ["p"], columns=COLUMNS)
    (tmp_path / "log.xlsx").write_bytes(b"PK\x03\x04")
    with pytest.raises(DataError, match=r"a zip archive or a spreadsheet.*; expected CSV"):
        policy_values_of(tmp_path / "log.xlsx", ["p"], columns=COLUMNS)
    (tmp_path / "gz.csv").write_bytes((shop / "log.csv.gz").read_bytes())
    with pytest.raises(DataError, match="is not CSV: it is gzip"):
        policy_values_of(tmp_path / "gz.csv", ["p"], columns=COLUMNS)


def test_a_log_of_another_policy_is_refused(shop):
    with pytest.raises(DataError, match=r"is not a log of the policy new: .*% of its propensities"):
        values(shop, logging="new.csv")


def test_wrong_propensities_are_found_by_the_mean_weight(shop, tmp_path):
    frame = pl.read_csv(shop / "log.csv").with_columns(propensity=pl.lit(1 / 3))
    frame.write_csv(tmp_path / "log.csv")

    found = values(tmp_path, (str(shop / "new.csv"),)).policies[0]

    reasons = {one.reason for one in found.diagnostics.limits}
    assert found.diagnostics.status is SupportStatus.NO_SUPPORT
    assert SupportReason.MEAN_WEIGHT in reasons or SupportReason.SUPPORT in reasons
    assert found.headline_result.found is None


def fitted(action_N, reward_N, fold_N, actions, *, weight_N=None, context_N=None, level_CX=None):
    rows = RewardRows(
        action_N=action_N,
        context_N=np.zeros_like(action_N) if context_N is None else context_N,
        reward_N=reward_N,
        loss_weight_N=np.ones(len(action_N)) if weight_N is None else weight_N,
        fold_N=fold_N,
    )
    no_context = np.empty((1, 0), np.int64)
    found = fit_rewards(rows, no_context if level_CX is None else level_CX, actions)
    return found[:, 0] if level_CX is None else found


def test_the_reward_model_shrinks_and_does_not_see_its_own_fold():
    action_N = np.array([0, 0, 1, 1] * 50)
    reward_N = np.where(action_N == 0, 0.0, 1.0)
    fold_N = fold_of(np.arange(200))

    model_FA = fitted(action_N, reward_N, fold_N, 3)

    assert model_FA.shape == (FOLDS, 3)
    assert model_FA[:, 0] == pytest.approx(
        np.zeros(FOLDS), abs=1e-6
    )  # no noise within: no shrinkage
    assert model_FA[:, 1] == pytest.approx(np.ones(FOLDS))
    assert model_FA[:, 2] == pytest.approx(np.full(FOLDS, 0.5))  # unseen: the mean of all
    changed = np.where(fold_N == 2, 1 - reward_N, reward_N)
    assert fitted(action_N, changed, fold_N, 3)[2] == pytest.approx(model_FA[2])
    noise = np.random.default_rng(0).random(200)
    even = fitted(action_N, noise, fold_N, 2)
    spread = [abs(noise[(action_N == 0) & (fold_N != f)].mean()
                  - noise[(action_N == 1) & (fold_N != f)].mean()) for f in range(FOLDS)]  # fmt: skip
    assert (np.abs(even[:, 0] - even[:, 1]) < spread).all()


def test_effects_of_contexts_are_those_of_the_normal_equations():
    """Two columns of two levels: with the shrinkage of the fit, the solution by a dense solver."""
    rng = np.random.default_rng(3)
    level_CX = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    action_N, context_N = rng.integers(0, 3, 600), rng.integers(0, 4, 600)
    page_N, device_N = level_CX[context_N].T
    reward_N = 0.3 * action_N + 0.5 * page_N * (action_N == 1) + device_N + rng.normal(size=600)
    weight_N, fold_N = rng.uniform(0.1, 3, 600), fold_of(np.arange(600))

    found = fitted(
        action_N, reward_N, fold_N, 3, weight_N=weight_N, context_N=context_N, level_CX=level_CX
    )

    kept = fold_N != 0
    codes = [action_N, page_N, page_N * 3 + action_N, device_N, device_N * 3 + action_N]
    variance = [moments(code[kept], reward_N[kept]) for code in codes]
    noise = min(within for _, within in variance)
    between = [one for one, _ in variance]
    between[2] = max(between[2] - between[0] - between[1], 0)
    between[4] = max(between[4] - between[0] - between[3], 0)
    assert between[1] == 0 or between[2] > 0  # the planted interaction is seen
    columns = np.concatenate(
        [np.sqrt(one / noise) * np.eye(code.max() + 1)[code] for code, one in zip(codes, between, strict=True)], 1
    )  # fmt: skip
    x, y, s = columns[kept], reward_N[kept], weight_N[kept]
    mean = (s * y).sum() / s.sum()
    effect = np.linalg.solve(x.T @ (s[:, None] * x) + np.eye(x.shape[1]), x.T @ (s * (y - mean)))
    assert found[0][context_N, action_N] == pytest.approx(mean + columns @ effect, rel=1e-8)


def moments(code_N, reward_N):
    """Variance between and within the groups of a code, one group at a time."""
    groups = [reward_N[code_N == code] for code in np.unique(code_N)]
    within = sum(((one - one.mean()) ** 2).sum() for one in groups) / (len(reward_N) - len(groups))
    spread = [len(one) * (one.mean() - reward_N.mean()) ** 2 - within for one in groups]
    return max(sum(spread) / len(reward_N), 0), within


def test_the_domain_adapted_model_is_right_where_policies_differ(tmp_path):
    """The reward of y depends on page XOR device, which effects of single columns cannot express.

    The new policy differs in one of four contexts, so that the adapted model has to be right there alone.
    """
    rng = np.random.default_rng(0)
    n, chance, new = 8000, {"11": 0.5, "other": 0.3}, {"11": 0.9, "other": 0.3}
    page, device = rng.integers(0, 2, (2, n))
    both = (page == 1) & (device == 1)
    is_y = rng.random(n) < np.where(both, chance["11"], chance["other"])
    rate = np.where(is_y, np.where(page == device, 0.7, 0.2), 0.4)
    probability = np.where(both, chance["11"], chance["other"])
    log = {
        "page": page, "device": device, "action": np.where(is_y, "y", "x"),
        "propensity": np.where(is_y, probability, 1 - probability),
        "reward": (rng.random(n) < rate).astype(int),
    }  # fmt: skip
    pl.DataFrame(log).write_csv(tmp_path / "log.csv")
    rows = [
        (p, d, action, y if action == "y" else 1 - y)
        for p in (0, 1)
        for d in (0, 1)
        for y in [new["11" if p and d else "other"]]
        for action in "xy"
    ]
    names = ["page", "device", "action", "probability"]
    pl.DataFrame(rows, names, orient="row").write_csv(tmp_path / "new.csv")
    truth = np.mean(
        [0.9 * 0.7 + 0.1 * 0.4, 0.3 * 0.7 + 0.7 * 0.4, 0.3 * 0.2 + 0.7 * 0.4, 0.3 * 0.2 + 0.7 * 0.4]
    )  # both, neither, one of the two
    old = np.mean([0.5 * 0.7 + 0.5 * 0.4, 0.3 * 0.7 + 0.7 * 0.4, *[0.3 * 0.2 + 0.7 * 0.4] * 2])

    found = {one.name: one for one in values(tmp_path, user=None).policies[0].estimators}

    names = list(found)
    assert names[names.index("DM") + 1] == "DA"
    assert found["DA"].found.name == "DA"
    assert found["DA"].found.interval is None
    lift = truth / old - 1
    plain, adapted = found["DM"].lift, found["DA"].lift
    assert abs(adapted - lift) < 0.5 * abs(plain - lift)
    low, high = found["DR"].found.interval
    assert low < truth < high


def test_a_policy_without_context_has_no_domain_adapted_model(shop):
    """The model of actions can be right everywhere."""
    assert "DA" not in [one.name for one in values(shop).policies[0].estimators]


def open_bandit(folder, name):
    return pl.read_csv(folder / "open_bandit" / f"{name}_men.csv")


OPEN_BANDIT = LogColumns(action="item_id", propensity="propensity_score", reward="click")


def test_the_uniform_policy_from_the_open_bandit_log_of_the_other(real_data, tmp_path):
    """Open Bandit's samples: 2,000 impressions of Bernoulli TS and 2,000 at random, 34 items.

    IPS by hand: each of the 18 clicks of Bernoulli TS weighs (1 / 34) / its propensity.
    """
    clicked = open_bandit(real_data, "bts").filter(pl.col("click") == 1)
    by_hand = (1 / 34 / clicked["propensity_score"]).sum() / 2000
    uniform = tmp_path / "uniform.csv"
    items = pl.DataFrame({"item_id": range(34), "probability": [1 / 34] * 34})
    items.write_csv(uniform)
    folder = real_data / "open_bandit"

    found = policy_values_of(
        folder / "bts_men.csv",
        [str(uniform)],
        columns=OPEN_BANDIT,
        realised=folder / "random_men.csv",
    )

    one = found.policies[0]
    assert clicked.height == 18
    assert one.estimators[0].found.value == pytest.approx(by_hand, rel=1e-9)
    assert found.logged.value == pytest.approx(0.009)
    assert found.realised.value == pytest.approx(0.005)
    assert abs(found.difference) < 1.96
    assert one.headline_result.lift < 0  # the sign of the realised difference
    assert one.diagnostics.status is SupportStatus.WEAK  # k̂ 0.54


def test_the_other_policy_from_the_uniform_open_bandit_log(real_data, tmp_path):
    counts = open_bandit(real_data, "bts").group_by("position", "item_id").len()
    counts.select(
        "position", "item_id", probability=pl.col("len") / pl.col("len").sum().over("position")
    ).write_csv(tmp_path / "bts.csv")
    pl.DataFrame({"item_id": range(34), "probability": [1 / 34] * 34}).write_csv(
        tmp_path / "uniform.csv"
    )
    folder = real_data / "open_bandit"

    found = policy_values_of(
        folder / "random_men.csv",
        [str(tmp_path / "bts.csv")],
        columns=OPEN_BANDIT,
        logging=tmp_path / "uniform.csv",
        realised=folder / "bts_men.csv",
    )

    one = found.policies[0]
    assert one.diagnostics.support == pytest.approx(1.0)
    assert one.diagnostics.status is SupportStatus.USABLE
    assert one.headline_result.lift > 0
    assert abs(found.difference) < 1.96
