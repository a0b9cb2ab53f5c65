r"""What partial slopes claim, against what is true in simulated worlds.

    python benchmarks/partial_slopes.py --write

Clicks follow the first of two or three metrics; the others do nothing, but move with it. Every row has at
least ``--worlds`` worlds (600). ``--write`` writes ``results/partial_slopes.md``.
"""

from dataclasses import dataclass, field, replace

import numpy as np
from claims.benchmark import ClaimBenchmark
from claims.result import ALPHA, LEVEL, Claim, Row, share_row
from claims.worlds import CTR, SLOPE, SUMS, Users

from pipeline.experiment.design.optimal_design.joint_information import (
    information_matrix,
    variance_inflation,
)
from pipeline.inference.glm.group_regression import GroupSums
from pipeline.inference.headline.slope_test import OtherMetrics, SlopeScore, score_slope
from pipeline.inference.headline.working_response import working_response
from pipeline.results.family import Family, Floats

ERROR_CORRELATION = 0.5
"""Of the errors of two metrics, which are measured on the same test sessions."""

FRONT, SWITCH = np.repeat(np.linspace(0, 0.11, 5), 2), np.tile([0.0, 0.11], 5)
DESIGNS = {
    "5 × 2, crossed": np.stack([FRONT, SWITCH]),
    "5 × 2, VIF 3": np.stack([FRONT, FRONT + 0.5 * SWITCH]),
    "5 × 2, VIF 8": np.stack([FRONT, FRONT + 0.267 * SWITCH]),
    "3 × 2": np.stack([np.repeat([0.0, 0.055, 0.11], 2), np.tile([0.0, 0.11], 3)]),
    "5 groups": np.stack([np.linspace(0, 0.11, 5), np.array([0.0, 0.11, 0.02, 0.09, 0.04])]),
    "5 × 2, three metrics": np.stack(
        [FRONT, SWITCH, np.array([0.0, 0.09, 0.1, 0.03, 0.05, 0.0, 0.02, 0.11, 0.08, 0.04])]
    ),
}
SMALL = Users(number=200, mean=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A setting.

    Attributes:
        design: Key of :data:`DESIGNS`.
        tau: Deviation of the groups from the plane, in log odds.
        heavy_deviations: Whether these are t-distributed with 3 degrees of freedom.
        reliability: Of each metric.
        users: Of the groups.
        ctr: Of all groups.
        largest_share: How many times the users of the smallest group the largest group has.
        slope: Of the first metric.
    """

    design: str
    tau: float = 0.0
    heavy_deviations: bool = False
    reliability: float = 1.0
    users: Users = field(default_factory=lambda: SMALL)
    ctr: float = CTR
    largest_share: int = 1
    slope: float = SLOPE

    @property
    def name(self) -> str:
        """The setting in words."""
        parts = [f"{self.design}, τ = {self.tau:g}"]
        if self.heavy_deviations:
            parts.append("heavy-tailed deviations")
        if self.reliability < 1:
            parts.append(f"reliability {self.reliability:g}")
        if self.users.heavy:
            parts.append("heavy-tailed users")
        if self.largest_share > 1:
            parts.append(f"shares 1 to {self.largest_share}")
        if self.ctr != CTR:
            clicks = self.ctr * self.users.number * self.users.mean
            parts.append(f"{clicks:.0f} clicks per group")
        return ", ".join(parts)

    def draw(
        self, rng: np.random.Generator, worlds: int
    ) -> tuple[GroupSums, Floats, Floats | None]:
        """The sums of the groups, the measured metrics, and the covariance of their errors."""
        true_KG = DESIGNS[self.design]
        metrics, groups = true_KG.shape
        line = np.log(self.ctr / (1 - self.ctr)) + self.slope * (true_KG[0] - true_KG[0].mean())
        if self.heavy_deviations:
            deviations = rng.standard_t(3, (worlds, groups)) / 3**0.5
        else:
            deviations = rng.standard_normal((worlds, groups))
        rates = Family.BINOMIAL.mean(line + self.tau * deviations)
        sums = self._sums(rng, rates)
        if self.reliability == 1:
            return sums, np.broadcast_to(true_KG, (worlds, metrics, groups)), None
        deviation_K = true_KG.std(axis=1, ddof=1) * (1 / self.reliability - 1) ** 0.5
        correlation_KK = np.full((metrics, metrics), ERROR_CORRELATION)
        np.fill_diagonal(correlation_KK, 1.0)
        error_KK = correlation_KK * np.outer(deviation_K, deviation_K)
        noise = rng.standard_normal((worlds, metrics, groups))
        x_KG = true_KG + np.linalg.cholesky(error_KK) @ noise
        return sums, x_KG, error_KK[:, :, None, None] * np.eye(groups)

    def _sums(self, rng: np.random.Generator, rates_RG: Floats) -> GroupSums:
        groups = rates_RG.shape[-1]
        share_G = np.round(np.geomspace(1, self.largest_share, groups)).astype(int)
        parts = [
            replace(self.users, number=self.users.number * int(share)).sums(rng, rates_RG[:, [n]])
            for n, share in enumerate(rng.permutation(share_G))
        ]
        return GroupSums(
            **{k: np.concatenate([getattr(one, k) for one in parts], axis=-1) for k in SUMS}
        )


def settings() -> list[World]:
    """The settings of coverage and false positives."""
    crossed, close = "5 × 2, crossed", "5 × 2, VIF 3"
    found = [
        World(design=design, tau=tau, reliability=reliability)
        for design in (crossed, close, "3 × 2", "5 groups")
        for tau in (0.0, 0.03, 0.1)
        for reliability in (1.0, 0.95, 0.8)
    ]
    found += [World(design="5 × 2, VIF 8", tau=tau) for tau in (0.0, 0.03, 0.1)]
    found += [
        World(design="5 × 2, three metrics", tau=tau, reliability=reliability)
        for tau in (0.0, 0.05)
        for reliability in (1.0, 0.9)
    ]
    heavy = replace(SMALL, heavy=True)
    few = Users(number=200, mean=20)
    for design in (close, "5 groups"):
        for tau in (0.0, 0.05):
            found += [
                World(design=design, tau=tau, users=heavy),
                World(design=design, tau=tau, largest_share=10),
                World(design=design, tau=tau, users=few, ctr=0.005),
                World(design=design, tau=tau, users=heavy, largest_share=10, reliability=0.9),
            ]
        found.append(World(design=design, tau=0.05, heavy_deviations=True))
    return found


def score(world: World, sums: GroupSums, x_KG: Floats, errors: Floats | None, k: int) -> SlopeScore:
    """The test of the true partial slope of metric k."""
    order = [k, *(m for m in range(x_KG.shape[-2]) if m != k)]
    own = None if errors is None else errors[np.ix_(order, order)]
    others = OtherMetrics(x_MG=x_KG[:, order[1:]], covariance_KKGG=own)
    response = working_response(x_KG[:, k], sums, others.x_MG)
    true = np.full(len(x_KG), world.slope if k == 0 else 0.0)
    return score_slope(true, x_KG[:, k], response, None if own is None else own[0, 0], others)


def coverage(worlds: int) -> list[Claim]:
    """Coverage of the true slopes, and how often a metric that does nothing is confirmed."""
    rng = np.random.default_rng(1)
    covered: list[Row] = []
    confirmed: list[Row] = []
    for world in settings():
        drawn = world.draw(rng, worlds)
        for k, which in ((0, "the metric that is followed"), (1, "the other")):
            found = score(world, *drawn, k)
            inside = ~(np.abs(found.delta) > found.half_width(LEVEL))
            covered.append(share_row(f"{world.name}: {which}", inside, low=0.93, high=0.985))
            if k:
                hits = (found.p_value < ALPHA) & (found.delta > 0)
                confirmed.append(share_row(world.name, hits, high=ALPHA))
    return [
        Claim(title="Coverage of the 95% interval of a partial slope", rows=tuple(covered)),
        Claim(title="Confirmed although the metric does nothing", rows=tuple(confirmed)),
    ]


def planted(worlds: int) -> list[Claim]:
    """A 5 × 2 design in which only the first metric matters, at the traffic of the default plan."""
    rng, rows = np.random.default_rng(2), []
    users = Users(number=500, mean=180)
    for design in ("5 × 2, crossed", "5 × 2, VIF 3"):
        for tau in (0.0, 0.016):
            world = World(design=design, tau=tau, users=users)
            sums, x_KG, _ = world.draw(rng, worlds)
            nothing = replace(world, slope=0.0)
            true, other = (score(nothing, sums, x_KG, None, k) for k in (0, 1))
            for name, found, bounds in (
                (
                    "the metric that is followed",
                    true,
                    {"low": 0.9, "high": 1.0} if "crossed" in design else {},
                ),
                ("the other", other, {"high": ALPHA}),
            ):
                hits = (found.p_value < ALPHA) & (found.delta > 0)
                rows.append(share_row(f"{world.name}: {name} confirmed", hits, **bounds))
    return [Claim(title="Only one of two metrics matters (slope 0.9)", rows=tuple(rows))]


def uniform(worlds: int) -> list[Claim]:
    """How often the p-value of a metric that does nothing is below a level."""
    rng, rows = np.random.default_rng(3), []
    for design in ("5 × 2, VIF 3", "5 groups"):
        world = World(design=design, tau=0.1)
        p_value = score(world, *world.draw(rng, 4 * worlds), 1).p_value
        for level in (0.01, 0.05, 0.1, 0.25, 0.5):
            error = 3 * (level * (1 - level) / len(p_value)) ** 0.5
            rows.append(
                share_row(
                    f"{world.name}: p < {level:g}",
                    p_value < level,
                    low=round(level - error, 4),
                    high=round(level + error, 4),
                )
            )
    return [
        Claim(title="p-values under the null hypothesis, where groups deviate", rows=tuple(rows))
    ]


def inflations() -> list[str]:
    """The variance inflation of the designs, with a one-front design for comparison."""
    designs = DESIGNS | {"5 groups of one front": np.stack([FRONT[::2], FRONT[::2] ** 1.3])}
    lines = ["## Variance inflation", "", "| design | VIF of each metric |", "|---|---|"]
    for name, x_KG in designs.items():
        found = variance_inflation(information_matrix(x_KG.T, np.ones(x_KG.shape[1])))
        lines.append(f"| {name} | {', '.join(f'{one:.2f}' for one in found)} |")
    return lines


BENCHMARK = ClaimBenchmark(
    name="partial_slopes",
    description=__doc__,
    claims=(coverage, planted, uniform),
    worlds=600,
    exceptions="four times as many for p-values",
    note=f"Errors of two metrics correlate at {ERROR_CORRELATION:g}.",
    tables=inflations,
)


if __name__ == "__main__":
    BENCHMARK.main()
