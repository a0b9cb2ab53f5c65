r"""The domain-adapted reward model against the plain one and IPS: Recovery of lifts that are known.

    python benchmarks/domain_adaptation.py --write

The synthetic experiment of Radwan et al. (2024, arXiv 2409.19824) with exact lifts, ``--worlds`` (60) per row, and
the groups of the default study, whose lifts an experiment has realised: from one group's log the others, and
from the log of the others each group. The study must have been run; ``--users`` (4,000) of its users are evaluated.
``--write`` writes ``results/domain_adaptation.md``.
"""

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from domain.groups import group_tables
from domain.synthetic import synthetic_tables
from machine import described, use_two_cores

RESULTS = Path(__file__).parent / "results" / "domain_adaptation.md"


def main() -> None:
    """Parse the command line and run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--worlds", type=int, default=60)
    parser.add_argument("--users", type=int, default=4000)
    arguments = parser.parse_args()
    use_two_cores()
    started = time.perf_counter()
    with ProcessPoolExecutor(max_workers=2, mp_context=get_context("spawn")) as pool:
        synthetic = pool.submit(synthetic_tables, arguments.worlds)
        groups = pool.submit(group_tables, arguments.users)
        lines = [*synthetic.result(), "", *groups.result()]
    minutes = (time.perf_counter() - started) / 60
    introduction = (
        f"`python benchmarks/domain_adaptation.py --write --worlds {arguments.worlds} --users {arguments.users}` "
        f"on {described('numpy', 'scipy', 'torch')}; {minutes:.0f} minutes. DM is the direct method with "
        "the plain reward model, DA with the domain-adapted one (weights by known propensities; *learnt*: by a "
        "domain classifier per target). A common bias does not change CV: read it with mean Recovery, its "
        "distance from 1 and the agreement of ranks (Spearman)."
    )
    text = "\n".join(["# Domain adaptation", "", introduction, "", *lines, ""])
    print(text)
    if arguments.write:
        RESULTS.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
