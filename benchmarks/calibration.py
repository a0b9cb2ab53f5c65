r"""What intervals, verdicts, advice and predictions claim, against what is true in simulated worlds.

    python benchmarks/calibration.py --write

Every row is a setting with at least ``--worlds`` simulated worlds (1,500; the coverage of the slope's interval
has four times as many), and calls the functions that reports are made of. ``--only`` runs some of the claims.
``--write`` writes ``results/calibration.md``.
"""

from claims.benchmark import ClaimBenchmark, MeasureClaims
from claims.groups import shipping, stated_gain
from claims.metrics import best_metric, one_front
from claims.planning import meta_analysis, planned_power
from claims.slopes import daily_looks, noise_metric, printed_interval, slopes, user_segments

CLAIMS: tuple[MeasureClaims, ...] = (
    slopes,
    printed_interval,
    noise_metric,
    daily_looks,
    user_segments,
    one_front,
    best_metric,
    shipping,
    stated_gain,
    planned_power,
    meta_analysis,
)
BENCHMARK = ClaimBenchmark(
    name="calibration",
    description=__doc__,
    claims=CLAIMS,
    worlds=1500,
    more={slopes: 4},
    exceptions="four times as many for slopes and verdicts",
)


if __name__ == "__main__":
    BENCHMARK.main()
