r"""What designs, planned power and an adaptive end claim, against what is true in simulated worlds.

    python benchmarks/designs.py --write

Every row is a setting with at least ``--worlds`` simulated worlds (2,000), and calls the functions that plans
and reports are made of. ``--only`` runs some of the claims. ``--write`` writes ``results/designs.md``.
"""

from claims.benchmark import ClaimBenchmark
from claims.designs import adaptive_ends, partial_coverage, planned_designs, two_axes

BENCHMARK = ClaimBenchmark(
    name="designs",
    description=__doc__,
    claims=(two_axes, partial_coverage, planned_designs, adaptive_ends),
    worlds=2000,
)


if __name__ == "__main__":
    BENCHMARK.main()
