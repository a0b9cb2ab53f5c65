r"""Past tests: the time of thousands in one file, and how often the quoted intervals are right.

    python benchmarks/past_tests.py --write

The time is that of the command line on a file of arm-level means and variances by day, as public archives
have them, in a separate process. Coverage is counted over simulated archives whose slope, deviations and
errors are known: changes of a metric measured with errors that correlate with those of the KPI at 0.4 (as
on the same users), precisions that differ by a factor of about ten between tests, and deviations of the
true lifts from the line. ``--write`` writes ``results/past_tests.md``.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from machine import described

from pipeline.inference.past_tests.effects import PairedEffects, StackedTests
from pipeline.inference.past_tests.lift_prediction import predict_lifts
from pipeline.inference.past_tests.proxy_ranking import probabilities, true_correlations
from pipeline.inference.past_tests.proxy_slope import ProxyModel, SlopeFit, fit_slope

RESULTS = Path(__file__).parent / "results" / "past_tests.md"
CORRELATION = 0.4
LEVEL = 0.95
SPREAD = 0.6
"""Standard deviation of the logarithm of a test's errors."""

SLOPE = 3.0
"""Of the lift on the metric, whose true changes have the standard deviation 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """An archive: number of tests, slope, deviations in units of the lifts' error, reliability."""

    tests: int
    tau: float
    reliability: float
    slope: float = SLOPE


def archive(
    world: World, rng: np.random.Generator, correlation: float = CORRELATION
) -> tuple[StackedTests, np.ndarray]:
    """The measured tests of a world, and their true changes."""
    e = world.tests
    lift_error, delta_error = np.exp(rng.normal(0, SPREAD, (2, e)))
    delta_error = delta_error * ((1 / world.reliability - 1) / np.exp(2 * SPREAD**2)) ** 0.5
    noise = rng.normal(size=(2, e))
    noise[1] = correlation * noise[0] + (1 - correlation**2) ** 0.5 * noise[1]
    true = rng.normal(size=e)
    delta = true + delta_error * noise[0]
    lift = world.slope * true + rng.normal(0, world.tau, e) + lift_error * noise[1]

    def cube(values: np.ndarray) -> np.ndarray:
        return values.reshape(e, 1, 1)

    block = StackedTests(
        delta_EC=delta[:, None],
        lift_EC=lift[:, None],
        delta_noise_ECC=cube(delta_error**2),
        lift_noise_ECC=cube(lift_error**2),
        cross_noise_ECC=cube(delta_error * lift_error),
    )
    return block, true


def coverage(world: World, repeats: int, seed: int) -> tuple[float, float, float, float]:
    """Shares: slope covered, next lift covered, rejected without an effect, without a slope."""
    rng = np.random.default_rng(seed)
    slopes = lifts = fitted = rejected = 0
    for _ in range(repeats):
        block, _ = archive(world, rng)
        model = ProxyModel([block], CORRELATION, LEVEL)
        fit = fit_slope(model)
        if isinstance(fit, SlopeFit):
            fitted += 1
            slopes += _inside(world.slope, fit.interval)
            change = float(rng.normal())
            (found,) = predict_lifts(model, fit, [change])
            following = world.slope * change + rng.normal(0, world.tau)
            lifts += found.interval is not None and _inside(following, found.interval)
        flat, _ = archive(
            World(tests=world.tests, tau=world.tau, reliability=world.reliability, slope=0.0), rng
        )
        rejected += ProxyModel([flat], CORRELATION, LEVEL).p_value(0.0) < 1 - LEVEL
    known = max(fitted, 1)
    return slopes / known, lifts / known, rejected / repeats, 1 - fitted / repeats


def _inside(value: float, ends: tuple[float | None, float | None]) -> bool:
    low, high = ends
    return (low is None or low <= value) and (high is None or value <= high)


def stated_probabilities(
    world: World, rival: float, repeats: int, seed: int
) -> list[tuple[float, bool]]:
    """Of archives with two metrics, whose true changes correlate: stated probability, and the truth."""
    rng = np.random.default_rng(seed)
    found: list[tuple[float, bool]] = []
    for _ in range(repeats):
        block, true = archive(world, rng, correlation=0.0)
        error = block.delta_noise_ECC[:, 0, 0] ** 0.5
        other = rival * true + (1 - rival**2) ** 0.5 * rng.normal(size=world.tests)
        measured = other + error * rng.normal(size=world.tests)
        second = StackedTests(
            delta_EC=measured[:, None],
            lift_EC=block.lift_EC,
            delta_noise_ECC=block.delta_noise_ECC,
            lift_noise_ECC=block.lift_noise_ECC,
            cross_noise_ECC=np.zeros_like(block.cross_noise_ECC),
        )
        pairs = [
            PairedEffects(rows=pl.DataFrame(), blocks=(one,), tests=world.tests, errors_known=True)
            for one in (block, second)
        ]
        shares = probabilities(true_correlations(pairs, correlation=0.0, level=LEVEL))
        found += [(shares[0], True), (shares[1], False)]
    return found


def large_archive(path: Path, tests: int, days: int, metrics: int, seed: int) -> int:
    """Write a long table of cumulative means and variances; returns its rows."""
    rng = np.random.default_rng(seed)
    users = rng.integers(5_000, 200_000, tests)
    base = rng.uniform(0.05, 0.5, (tests, metrics))
    effect = rng.normal(0, 0.03, (tests, metrics))
    effect[:, 0] = 0.8 * effect[:, 1] + rng.normal(0, 0.005, tests)
    at = np.arange(1, days + 1) / days
    e, m, d = (
        grid.ravel()
        for grid in np.meshgrid(range(tests), range(metrics), range(days), indexing="ij")
    )
    count = (users[e] * at[d]).astype(int)
    rate = base[e, m]
    spread = (rate * (1 - rate) / count) ** 0.5
    noise = rng.normal(size=(2, tests, metrics))[:, e, m]
    frame = pl.DataFrame(
        {
            "experiment_id": [f"e{one}" for one in e],
            "variant_id": np.ones(len(e), dtype=int),
            "metric_id": m + 1,
            "time_since_start": d + 1,
            "count_c": count,
            "count_t": count,
            "mean_c": rate + spread * noise[0],
            "mean_t": rate * np.exp(effect[e, m]) + spread * noise[1],
            "variance_c": rate * (1 - rate),
            "variance_t": rate * (1 - rate),
        }
    )
    frame.write_csv(path)
    return frame.height


def command_time(tests: int, days: int, metrics: int) -> tuple[int, float, float]:
    """Rows of a file, and seconds of the command on it: of the wall and of the processor."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "archive.csv"
        rows = large_archive(path, tests, days, metrics, seed=1)
        command = [
            sys.executable, "-m", "pipeline.cli", "meta-analysis", str(path), "--kpi", "1", "--gain", "0.01",
            "--report", str(Path(folder) / "page"),
        ]  # fmt: skip
        started = time.perf_counter()
        import resource  # noqa: PLC0415 - the children of this process alone

        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return rows, time.perf_counter() - started, cpu


def main() -> None:
    """Parse the command line and run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--repeats", type=int, default=400)
    arguments = parser.parse_args()
    lines = [*_times(), *_coverages(arguments.repeats), *_rankings(arguments.repeats)]
    text = "\n".join(["# Past tests", "", described(), "", *lines]) + "\n"
    print(text)
    if arguments.write:
        RESULTS.write_text(text, encoding="utf-8")


def _times() -> list[str]:
    lines = [
        "`paretoscope meta-analysis FILE --kpi 1 --gain 0.01 --report FOLDER`, with four metrics:",
        "",
        "| tests | days | rows | seconds | of processor |",
        "|---:|---:|---:|---:|---:|",
    ]
    for tests, days in ((78, 30), (1_000, 20), (4_800, 10)):
        rows, wall, cpu = command_time(tests, days, 4)
        lines.append(f"| {tests:,} | {days} | {rows:,} | {wall:.1f} | {cpu:.1f} |")
    return [*lines, ""]


def _coverages(repeats: int) -> list[str]:
    words = (
        f"Coverage of 95% intervals in {repeats} archives per row (standard error of 95%: "
        f"{100 * (0.95 * 0.05 / repeats) ** 0.5:.1f} percentage points). τ is in units of the median error "
        "of a lift; the metric explains a spread of 3 of them. Rejected: with slope 0, p below 0.05. Refused: "
        "no slope can be excluded."
    )
    lines = [
        words,
        "",
        "| tests | τ | reliability | slope covered | next lift covered | rejected | refused |",
        "|---:|---:|---:|---:|---:|---:|---:|",
    ]
    number = 0
    for tests in (3, 6, 12, 40):
        for tau in (0.0, 1.0, 3.0):
            for reliability in (1.0, 0.8, 0.5):
                number += 1
                world = World(tests=tests, tau=tau, reliability=reliability)
                slope, lift, rejected, refused = coverage(world, repeats, number)
                lines.append(
                    f"| {tests} | {tau:g} | {reliability:.0%} | {slope:.1%} | {lift:.1%} | {rejected:.1%} | "
                    f"{refused:.1%} |"
                )
    return [*lines, ""]


def _rankings(repeats: int) -> list[str]:
    words = (
        "Stated probability of being best, and how often it was true, for two metrics of 80% reliability "
        f"whose true changes correlate at 0.8 ({repeats} archives per τ; 8 and 40 tests, τ of 1 and 3):"
    )
    lines = [
        words,
        "",
        "| stated | mean | true | cases |",
        "|---|---:|---:|---:|",
    ]
    found: list[tuple[float, bool]] = []
    for number, (tests, tau) in enumerate(((8, 1.0), (8, 3.0), (40, 1.0), (40, 3.0))):
        world = World(tests=tests, tau=tau, reliability=0.8)
        found += stated_probabilities(world, 0.8, max(repeats // 4, 1), 100 + number)
    stated = np.array([one for one, _ in found])
    true = np.array([one for _, one in found])
    for low in np.arange(0, 1, 0.2):
        there = (stated >= low) & (stated < low + 0.2 + (low > 0.7) * 1e-9)
        if there.any():
            lines.append(
                f"| {low:.0%} to {low + 0.2:.0%} | {stated[there].mean():.1%} | {true[there].mean():.1%} | "
                f"{there.sum()} |"
            )
    return [*lines, ""]


if __name__ == "__main__":
    main()
