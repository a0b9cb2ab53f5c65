"""The slope of a hypothesis: its interval, its verdict, its margins, on any day."""

from dataclasses import replace
from datetime import date, timedelta

import numpy as np

from claims.result import ALPHA, GROUPS, LEVEL, RELIABILITIES, TAUS, Claim, Row, share_row, tails
from claims.worlds import SLOPE, SUMS, Line, Users, evenly, measured, one_trial_per_user, world
from pipeline.experiment.design.assignment import BATCHES
from pipeline.inference.glm.group_regression import GroupSums
from pipeline.inference.headline.interval import headline
from pipeline.inference.headline.readings import Groups, read_headline
from pipeline.inference.headline.slope_test import SlopeScore, score_slope
from pipeline.inference.headline.user_segments import segments
from pipeline.inference.headline.working_response import working_response
from pipeline.inference.sensitivity.day_effects import DailyOutcome
from pipeline.results.family import Family, Floats


def slopes(worlds: int) -> list[Claim]:
    """Coverage of the quoted interval, verdicts, and tests at the margin."""
    rng = np.random.default_rng(1)
    found: dict[str, list[Row]] = {
        name: [] for name in ("coverage", "confirmed", "contradicted", "equivalent", "not_worse")
    }
    for heavy in (False, True):
        for groups in GROUPS:
            for tau in TAUS:
                _add_slope_rows(
                    rng, worlds, found, Line(x=evenly(groups), tau=tau), Users(heavy=heavy)
                )
    return [
        Claim(title="Coverage of the quoted 95% interval", rows=tuple(found["coverage"])),
        Claim(title="Confirmed although the metric does nothing", rows=tuple(found["confirmed"])),
        Claim(
            title="Contradicted although the declared sign is true",
            rows=tuple(found["contradicted"]),
        ),
        Claim(
            title="Equivalent although the slope is at the margin", rows=tuple(found["equivalent"])
        ),
        Claim(
            title="Not worse although the slope is at the margin", rows=tuple(found["not_worse"])
        ),
    ]


def _add_slope_rows(
    rng: np.random.Generator, worlds: int, found: dict[str, list[Row]], line: Line, users: Users
) -> None:
    x = line.x
    some = users.sums(rng, line.rates(rng, worlds))
    null = users.sums(rng, replace(line, slope=0.0).rates(rng, worlds))
    for reliability in RELIABILITIES:
        setting = f"g = {len(x)}, τ = {line.tau:g}, {tails(heavy=users.heavy)}, reliability {reliability:g}"
        x_RG, errors = measured(rng, x, reliability, worlds)
        at = _score(SLOPE, x_RG, some, errors)
        zero, mirrored = (_score(b, x_RG, some, errors) for b in (0.0, -SLOPE))
        covered = np.abs(at.delta) <= at.half_width(LEVEL)
        found["coverage"].append(share_row(setting, covered, low=0.93, high=0.985))
        nothing = _score(0.0, x_RG, null, errors)
        confirmed = (nothing.p_value < ALPHA) & (nothing.delta > 0)
        found["confirmed"].append(share_row(setting, confirmed, high=ALPHA))
        contradicted = (zero.p_value < ALPHA) & (zero.delta < 0)
        found["contradicted"].append(share_row(setting, contradicted, high=ALPHA))
        # the quoted interval is within the margins: both one-sided tests at half of 5%
        below = at.one_sided_p_value(above=False) < ALPHA / 2
        above = mirrored.one_sided_p_value(above=True) < ALPHA / 2
        found["equivalent"].append(share_row(setting, below & above, high=0.055))
        found["not_worse"].append(share_row(setting, below, high=0.055))


def _score(b: float, x_RG: Floats, sums: GroupSums, errors: Floats | None) -> SlopeScore:
    return score_slope(np.full(len(x_RG), b), x_RG, working_response(x_RG, sums), errors)


def printed_interval(worlds: int) -> list[Claim]:
    """The interval as it is printed, one world at a time, where the metric has errors."""
    rng, rows = np.random.default_rng(2), []
    for groups in GROUPS:
        x = evenly(groups)
        x_RG, errors = measured(rng, x, 0.7, worlds)
        sums = Users(number=100).sums(rng, Line(x=x, tau=0.03).rates(rng, worlds))
        found = [headline(one, world(sums, n), errors, level=LEVEL) for n, one in enumerate(x_RG)]
        ends = [one.interval for one in found]
        covered = [
            interval is None
            or (
                (interval[0] or -np.inf)
                <= SLOPE
                <= (np.inf if interval[1] is None else interval[1])
            )
            for interval in ends
        ]
        setting = f"g = {groups}, reliability 0.7"
        rows.append(share_row(f"{setting}: coverage", np.array(covered), low=0.93, high=0.985))
        open_ended = [interval is None or None in interval for interval in ends]
        rows.append(
            share_row(f"{setting}: no interval, or an end without limit", np.array(open_ended))
        )
    limit = (
        "Where the metric's error is nearly as large as its spread, no slope is too steep for the data; "
        "the end is then without limit, and the report says so."
    )
    return [Claim(title="The interval as printed", rows=tuple(rows), limit=limit)]


def noise_metric(worlds: int) -> list[Claim]:
    """Verdicts on a metric of pure noise, in tests of many small variants that do differ."""
    rng, found = np.random.default_rng(5), []
    for spread in (0.1, 0.2, 0.3):
        for groups in (3, 4, 5, 6):
            true = np.log(0.012) + 0.35 * rng.standard_normal((worlds, 1))
            true = true + spread * rng.standard_normal((worlds, groups))
            clicks = rng.binomial(3000, np.minimum(np.exp(true), 0.9))
            noise = rng.lognormal(0, 0.2, (worlds, groups))
            x_RG = noise / noise.min(axis=1, keepdims=True) - 1
            score = _score(0.0, x_RG, one_trial_per_user(3000, clicks), None)
            found.append(np.stack([score.p_value < ALPHA, score.delta > 0], axis=-1))
    significant, positive = np.concatenate(found).T
    return [
        Claim(
            title="A metric of pure noise, on tests of 3 to 6 small variants (clicks 1.2%)",
            rows=(
                share_row("confirmed", significant & positive, high=0.025),
                share_row("contradicted", significant & ~positive, high=0.025),
            ),
        )
    ]


def daily_looks(worlds: int) -> list[Claim]:
    """Significant on any of 28 days of a planned 7, on either side, although the metric does nothing."""
    rng, rows, days = np.random.default_rng(7), [], 28
    for groups, tau in ((3, 0.0), (5, 0.0), (5, 0.05), (10, 0.05)):
        x, wrong = evenly(groups), []
        for _ in range(worlds):
            chances = Line(x=x, slope=0.0, tau=tau).rates(rng, 1)[0]
            trials = np.full((groups, days, BATCHES), 60.0)
            clicks = rng.binomial(60, chances[:, None, None], trials.shape).astype(np.float64)
            outcome = _daily(trials, clicks)
            sums = outcome.until(days - 1)
            quoted = read_headline(
                Groups(x=x, covariance_GG=None, sums=sums, outcome=outcome, planned_days=7),
                level=LEVEL,
            ).headline
            significant = quoted.p_value is not None and quoted.p_value < 1 - quoted.level
            wrong.append(significant or quoted.conflicting)
        rows.append(share_row(f"g = {groups}, τ = {tau:g}", np.array(wrong), high=ALPHA))
    title = (
        "Ever significant in 28 daily looks of a planned 7 days, although the metric does nothing"
    )
    return [Claim(title=title, rows=tuple(rows))]


def _daily(trials: Floats, clicks: Floats) -> DailyOutcome:
    days = tuple(date(2026, 1, 1) + timedelta(days=n) for n in range(trials.shape[1]))
    return DailyOutcome(family=Family.BINOMIAL, days=days, trials_GDB=trials, successes_GDB=clicks)


def user_segments(worlds: int) -> list[Claim]:
    """20 segments of users with equal slopes: one goes against the whole, or differs from the rest."""
    rng, against, differs = np.random.default_rng(11), [], []
    x, names = evenly(5), [f"s{n:02d}" for n in range(20)]
    for tau in (0.0, 0.05):
        for _ in range(max(10, worlds // 2)):
            chances = Line(x=x, tau=tau).rates(rng, 1)
            own = {name: world(Users(number=100, mean=20).sums(rng, chances), 0) for name in names}
            whole = GroupSums(
                **{k: np.sum([getattr(s, k) for s in own.values()], axis=0) for k in SUMS}
            )
            groups = Groups(x=x, covariance_GG=None, sums=whole)
            found = segments(groups, own, headline(x, whole, level=LEVEL), level=LEVEL)
            assert found
            against.append(any(one.opposite_sign for one in found.slopes))
            differs.append(any(one.differs for one in found.slopes))
    rows = (
        share_row("a segment goes against the whole", np.array(against), high=ALPHA),
        share_row("a segment differs from the rest", np.array(differs), high=ALPHA),
    )
    return [Claim(title="20 segments of users with equal slopes, g = 5", rows=rows)]
