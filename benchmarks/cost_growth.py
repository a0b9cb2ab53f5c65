"""What each step costs as a study grows: sessions, items, preferences, impressions, users, groups.

    python benchmarks/cost_growth.py --write

Each axis alone grows by a factor of about 30, the rest of the study stays small. Processor seconds of this
process (user and system, all threads), which a neighbour on the machine changes little; imports and first calls are
not counted, since every process runs the smallest study first. An exponent is that of the last three sizes: 1 is
linear. ``--write`` writes ``results/cost_growth.md``, with projections to 10⁹ impressions and 10⁸ sessions.
"""

import argparse
import json
import resource
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from machine import CORES, described, run_alone, use_two_cores
from small_chain import ROOT, SMALL

from paretoscope import open_study

RESULTS = Path(__file__).parent / "results" / "cost_growth.md"
GENERATE = "synthetic log"
MODEL_STEPS = (
    *(GENERATE, "events", "sessions", "conditioned_model", "preference_scores"),
    *("offline_metrics", "pareto_front", "traffic_plan"),
)
EXPERIMENT_STEPS = (
    *("experiment_log_files", "experiment_log", "group_kpis", "regression_estimates"),
    "regression_report",
)
USERS = 20_000
IMPRESSIONS = 1_000_000
LARGE = {"sessions": [10**n for n in range(4, 9)], "impressions": [10**n for n in range(5, 10)]}
MEMORY_GIB = 16
FEW_PREFERENCES = {"evaluation": {"preferences": 11}}
"""Of the steps of a model; the template has 101, from which the plan chooses up to 100 groups."""


@dataclass(frozen=True)
class Axis:
    """One number that grows.

    Attributes:
        sizes: Its values.
        steps: The steps that are run at each.
        change: The sections of ``params.yaml`` for a value.
    """

    sizes: tuple[int, ...]
    steps: tuple[str, ...]
    change: Callable[[int], Mapping[str, Any]]


def _direct(users: int, impressions: int, groups: int = 3) -> Mapping[str, Any]:
    return {
        "experiment": {"users": users, "groups": groups},
        "simulator": {"direct": {"impressions_per_user": impressions / users}},
    }


AXES = {
    "sessions": Axis(
        (5_000, 15_000, 50_000, 150_000),
        MODEL_STEPS,
        lambda n: {"synthetic": {"sessions": n, "users": n // 4}} | FEW_PREFERENCES,
    ),
    "items": Axis(
        (1_000, 3_000, 10_000, 30_000),
        MODEL_STEPS,
        lambda n: {"synthetic": {"items": n}} | FEW_PREFERENCES,
    ),
    "preferences": Axis(
        (3, 11, 31, 101), MODEL_STEPS[4:], lambda n: {"evaluation": {"preferences": n}}
    ),
    "impressions": Axis(
        (100_000, 300_000, 1_000_000, 3_000_000), EXPERIMENT_STEPS, lambda n: _direct(USERS, n)
    ),
    "users": Axis(
        (5_000, 15_000, 50_000, 150_000), EXPERIMENT_STEPS, lambda n: _direct(n, IMPRESSIONS)
    ),
    "groups": Axis(
        (3, 10, 30, 100),
        ("traffic_plan", *EXPERIMENT_STEPS),
        lambda n: _direct(USERS, IMPRESSIONS, n),
    ),
}


def main() -> None:
    """Parse the command line and run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--axes", nargs="*", choices=AXES, default=list(AXES))
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    use_two_cores()
    if arguments.child:
        print(json.dumps(child(**json.loads(arguments.child))))
        return
    text = "\n".join(report(arguments.axes)) + "\n"
    print(text)
    if arguments.write:
        RESULTS.write_text(text, encoding="utf-8")


def child(axis: str, size: int, template: str) -> dict[str, Any]:
    """The processor seconds and the peak memory of each step at one size."""
    with tempfile.TemporaryDirectory() as scratch:
        smallest = Path(scratch) / "smallest"
        run_steps(smallest, axis, AXES[axis].sizes[0], Path(template))
        return run_steps(Path(scratch) / "study", axis, size, Path(template))


def run_steps(root: Path, axis: str, size: int, template: Path) -> dict[str, dict[str, float]]:
    """Run the steps of an axis on a copy of the template, with its parameters changed."""
    shutil.copytree(template, root)
    file = root / "params.yaml"
    values = changed(yaml.safe_load(file.read_text("utf-8")), AXES[axis].change(size))
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    study, seconds, gib = open_study(root), {}, {}
    for step in AXES[axis].steps:
        before = processor_seconds()
        forget_peak_memory()
        if step == GENERATE:
            study.generate_log()
        else:
            study.run_step(step)
        seconds[step], gib[step] = processor_seconds() - before, peak_gib()
    return {"seconds": seconds, "gib": gib}


def changed(values: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters with some replaced, at any depth; an empty section is a value."""
    result = deepcopy(values)
    for name, value in changes.items():
        is_section = (
            bool(value) and isinstance(value, Mapping) and isinstance(result.get(name), Mapping)
        )
        result[name] = changed(result[name], value) if is_section else value
    return result


def processor_seconds() -> float:
    """User and system seconds of this process and the ended ones that it started."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def forget_peak_memory() -> None:
    """Let this process's peak begin at what it holds now."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_gib() -> float:
    """This process's peak memory since then."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 2**20


def write_template(root: Path) -> None:
    """A small finished study whose experiment is drawn from known slopes, with metrics of 101 preferences."""
    values = changed(yaml.safe_load((ROOT / "params.yaml").read_text("utf-8")), SMALL)
    more = {
        "synthetic": {"items": 1_000, "users": 2_000, "sessions": 10_000},
        "sessions": {"min_item_support": 1},
        "evaluation": {"preferences": 101},
        "experiment": {"source": "direct"},
    }
    root.mkdir()
    (root / "params.yaml").write_text(yaml.safe_dump(changed(values, more)), encoding="utf-8")
    study = open_study(root)
    study.generate_log()
    study.run("traffic_plan")


def report(axes: list[str]) -> Iterator[str]:
    """The results as Markdown."""
    yield "# Cost as a study grows"
    yield ""
    names = f" --axes {' '.join(axes)}" if axes != list(AXES) else ""
    yield (
        f"`python benchmarks/cost_growth.py{names} --write` on "
        f"{described('torch', 'polars', 'duckdb')}. Processor seconds of each step, one run each; the exponent is that of "
        "the last three sizes (1: linear). Network of width 16, two epochs; a catalogue of 1,000 items, "
        f"10,000 sessions, 11 preferences (101 in the steps of the experiment), {USERS:,} users, {IMPRESSIONS:,} impressions and 3 groups where they do not grow."
    )
    with tempfile.TemporaryDirectory() as scratch:
        template = Path(scratch) / "template"
        write_template(template)
        found = {
            name: [measure(name, size, template) for size in AXES[name].sizes] for name in axes
        }
    for name, runs in found.items():
        yield from table(name, runs)
    for name, sizes in LARGE.items():
        if name in found:
            yield from projection(name, found[name], sizes)


def measure(axis: str, size: int, template: Path) -> dict[str, Any]:
    """One run in a process of its own."""
    what = json.dumps({"axis": axis, "size": size, "template": str(template)})
    # threads that wait for each other on a busy machine take processor time
    found, _ = run_alone([sys.executable, __file__, "--child", what], OMP_NUM_THREADS="1")
    print(json.dumps({"axis": axis, "size": size, **found}), file=sys.stderr)
    return found


def table(axis: str, runs: list[dict[str, Any]]) -> Iterator[str]:
    """One axis: a row for each step."""
    sizes = AXES[axis].sizes
    yield ""
    yield f"## {axis.capitalize()}"
    yield ""
    heads = " | ".join(f"{size:,}" for size in sizes)
    yield f"| step | {heads} | exponent | peak memory, GiB: {sizes[0]:,} | {sizes[-1]:,} |"
    yield f"|---{'|---' * len(sizes)}|---|---|---|"
    for step in AXES[axis].steps:
        seconds, gib = ([run[name][step] for run in runs] for name in ("seconds", "gib"))
        shown = " | ".join(f"{one:.2f}" for one in seconds)
        power = f"{exponent(sizes, seconds):.2f}"
        yield f"| {step} | {shown} | {power} | {gib[0]:.2f} | {gib[-1]:.2f} |"


def exponent(sizes: Sequence[int], values: Sequence[float]) -> float:
    """That of the power law through the last points, at most three."""
    return float(np.polyfit(np.log(sizes[-3:]), np.log(values[-3:]), 1)[0])


def projection(axis: str, runs: list[dict[str, Any]], larger: list[int]) -> Iterator[str]:
    """What larger studies would take by the last slopes, at least linear."""
    sizes, last = AXES[axis].sizes, runs[-1]
    powers = {
        step: max(1.0, exponent(sizes, [run["seconds"][step] for run in runs]))
        for step in AXES[axis].steps
    }
    yield ""
    yield f"## Projected: {axis}"
    yield ""
    yield (
        "From the largest run by the exponents above, where they are above 1, and linear otherwise; memory of each step by its "
        f"last slope. Not run, other than where the table above has the size. Hours on {CORES} cores are processor seconds over {CORES}."
    )
    yield ""
    yield f"| {axis} | processor | hours on {CORES} cores | most of it | peak memory, GiB | of which step | on one machine of {MEMORY_GIB} GiB |"
    yield "|---|---|---|---|---|---|---|"
    for size in larger:
        seconds = {
            step: last["seconds"][step] * (size / sizes[-1]) ** power
            for step, power in powers.items()
        }
        gib = {step: memory_at(size, sizes, [run["gib"][step] for run in runs]) for step in powers}
        total, slowest = sum(seconds.values()), max(seconds, key=lambda step: seconds[step])
        largest = max(gib, key=lambda step: gib[step])
        fits = "yes" if gib[largest] <= MEMORY_GIB else "no"
        yield (
            f"| {size:,} | {total:,.0f} s | {total / 3600 / CORES:,.2f} | {slowest} | {gib[largest]:,.1f} | {largest} | {fits} |"
        )


def memory_at(size: int, sizes: Sequence[int], gib: Sequence[float]) -> float:
    """A peak at another size, by the slope of the last two; never below that of the smallest."""
    slope = max(0.0, (gib[-1] - gib[-2]) / (sizes[-1] - sizes[-2]))
    return max(gib[0], gib[-1] + slope * (size - sizes[-1]))


if __name__ == "__main__":
    main()
