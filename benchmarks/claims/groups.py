"""The group to ship, and its stated gain."""

from dataclasses import replace

import numpy as np

from claims.result import ALPHA, LEVEL, Claim, Row, share_row, tails
from claims.worlds import CTR, Users, one_trial_per_user, world
from pipeline.core.contracts import Kpi
from pipeline.inference.glm.group_regression import GroupSums
from pipeline.inference.groups.comparison import Choice, KpiGroups, choose, kpi_change
from pipeline.inference.groups.looks import Look
from pipeline.inference.groups.shrinkage import shrink
from pipeline.results.family import Family, Floats
from pipeline.results.reasons import Action

EFFECT_SCALE = 0.05
MORE_FOR_GAINS = 8
"""Few worlds ship."""


def shipping(worlds: int) -> list[Claim]:
    """A group is shipped although all are equal."""
    rng, rows = np.random.default_rng(3), []
    for groups, users in ((3, 10), (5, 10), (5, 50), (5, 500), (10, 10), (10, 50)):
        for heavy in (False, True):
            drawn = Users(number=users, mean=20, heavy=heavy, correlation=0.1)
            sums = drawn.sums(rng, np.full((worlds, groups), CTR))
            setting = (
                f"click-through rate, g = {groups}, {users} users a group, {tails(heavy=heavy)}"
            )
            rows += _ship_rows(setting, sums, Kpi.CTR)
    for sizes in ([50] * 5, [200] * 5, [2000] + [400] * 4):
        setting = f"lognormal revenue (σ = 2), users {', '.join(map(str, sizes))}"
        rows += _ship_rows(setting, _revenue(rng, worlds, sizes), Kpi.REVENUE_PER_USER)
    counts = rng.binomial(3000, 0.01, (worlds, 4))
    setting = "clicks of users with one impression, g = 4"
    rows += _ship_rows(setting, one_trial_per_user(3000, counts), Kpi.CTR)
    return [Claim(title="Ship although no group is better", rows=tuple(rows))]


def _revenue(rng: np.random.Generator, worlds: int, sizes: list[int]) -> GroupSums:
    trials = (np.arange(max(sizes)) < np.array(sizes)[:, None]).astype(np.float64)
    parts = []
    for _ in range(worlds):
        buys = rng.random(trials.shape) < 0.1
        amounts = trials * buys * np.exp(2 * rng.standard_normal(trials.shape))
        parts.append(GroupSums.over_users(Family.POISSON, trials, amounts))
    names = ("trials", "successes", "users", "sum_mm", "sum_my", "sum_yy")
    return GroupSums(
        family=Family.POISSON, **{k: np.stack([getattr(p, k) for p in parts]) for k in names}
    )


def _ship_rows(setting: str, sums: GroupSums, kpi: Kpi) -> list[Row]:
    rows = []
    for control, name in ((0, "control"), (None, "lowest")):
        shipped = [
            _choice(world(sums, n), kpi, control)[1].action is Action.SHIP
            for n in range(len(sums.successes))
        ]
        rows.append(share_row(f"{setting}, against the {name}", np.array(shipped), high=ALPHA))
    return rows


def _choice(sums: GroupSums, kpi: Kpi, control: int | None) -> tuple[KpiGroups, Choice]:
    buyers = kpi is not Kpi.CTR
    groups = KpiGroups(
        kpi=kpi,
        names=[f"g{n + 1}" for n in range(len(sums.trials))],
        looks=[Look(sums=sums, alpha=ALPHA)],
        # of amounts, the events are not among the sums: a buyer in ten
        events_G=0.1 * sums.users if buyers else sums.successes,
        posterior=None if buyers else shrink(sums, counted=True, scale=EFFECT_SCALE),
        control=control,
        level=LEVEL,
    )
    return groups, choose(groups, None)


def stated_gain(worlds: int) -> list[Claim]:
    """The stated gain of a shipped variant, against the half of the users that was held out."""
    rng, rows, arms, n = np.random.default_rng(4), [], 4, 2000
    worlds *= MORE_FOR_GAINS
    for name, draw in (
        ("0.1", lambda: np.full(worlds, 0.1)),
        ("0.2", lambda: np.full(worlds, 0.2)),
        ("0.3", lambda: np.full(worlds, 0.3)),
        ("half-normal 0.25", lambda: 0.25 * np.abs(rng.standard_normal(worlds))),
    ):
        true = np.log(0.012) + 0.35 * rng.standard_normal((worlds, 1))
        true = true + draw()[:, None] * rng.standard_normal((worlds, arms))
        first, second = (rng.binomial(n, np.minimum(np.exp(true), 0.9)) for _ in range(2))
        for control, against in ((0, "control"), (None, "lowest")):
            pairs = _gains(one_trial_per_user(n, first), second, control)
            setting = f"spread of the variants {name}, against the {against}"
            row = _ratio_row(setting, pairs)
            rows.append(replace(row, low=-np.inf, high=np.inf) if name == "0.1" else row)
    limit = (
        "Effects that are all 0.1 or less in the log rate, with about 25 clicks in an arm: a shipped "
        "variant's gain is stated several times too large. How large effects usually are is not in one such "
        "experiment; declare it (`regression.advice.effect_scale`)."
    )
    title = "Stated gain of the shipped variant over what a held-out half realises (clicks 1.2%)"
    return [Claim(title=title, rows=tuple(rows), limit=limit)]


def _gains(sums: GroupSums, held_out: Floats, control: int | None) -> Floats:
    """Stated and realised gain of every shipped variant."""
    found = []
    for n, other in enumerate(held_out):
        groups, choice = _choice(world(sums, n), Kpi.CTR, control)
        if choice.action is not Action.SHIP:
            continue
        change = kpi_change(groups, choice.look, choice.best, choice.baseline)
        if change is None:  # too few events to state a gain
            continue
        found.append(
            (change.change, (other[choice.best] + 0.5) / (other[choice.baseline] + 0.5) - 1)
        )
    return np.array(found).reshape(-1, 2)


def _ratio_row(setting: str, pairs: Floats) -> Row:
    if len(pairs) < 2:
        return Row(setting=f"{setting}: nothing shipped", value=np.nan, error=np.inf)
    stated, realised = pairs.mean(axis=0)
    ratio = stated / realised
    error = (pairs[:, 0] - ratio * pairs[:, 1]).std(ddof=1) / abs(realised) / len(pairs) ** 0.5
    return Row(setting=setting, value=ratio, error=float(error), low=0.85, high=1.15)
