"""``train --ray 2`` against torchrun with two processes, and ``evaluate-shard --ray`` against one process.

    python benchmarks/ray_launcher.py --study PROJECT --write

The project has a study with sessions; it is copied. Both launchers train its model in turns for ``--epochs`` epochs on the same
two cores, each with a cluster or group of its own, from nothing. Then its test sessions are scored. Results must be
the same bytes. ``--write`` updates ``results/ray_launcher.md``.
"""

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml
from machine import described, use_two_cores

from pipeline.artifacts.storage import StudyPaths
from pipeline.study import load_study

RESULTS = Path(__file__).parent / "results" / "ray_launcher.md"
SHARDS = 4
PARETOSCOPE = Path(sys.executable).parent / "paretoscope"
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
LAUNCHERS = {
    "torchrun": [*TORCHRUN, "-m", "pipeline.cli", "train"],
    "Ray": [str(PARETOSCOPE), "train", "--ray", "2"],
}
ENVIRONMENT = {**os.environ, "RAY_ADDRESS": "local", "RAY_DEDUP_LOGS": "0", "OMP_NUM_THREADS": "1"}


def main() -> None:
    """Parse the command line and run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--study", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    use_two_cores()
    with tempfile.TemporaryDirectory() as folder:
        paths = copied(arguments.study, Path(folder), arguments.epochs)
        lines = [
            "# Ray against torchrun, and against one process",
            "",
            f"`python benchmarks/ray_launcher.py --study … --write` on {described('torch', 'ray')}",
            "",
            *training_lines(paths, arguments.epochs, arguments.rounds),
            "",
            *scoring_lines(paths),
            "",
            f"Other programs ran beside it (load average {os.getloadavg()[2]:.0f}), so the ratios count.",
        ]
    text = "\n".join(lines) + "\n"
    print(text)
    if arguments.write:
        RESULTS.write_text(text, encoding="utf-8")


def copied(project: Path, to: Path, epochs: int) -> StudyPaths:
    """A project with the same sessions, a study of one thread per process, and shards."""
    values = yaml.safe_load((project / "params.yaml").read_text("utf-8"))
    values["training"] |= {"epochs": epochs, "threads": 1}
    values["evaluation"] |= {"shards": SHARDS}
    (to / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    paths = StudyPaths.of(load_study(to / "params.yaml"), to)
    shutil.copytree(
        project / paths.artifact("sessions").relative_to(to), paths.artifact("sessions")
    )
    return paths


def run(command: list[str], paths: StudyPaths) -> tuple[float, str]:
    """Seconds of a command, and what it says."""
    began = time.perf_counter()
    done = subprocess.run(  # noqa: S603 - a command of this project
        command, cwd=paths.root, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        msg = f"{command} ended with {done.returncode}: {done.stderr[-2000:]}"
        raise RuntimeError(msg)
    return time.perf_counter() - began, done.stderr


def training_lines(paths: StudyPaths, epochs: int, rounds: int) -> list[str]:
    """Both launchers in turns."""
    totals: dict[str, list[float]] = {name: [] for name in LAUNCHERS}
    rates: dict[str, list[float]] = {name: [] for name in LAUNCHERS}
    weights: set[bytes] = set()
    for _ in range(rounds):
        for name, command in LAUNCHERS.items():
            seconds, log = run(command, paths)
            totals[name].append(seconds)
            rates[name] += [float(rate) for rate in re.findall(r"epoch .* (\d+) clicks/s", log)]
            weights.add(paths.artifact("conditioned_model", "weights.safetensors").read_bytes())
            shutil.copytree(
                paths.artifact("conditioned_model"), paths.root / "kept", dirs_exist_ok=True
            )
            shutil.rmtree(paths.artifact("conditioned_model"))
    shutil.move(paths.root / "kept", paths.artifact("conditioned_model"))
    whole = {name: statistics.median(values) for name, values in totals.items()}
    pace = {name: statistics.median(values) for name, values in rates.items()}
    same = "the same bytes" if len(weights) == 1 else f"{len(weights)} different files"
    return [
        f"Two processes of one thread, {epochs} epochs of the default study; medians of {rounds} rounds in turns. The weights are {same}.",
        "",
        "| launcher | clicks/s in an epoch | start to end |",
        "|---|---|---|",
        *(f"| {name} | {pace[name]:,.0f} | {whole[name]:.0f} s |" for name in LAUNCHERS),
        f"| ratio | {pace['Ray'] / pace['torchrun']:.2f} | {whole['Ray'] / whole['torchrun']:.2f} |",
    ]


def scoring_lines(paths: StudyPaths) -> list[str]:
    """One process, shard by shard, and Ray's tasks."""
    alone = sum(
        run([str(PARETOSCOPE), "evaluate-shard", str(n + 1)], paths)[0] for n in range(SHARDS)
    )
    expected = shards(paths)
    shutil.rmtree(paths.artifact("preference_scores.shards"))
    on_ray, _ = run([str(PARETOSCOPE), "evaluate-shard", "--ray"], paths)
    same = "the same bytes" if shards(paths) == expected else "different bytes"
    return [
        f"Scores of {SHARDS} shards under every preference: {alone:.0f} s by `evaluate-shard 1` to `{SHARDS}`,",
        f"{on_ray:.0f} s as {len(expected) // 2} tasks of Ray on two cores; ratio {on_ray / alone:.2f}, {same}.",
    ]


def shards(paths: StudyPaths) -> dict[str, bytes]:
    """The files of finished shards."""
    return {file.name: file.read_bytes() for file in paths.folder.rglob("*-of-*.parquet")}


if __name__ == "__main__":
    main()
