"""Designs: which metric a second axis confirms, the power of a plan, and an end that adapts."""

from dataclasses import dataclass, replace

import numpy as np

from claims.result import ALPHA, LEVEL, Claim, Row, share_row, tails
from claims.worlds import SUMS, Line, Users
from pipeline.core.contracts import Kpi
from pipeline.experiment.design.optimal_design.criterion import DesignCriterion
from pipeline.experiment.design.optimal_design.exchange import Ints
from pipeline.experiment.design.optimal_design.metric_axis import JointMetrics, MetricAxis
from pipeline.inference.glm.group_regression import GroupSums
from pipeline.inference.headline.readings import PLANNED_END_SHARE
from pipeline.inference.headline.slope_test import OtherMetrics, score_slope
from pipeline.inference.headline.working_response import WorkingResponse, working_response
from pipeline.inference.power.adaptive_plan import adaptive_end
from pipeline.inference.power.draw_sums import PlannedGroups, draw_sums
from pipeline.inference.power.power import DRAWS, PowerQuery, power
from pipeline.inference.power.traffic_model import Traffic
from pipeline.inference.sensitivity.adaptive_end import follow
from pipeline.results.family import Family, Floats
from pipeline.results.headline import FEWEST_SUCCESSES
from pipeline.study import PlanningConfig

DAYS = 14
DEFAULT = PlanningConfig(
    ctr=0.18,
    cvr=0.046,
    impressions_per_day=34_000.0,
    returning_users=17_000.0,
    new_users_per_day=1150.0,
    impressions_variation=0.8,
    user_correlation=0.03,
    group_deviation=0.03,
)
"""The traffic of the default study (`experiment.planning` of params.yaml)."""

PREFERENCES, LEVELS, FLOOR = 11, (0.0, 0.25, 0.5), 0.5
GROUPS = 10

_RATES = (Kpi.CTR, Kpi.CVR, Kpi.ORDERS_PER_IMPRESSION)


def default_traffic() -> Traffic:
    """The traffic of the default study."""
    return Traffic(
        ctr=DEFAULT.ctr,
        cvr=DEFAULT.cvr,
        units_per_order=1.15,
        revenue_variation=1.0,
        impressions_per_day=DEFAULT.impressions_per_day,
        returning_users=DEFAULT.returning_users,
        new_users_per_day=DEFAULT.new_users_per_day,
        impressions_variation=DEFAULT.impressions_variation,
        correlation=dict.fromkeys(_RATES, DEFAULT.user_correlation),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """Recall and diversity of a grid of preferences and levels; level by level.

    On the front alone diversity is a line in recall. A level adds to diversity and costs recall.

    Attributes:
        spread: Relative range of recall on the front.
        cost: Recall that the highest level costs, as a share.
    """

    spread: float
    cost: float = 0.03

    @property
    def x_CK(self) -> Floats:
        """Relative change of both metrics from their smallest."""
        front = np.tile(np.linspace(0, 1, PREFERENCES), len(LEVELS))
        level = np.repeat(LEVELS, PREFERENCES) / max(LEVELS)
        recall = (1 + self.spread * front) * (1 - self.cost * level)
        diversity = 1.0 - 0.5 * self.spread * front + 0.6 * self.spread * level
        found = np.stack([recall, diversity], axis=1)
        return found / found.min(axis=0) - 1

    def designs(self) -> dict[str, Ints]:
        """The plan on the front alone, and the one that tells the two metrics apart."""
        x_CK, weights_G = self.x_CK, np.full(GROUPS, 1 / GROUPS)
        axes = []
        for order in ([0, 1], [1, 0]):
            joint = JointMetrics(x_CK[:, order], np.zeros((2, 2, len(x_CK), len(x_CK))))
            noise = np.zeros((len(x_CK), len(x_CK)))
            axes.append(MetricAxis(x_CK[:, order[0]], noise, np.ones(len(x_CK)), joint))
        front = np.arange(PREFERENCES)
        alone = DesignCriterion.of([one.marginal.of(front) for one in axes], weights_G, seed=0)
        joint = DesignCriterion.of(axes, weights_G, seed=0)
        return {
            "one front": alone.choose(floor=FLOOR, seed=0),
            "two axes": joint.choose(floor=FLOOR, seed=0),
        }


def two_axes(worlds: int) -> list[Claim]:
    """The click-through rate follows recall; diversity does nothing, but moves along on the front."""
    rng, rows = np.random.default_rng(21), []
    for spread in (0.14, 0.4):
        for tau in (0.0, 0.03):
            cells = Cells(spread=spread)
            for name, design in cells.designs().items():
                x_GK = cells.x_CK[design]
                response = _clicks(rng, worlds, x_GK[:, 0], tau)
                setting = f"{name}, recall spans {spread:.0%}, τ = {tau:g}"
                rows += _confirmed(setting, x_GK, response, apart=name == "two axes")
    limit = (
        f"{GROUPS} groups with the traffic of the default study, {DAYS} days, slope 1. On the front the "
        "slopes are marginal: no other is defined there. On two axes they are partial. A metric is "
        "confirmed at the planned end, in the declared direction: diversity is declared as negative, "
        "the direction in which it moves with recall on the front."
    )
    title = "A metric that the click-through rate follows, and one that only moves along, confirmed"
    return [Claim(title=title, rows=tuple(rows), limit=limit)]


def _clicks(
    rng: np.random.Generator, worlds: int, x: Floats, tau: float
) -> tuple[GroupSums, Floats]:
    """The sums of experiments whose click-through rate follows x, and x."""
    traffic = default_traffic()
    query = PowerQuery(kpi=Kpi.CTR, x=x, shares=np.full(len(x), 1 / len(x)), sign=1, level=LEVEL)
    deviations = tau * rng.standard_normal((worlds, len(x)))
    chances = query.chances(traffic, x, 1.0, deviations)
    groups = PlannedGroups(
        traffic=traffic, kpi=Kpi.CTR, days=DAYS, shares=query.shares, chances_RG=chances
    )
    return draw_sums(rng, groups), x


def _confirmed(
    setting: str, x_GK: Floats, drawn: tuple[GroupSums, Floats], *, apart: bool
) -> list[Row]:
    sums, _ = drawn
    response = working_response(x_GK[:, 0], sums)
    found = []
    for own, other, sign in ((0, 1, 1), (1, 0, -1)):
        others = OtherMetrics(x_MG=x_GK[None, :, other]) if apart else None
        score = score_slope(0.0, x_GK[:, own], response, others=others)
        found.append((score.p_value < PLANNED_END_SHARE * ALPHA) & (sign * score.delta > 0))
    true, irrelevant = found
    bounds = ({"low": 0.9}, {"high": 0.05}) if apart else ({}, {})
    return [
        share_row(f"{setting}: recall", true, **bounds[0]),
        share_row(f"{setting}: diversity", irrelevant, **bounds[1]),
    ]


def partial_coverage(worlds: int) -> list[Claim]:
    """The interval of a partial slope."""
    rng, rows = np.random.default_rng(22), []
    for groups in (6, 10):
        for tau in (0.0, 0.03):
            for correlation in (0.0, 0.6, 0.9):
                first = rng.standard_normal(groups)
                second = correlation * _unit(first) + (1 - correlation**2) ** 0.5 * _unit(
                    _off(rng.standard_normal(groups), first)
                )
                x_GK = np.stack([0.04 * _unit(first), 0.04 * second], axis=1)
                line = x_GK @ np.array([0.9, -0.5])
                rates = Family.BINOMIAL.mean(
                    np.log(0.12 / 0.88) + line + tau * rng.standard_normal((worlds, groups))
                )
                sums = Users(number=300, mean=60, correlation=0.01).sums(rng, rates)
                response = working_response(x_GK[:, 0], sums)
                others = OtherMetrics(x_MG=x_GK[None, :, 1])
                score = score_slope(np.full(worlds, 0.9), x_GK[:, 0], response, others=others)
                covered = np.abs(score.delta) <= score.half_width(LEVEL)
                setting = f"g = {groups}, τ = {tau:g}, metrics correlate at {correlation:g}"
                rows.append(share_row(setting, covered, low=0.93, high=0.985))
    return [Claim(title="Coverage of the 95% interval of a partial slope", rows=tuple(rows))]


def _unit(values: Floats) -> Floats:
    centred = values - values.mean()
    return centred / centred.std()


def _off(values: Floats, other: Floats) -> Floats:
    """The values less their line in the other."""
    unit = _unit(other)
    return values - (values @ unit) / len(unit) * unit


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedDesign:
    """An experiment that is planned, and then run in many worlds, user by user."""

    setting: str
    x: Floats
    sizes: tuple[int, ...]
    ctr: float
    slope: float
    tau: float = 0.0
    mean: int = 20
    correlation: float = 0.02
    heavy: bool = False

    def compare(self, rng: np.random.Generator, worlds: int) -> Row:
        """Predicted less observed power."""
        shares = np.array(self.sizes) / sum(self.sizes)
        query = PowerQuery(
            kpi=Kpi.CTR,
            x=self.x,
            shares=shares,
            sign=1,
            level=LEVEL,
            group_deviation=self.tau,
        )
        number = sum(self.sizes) / len(self.sizes)
        users = Users(
            number=round(number), mean=self.mean, heavy=self.heavy, correlation=self.correlation
        )
        traffic = users.traffic(self.ctr, len(self.x), days=10)
        traffic = replace(traffic, returning_users=float(sum(self.sizes)))
        predicted = power(query, traffic, days=10, slope=self.slope).confirmed or 0.0
        observed = self._observed(rng, worlds, query, traffic)
        return Row(
            setting=f"{self.setting}: observed {observed.value:.3f}",
            value=predicted - observed.value,
            error=float(np.hypot(observed.error, (predicted * (1 - predicted) / DRAWS) ** 0.5)),
            low=-0.05,
            high=0.05,
        )

    def _observed(
        self, rng: np.random.Generator, worlds: int, query: PowerQuery, traffic: Traffic
    ) -> Row:
        deviations = self.tau * rng.standard_normal((worlds, len(self.x)))
        rates = query.chances(traffic, self.x, self.slope, deviations)
        parts = [
            Users(number=size, mean=self.mean, heavy=self.heavy, correlation=self.correlation).sums(
                rng, rates[:, [n]]
            )
            for n, size in enumerate(self.sizes)
        ]
        sums = GroupSums(
            **{k: np.concatenate([getattr(one, k) for one in parts], axis=1) for k in SUMS}
        )
        response = working_response(self.x, sums)
        known = np.isfinite(response.values_G).all(axis=1)
        known &= sums.successes.sum(axis=1) >= FEWEST_SUCCESSES
        safe = WorkingResponse(
            values_G=np.where(known[:, None], response.values_G, 0.0),
            variance_G=np.where(known[:, None], response.variance_G, 1.0),
            users_df=response.users_df,
        )
        score = score_slope(0.0, self.x, safe)
        confirmed = known & (score.p_value < PLANNED_END_SHARE * ALPHA) & (score.delta > 0)
        return share_row("observed", confirmed)


def designs_of_plans() -> list[PlannedDesign]:
    """Twenty designs: few successes, heavy tails, unequal shares, deviations, 3 to 10 groups."""
    five, ends = np.linspace(0, 1, 5), np.array([0, 0.1, 0.5, 0.9, 1.0])
    few = [
        PlannedDesign(
            setting=f"{clicks} clicks a group, {tails(heavy=heavy)}",
            x=five,
            sizes=(60,) * 5,
            ctr=clicks / 1200,
            slope=3.0,
            heavy=heavy,
        )
        for heavy in (False, True)
        for clicks in (1, 3, 10)
    ]
    unequal = [
        PlannedDesign(
            setting=f"shares {_ratio(sizes)}, click-through rate {ctr:.1%}",
            x=ends,
            sizes=sizes,
            ctr=ctr,
            slope=slope,
        )
        for sizes in ((40, 40, 40, 40, 160), (120, 40, 40, 40, 120))
        for ctr, slope in ((0.004, 3.0), (0.05, 0.9))
    ]
    numbers = [
        PlannedDesign(
            setting=f"g = {groups}, τ = {tau:g}",
            x=np.linspace(0, 1, groups),
            sizes=(200,) * groups,
            ctr=0.05,
            slope=slope,
            tau=tau,
        )
        for groups, slope in ((3, 1.2), (10, 0.6))
        for tau in (0.0, 0.1)
    ]
    deviating = [
        PlannedDesign(
            setting=f"shares {_ratio(sizes)}, τ = 0.05, {tails(heavy=heavy)}",
            x=five,
            sizes=sizes,
            ctr=0.1,
            slope=0.35,
            tau=0.05,
            heavy=heavy,
        )
        for heavy in (False, True)
        for sizes in ((400,) * 5, (800, 300, 300, 300, 800))
    ]
    correlated = [
        PlannedDesign(
            setting=f"correlation of a user's impressions {correlation:g}",
            x=five,
            sizes=(300,) * 5,
            ctr=0.1,
            slope=0.35,
            correlation=correlation,
        )
        for correlation in (0.0, 0.1)
    ]
    return [*few, *unequal, *numbers, *deviating, *correlated]


def _ratio(sizes: tuple[int, ...]) -> str:
    """Numbers of users as the smallest whole ratio."""
    divisor = np.gcd.reduce(sizes)
    return " : ".join(f"{size // divisor}" for size in sizes)


def planned_designs(worlds: int) -> list[Claim]:
    """Predicted power less the share of simulated experiments that are confirmed."""
    rng = np.random.default_rng(23)
    rows = tuple(one.compare(rng, worlds) for one in designs_of_plans())
    title = f"Predicted less observed power, {len(rows)} designs"
    return [Claim(title=title, rows=rows)]


def adaptive_ends(worlds: int) -> list[Claim]:
    """An experiment that ends once decided or without a chance, on daily counts."""
    rng = np.random.default_rng(24)
    wrong, lost, days, saved = [], [], [], []
    for groups in (5, 10):
        for tau in (0.0, 0.03):
            for slope in (0.0, 0.6, 1.2):
                world = DailyWorld(line=Line(x=np.linspace(0, 0.14, groups), slope=slope, tau=tau))
                ends, decided, positive, fixed = world.run(rng, worlds)
                setting = f"g = {groups}, τ = {tau:g}, slope {slope:g}"
                if not slope:
                    wrong.append(share_row(f"g = {groups}, τ = {tau:g}", decided, high=ALPHA))
                else:
                    wrong.append(
                        share_row(f"{setting}: wrong sign", decided & ~positive, high=ALPHA)
                    )
                    fewer = fixed.astype(float) - decided.astype(float)
                    lost.append(_mean_row(setting, fewer, high=0.03))
                stated = world.stated()
                days.append(
                    _mean_row(
                        f"{setting}: stated {stated:.1f} of {DAYS} days",
                        ends - stated,
                        low=-0.7,
                        high=0.7,
                    )
                )
                saved.append(_mean_row(setting, 1 - ends / DAYS))
    return [
        Claim(title="Decided wrongly by an experiment with an adaptive end", rows=tuple(wrong)),
        Claim(title="Power that the adaptive end loses", rows=tuple(lost)),
        Claim(title="Observed less stated days of an adaptive end", rows=tuple(days)),
        Claim(title="Share of the planned days that it saves", rows=tuple(saved)),
    ]


def _mean_row(setting: str, values: Floats, **bounds: float) -> Row:
    error = float(values.std(ddof=1) / len(values) ** 0.5) or 1 / len(values)
    return Row(setting=setting, value=float(values.mean()), error=error, **bounds)


@dataclass(frozen=True, slots=True, kw_only=True)
class DailyWorld:
    """Days of clicks of 100 users a group, who see 20 lists a day."""

    line: Line
    users: int = 100
    impressions: int = 20

    def run(
        self, rng: np.random.Generator, worlds: int
    ) -> tuple[Floats, np.ndarray, np.ndarray, np.ndarray]:
        """Day of the end, whether decided then, the slope's sign, and whether a fixed end is."""
        rates_RG1 = self.line.rates(rng, worlds)[..., None]
        clicks = np.zeros((*rates_RG1.shape[:2], self.users))
        days: list[WorkingResponse | None] = []
        for day in range(DAYS):
            clicks = clicks + rng.binomial(self.impressions, rates_RG1, clicks.shape)
            trials = np.full(clicks.shape, self.impressions * (day + 1.0))
            sums = GroupSums.over_users(Family.BINOMIAL, trials, clicks)
            days.append(working_response(self.line.x, sums))
        course = follow(self.line.x, days, planned=DAYS, level=LEVEL)
        at, experiments = course.ends_on_R, np.arange(worlds)
        decided = course.significant_DR[at, experiments]
        positive = course.positive_DR[at, experiments]
        return at + 1.0, decided, positive, course.significant_DR[-1]

    def stated(self) -> float:
        """The days that a plan of this experiment states."""
        groups = len(self.line.x)
        traffic = Traffic(
            ctr=self.line.ctr,
            cvr=0.05,
            units_per_order=1.0,
            revenue_variation=1.0,
            impressions_per_day=float(groups * self.users * self.impressions),
            returning_users=float(groups * self.users),
            new_users_per_day=0.0,
            impressions_variation=0.0,
            correlation=dict.fromkeys(_RATES, 0.0),
        )
        found = adaptive_end(self.line.query, traffic, planned=DAYS, slope=self.line.slope)
        assert found
        return found.days
