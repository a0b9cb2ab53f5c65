"""The synthetic experiment: targets that are ever closer to the best policy, rewards linear in context and ad.

Shape suffixes: N rows, A ads, T targets, F features.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit, softmax

from domain.recovery_table import header, numbers_of, rows
from pipeline.counterfactual.actions import LoggedActions, weigh_actions
from pipeline.counterfactual.domain_adaptation import fit_linear, learn_weights, loss_weights
from pipeline.counterfactual.estimators import estimate
from pipeline.counterfactual.weighted_log import Ints, WeightedLog
from pipeline.results.counterfactual import Estimator, PolicyLift
from pipeline.results.family import Floats

ADS, CONTEXT, AD = 30, 6, 4
LOGGED, FRESH = 4000, 20_000
LARGEST_STEP = 0.6
"""Of the way from the logging policy to the best one, that of the last target."""
PAIR_WEIGHTS = (0.0, 0.5, 1.0, 2.0, 4.0)
SHIFTS = ((1.0, 1.0), (2.0, 1.0), (3.0, 1.5), (4.0, 2.0), (5.0, 2.5))
"""Sharpness of the policies and noise of the logging policy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A kind of world.

    Attributes:
        targets: Number of target policies.
        sharpness: Of the policies: factor of scores in the softmax.
        noise: Of the logging policy's scores.
        is_binary: Whether rewards are 0 or 1.
        is_off_line: Whether targets also differ in directions of their own.
        is_linear: Whether the reward model can be right: ads have no effects besides their vectors'.
    """

    targets: int = 3
    sharpness: float = 2.0
    noise: float = 1.0
    is_binary: bool = False
    is_off_line: bool = False
    is_linear: bool = False


SETTINGS = {
    "3 targets, mild shift": Setting(),
    "3 targets, strong shift": Setting(sharpness=4.0, noise=2.0),
    "7 targets, mild shift": Setting(targets=7),
    "strong, off the line": Setting(sharpness=4.0, noise=2.0, is_off_line=True),
    "strong, off the line, binary": Setting(
        sharpness=4.0, noise=2.0, is_off_line=True, is_binary=True
    ),
    "strong, model can be right": Setting(sharpness=4.0, noise=2.0, is_linear=True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A log, the target policies, and the exact lifts.

    Attributes:
        log: The log, without a reward model.
        targets: Probabilities of all ads under every target.
        lift_T: Exact lifts of the targets over the logging policy.
        features_NAF: Features of context and ad, which cannot express each ad's own effects.
        drawn: Ads that each target would have chosen.
    """

    log: LoggedActions
    targets: Sequence[Floats]
    lift_T: Floats
    features_NAF: Floats
    drawn: Sequence[Ints]

    @property
    def logged_NF(self) -> Floats:
        """Features of what was logged."""
        return self.of(self.log.action_N)

    def of(self, ad_N: Ints) -> Floats:
        """Features of an ad per context."""
        return self.features_NAF[np.arange(LOGGED), ad_N]


def draw(setting: Setting, seed: int) -> World:
    """A world of a setting."""
    rng = np.random.default_rng(seed)
    ads_AD = rng.normal(size=(ADS, AD))
    own = 0.0 if setting.is_linear else 1.0
    taste_AX = ads_AD @ rng.normal(size=(AD, CONTEXT)) / CONTEXT**0.5
    taste_AX += own * 0.5 * rng.normal(size=(ADS, CONTEXT)) / CONTEXT**0.5
    appeal_A = own * 0.3 * rng.normal(size=ADS)
    noise_AX = setting.noise * rng.normal(size=(ADS, CONTEXT)) / CONTEXT**0.5
    off_TAX = rng.normal(size=(setting.targets, ADS, CONTEXT)) / CONTEXT**0.5

    def reward(context_NX: Floats) -> Floats:
        mean_NA = 1.5 + context_NX @ taste_AX.T + appeal_A
        return expit(mean_NA - 2.5) if setting.is_binary else mean_NA

    def policies(context_NX: Floats) -> list[Floats]:
        best_NA = context_NX @ taste_AX.T + appeal_A
        source_NA = 0.4 * best_NA + context_NX @ noise_AX.T
        found = [source_NA]
        for target in range(setting.targets):
            step = LARGEST_STEP * (target + 1) / setting.targets
            score_NA = (1 - step) * source_NA + step * best_NA
            if setting.is_off_line:
                score_NA += 0.5 * (context_NX @ off_TAX[target].T)
            found.append(score_NA)
        return [softmax(setting.sharpness * one, axis=1) for one in found]

    fresh_NX = rng.normal(size=(FRESH, CONTEXT))
    fresh_NA = reward(fresh_NX)
    value_T = np.array([(one * fresh_NA).sum(axis=1).mean() for one in policies(fresh_NX)])
    context_NX = rng.normal(size=(LOGGED, CONTEXT))
    logging_NA, *targets = policies(context_NX)
    action_N = _chosen(logging_NA, rng)
    each_N = np.arange(LOGGED)
    mean_N = reward(context_NX)[each_N, action_N]
    reward_N = (
        (rng.random(LOGGED) < mean_N).astype(np.float64)
        if setting.is_binary
        else mean_N + 0.5 * rng.normal(size=LOGGED)
    )
    log = LoggedActions(
        action_N=action_N,
        reward_N=reward_N,
        propensity_N=logging_NA[each_N, action_N],
        user_N=each_N,
        logging_NA=logging_NA,
    )
    return World(
        log=log,
        targets=targets,
        lift_T=value_T[1:] / value_T[0] - 1,
        features_NAF=_features(context_NX, ads_AD),
        drawn=[_chosen(one, rng) for one in targets],
    )


def _features(context_NX: Floats, ads_AD: Floats) -> Floats:
    """A constant, the context, the ad, and their products."""
    shape = (len(context_NX), len(ads_AD))
    product = np.einsum("nx,ad->naxd", context_NX, ads_AD).reshape(*shape, -1)
    context = np.broadcast_to(context_NX[:, None], (*shape, CONTEXT))
    ad = np.broadcast_to(ads_AD, (*shape, AD))
    return np.concatenate([np.ones((*shape, 1)), context, ad, product], axis=2)


def _chosen(policy_NA: Floats, rng: np.random.Generator) -> Ints:
    ends_NA = policy_NA.cumsum(axis=1)
    return np.minimum((rng.random((len(policy_NA), 1)) > ends_NA).sum(axis=1), ADS - 1)


def lifts(world: World, pair_weights: Sequence[float]) -> dict[str, list[float]]:
    """The lifts of all targets by every estimator."""
    learnt_NT = np.stack(
        [learn_weights(world.logged_NF, world.of(ad_N)) for ad_N in world.drawn], axis=1
    )
    plain = _weighted(world, np.ones(LOGGED))
    weight_NT = np.concatenate([one.weight_NK for one in plain], axis=1)
    logged = world.log.reward_N.mean()
    found = {
        one.value: [estimate(log, one).value / logged - 1 for log in plain]
        for one in (Estimator.IPS, Estimator.SNIPS, Estimator.DR)
    }
    fits = {f"DA, λ = {one:g}": loss_weights(weight_NT, pair_weight=one) for one in pair_weights}
    fits["DA, λ = 1, learnt"] = loss_weights(learnt_NT)
    models = {"DM": plain} | {name: _weighted(world, s_N) for name, s_N in fits.items()}
    return found | {
        name: [one.model.lift for one in logs if one.model is not None]
        for name, logs in models.items()
    }


def _weighted(world: World, loss_weight_N: Floats) -> list[WeightedLog]:
    """The log for every target, with the reward model of these weights."""
    mean, effect_F = fit_linear(world.logged_NF, world.log.reward_N, loss_weight_N=loss_weight_N)
    log = replace(world.log, model_NA=mean + world.features_NAF @ effect_F)
    return [weigh_actions(log, one) for one in world.targets]


def medians(
    setting: Setting, worlds: int, pair_weights: Sequence[float]
) -> tuple[dict[str, Floats], float]:
    """Medians of Recovery's numbers over worlds, and how often DA (λ = 1) has a lower CV than DM."""
    found: dict[str, list[Floats]] = {}
    for seed in range(worlds):
        world = draw(setting, seed)
        for name, estimated_T in lifts(world, pair_weights).items():
            found.setdefault(name, []).append(numbers_of(_policy_lifts(estimated_T, world.lift_T)))
    of = {name: np.stack(one) for name, one in found.items()}
    wins = float((of["DA, λ = 1"][:, 2] < of["DM"][:, 2]).mean())
    return {name: np.median(one, axis=0) for name, one in of.items()}, wins


def _policy_lifts(estimated_T: Sequence[float], lift_T: Floats) -> list[PolicyLift]:
    return [
        PolicyLift(policy=str(n), estimated=estimated, realised=true, interval=(true, true))
        for n, (estimated, true) in enumerate(zip(estimated_T, lift_T.tolist(), strict=True))
    ]


def synthetic_tables(worlds: int) -> list[str]:
    """The tables of all settings, of λ and of the shift."""
    text = (
        f"Medians over {worlds} worlds of {LOGGED:,} rows; lifts are exact, from {FRESH:,} fresh contexts. The "
        "reward model lacks each ad's own effects, except in the last setting."
    )
    lines = [
        "## The synthetic experiment",
        "",
        text,
        "",
        *header("setting", "estimator"),
    ]
    found = {name: medians(one, worlds, (0.0, 1.0)) for name, one in SETTINGS.items()}
    for name, (numbers, _) in found.items():
        lines += rows(name, numbers)
    lines += ["", *_claims(found), "", "## λ", ""]
    lines += header("setting", "estimator")
    for name in list(SETTINGS)[:2]:
        numbers, _ = medians(SETTINGS[name], worlds // 2, PAIR_WEIGHTS)
        lines += rows(
            name,
            {k: v for k, v in numbers.items() if k.startswith("DA, λ = ") and "learnt" not in k},
        )
    lines += [
        "",
        "## Shift",
        "",
        f"Three targets; medians over {worlds // 2} worlds.",
        "",
        *header("sharpness, noise", "estimator"),
    ]
    for sharpness, noise in SHIFTS:
        numbers, _ = medians(Setting(sharpness=sharpness, noise=noise), worlds // 2, (1.0,))
        lines += rows(
            f"{sharpness:g}, {noise:g}", {k: numbers[k] for k in ("IPS", "DM", "DA, λ = 1")}
        )
    return lines


def _claims(found: Mapping[str, tuple[Mapping[str, Floats], float]]) -> list[str]:
    """What DA changes against DM, in each setting."""
    lines = [
        "| setting | CV of DA (λ = 1) / DM | worlds with a lower CV | \\|Recovery − 1\\| of DA / DM | CV of DM / IPS |",
        "|---|---|---|---|---|",
    ]
    for name, (numbers, wins) in found.items():
        adapted, plain, ips = (numbers[one] for one in ("DA, λ = 1", "DM", "IPS"))
        lines.append(
            f"| {name} | {adapted[2] / plain[2]:.2f} | {wins:.0%} | {adapted[1] / plain[1]:.2f} | "
            f"{plain[2] / ips[2]:.2f} |"
        )
    return lines
