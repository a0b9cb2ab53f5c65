r"""The whole chain at OTTO's size: 12.9 million sessions and 1.86 million items, on one machine.

    python benchmarks/full_size.py --folder /path/with/30/GB --write

generates a log of OTTO's shape (``otto_size_log.py``), then runs the commands that a user would type in
a study folder, and measures of each the time, the memory of the whole tree of its processes and the disk. What
has run is kept in the folder, so that ``--steps prepare`` measures one step again. ``--sessions 129000 --items
18556`` is a hundredth of the size. ``--write`` updates ``results/full_size.md``.
"""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import otto_size_log
import polars as pl
from full_size_page import page
from full_size_serving import measure_serving
from machine import CORES, use_two_cores
from process_tree import Usage, disk_gb, run_measured

from pipeline.artifacts.provenance import git
from pipeline.core.contracts import Split
from pipeline.sessions.token_store import open_tokens

RESULTS = Path(__file__).parent / "results" / "full_size.md"
NAME = "otto-size"
RECORDS = "full_size.json"
EPOCHS = 4
BATCH = 256
TRIAL_SESSIONS = 5_000
FROM_PLAN_TO_REPORT = (
    *("traffic_plan", "experiment_log_files", "experiment_log", "group_kpis"),
    *("regression_estimates", "regression_report"),
)
PARAMS = """\
study: {{name: {name}, seed: 1}}
dataset: {{format: otto, path: data/raw}}
sessions: {{boundary_sessions: trim, min_item_support: 1, test_days: 2.0, validation_days: {validation_days}}}
training:
  negatives: {{uniform: 1024, in_batch: true, log_q: true}}
  epochs: {epochs}
  sessions_per_epoch: {sessions_per_epoch}
  batch_size: {batch_size}
  sparse_items: true
evaluation: {{sessions: {evaluated}}}
experiment: {{name: {name}, source: held-out-replay, groups: 5, users: {users}}}
serving: {{threads: 2, deadline_ms: 2000}}
"""
_RATE = re.compile(r"epoch 1 of 1: train .* (\d+) clicks/s")


@dataclass(slots=True)
class Chain:
    """A study folder of OTTO's size, and what its steps took."""

    arguments: argparse.Namespace
    folder: Path
    records: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def project(self) -> Path:
        """The study folder."""
        return self.folder / NAME

    @property
    def artifacts(self) -> Path:
        """The study's artifacts."""
        return self.project / "data" / "studies" / NAME

    def run(self, *command: str) -> Usage:
        """Run one of the product's commands in the study folder, on two cores.

        Raises:
            RuntimeError: if it fails; its messages are in ``full_size.log``.
        """
        started = [sys.executable, "-m", "pipeline.cli", *command]
        usage = run_measured(started, folder=self.project, log=self.folder / "full_size.log")
        if usage.status:
            msg = f"{command} ended with status {usage.status}; see {self.folder}/full_size.log"
            raise RuntimeError(msg)
        return usage

    def study(self, *assets: str) -> tuple[Usage, dict[str, Any]]:
        """Materialise assets; the seconds of each are what the run prints."""
        usage = self.run("study", "--select", ",".join(assets), "--json")
        return usage, json.loads(usage.output)["assets"]

    def write_params(self, *, epochs: int = EPOCHS, sessions_per_epoch: int | None = None) -> None:
        """Write the study's parameters."""
        arguments = self.arguments
        text = PARAMS.format(
            name=NAME,
            batch_size=BATCH,
            epochs=epochs,
            sessions_per_epoch=sessions_per_epoch or "null",
            evaluated=arguments.evaluated,
            users=arguments.users,
            validation_days=arguments.validation_days,
        )
        (self.project / "params.yaml").write_text(text, encoding="utf-8")

    def keep(self, step: str, usage: Usage, **details: Any) -> None:
        """Keep what a step took, and print it."""
        measured = asdict(usage)
        del measured["output"]
        self.records[step] = {**measured, "disk_gb": disk_gb(self.project), **details}
        self.records[step]["load"] = Path("/proc/loadavg").read_text("utf-8").split()[1]
        self.records[step]["code"] = git(Path(__file__).parent, "rev-parse", "--short", "HEAD")
        (self.folder / RECORDS).write_text(json.dumps(self.records, indent=1), encoding="utf-8")
        print(step, json.dumps(self.records[step]), flush=True)


def main() -> None:
    """Parse the command line and run what it asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--sessions", type=int, default=otto_size_log.SESSIONS)
    parser.add_argument("--items", type=int, default=otto_size_log.ITEMS)
    parser.add_argument("--train-minutes", type=float, default=60.0)
    parser.add_argument("--validation-days", type=float, default=0.02)
    parser.add_argument("--evaluated", type=int, default=1000, help="test sessions that are scored")
    parser.add_argument("--users", type=int, default=1000, help="test sessions that are replayed")
    parser.add_argument("--steps", nargs="*", choices=STEPS, default=list(STEPS))
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    use_two_cores()
    chain = Chain(arguments, arguments.folder.resolve())
    chain.folder.mkdir(parents=True, exist_ok=True)
    if (chain.folder / RECORDS).exists():
        chain.records = json.loads((chain.folder / RECORDS).read_text(encoding="utf-8"))
    if chain.project.exists():  # the arguments of this run, and the training as it was
        chain.write_params(
            sessions_per_epoch=chain.records.get("train", {}).get("sessions_per_epoch")
        )
    for step in arguments.steps:
        STEPS[step](chain)
    text = page(chain.records)
    print(text)
    if arguments.write:
        RESULTS.write_text(text, encoding="utf-8")


def generate(chain: Chain) -> None:
    """Create the study folder and its log."""
    initial = [sys.executable, "-m", "pipeline.cli", "init", NAME, "--template", "otto"]
    if not chain.project.exists():
        subprocess.run(initial, cwd=chain.folder, check=True)  # noqa: S603 - our own command
    chain.write_params()
    file = chain.project / "data" / "raw" / "otto-recsys-train.jsonl"
    size = ["--sessions", str(chain.arguments.sessions), "--items", str(chain.arguments.items)]
    usage = run_measured(
        [sys.executable, otto_size_log.__file__, str(file), *size],
        folder=chain.folder,
        log=chain.folder / "full_size.log",
    )
    chain.keep("generate", usage, bytes=file.stat().st_size)


def validate(chain: Chain) -> None:
    """Read the log under the study's rules."""
    chain.keep("validate", chain.run("validate-data"))


def prepare(chain: Chain) -> None:
    """From the file to the token store."""
    usage, assets = chain.study("raw_events", "events", "sessions")
    found = json.loads((chain.artifacts / "sessions" / "summary.json").read_text("utf-8"))
    events = json.loads((chain.artifacts / "events" / "summary.json").read_text("utf-8"))
    chain.keep(
        "prepare", usage, assets=assets, sessions=found, event_types=events["event_types"],
        shape=shape_of(chain.artifacts / "events" / "events.parquet"),
    )  # fmt: skip


def shape_of(events: Path) -> dict[str, list[float]]:
    """Mean, standard deviation and quantiles of the events per session and per item, and the number of both."""
    found: dict[str, list[float]] = {}
    with duckdb.connect(config={"threads": CORES, "memory_limit": "4GB"}) as database:
        for name in ("session", "item"):
            row = database.execute(
                f"SELECT count(*), avg(n), stddev(n), quantile_disc(n, $shares) FROM "  # noqa: S608
                f"(SELECT count(*) AS n FROM read_parquet($file) GROUP BY {name})",
                {"shares": list(otto_size_log.QUANTILES), "file": str(events)},
            ).fetchone()
            assert row is not None
            found[name] = [*row[:3], *row[3]]
    return found


def train(chain: Chain) -> None:
    """As many steps as the minutes allow, by the rate of a short trial."""
    chain.write_params(epochs=1, sessions_per_epoch=TRIAL_SESSIONS)
    log = chain.folder / "full_size.log"
    before = log.stat().st_size
    trial = chain.run("train")
    rate = float(_RATE.findall(log.read_text("utf-8")[before:])[-1])
    tokens = open_tokens(chain.artifacts / "sessions" / "tokens.safetensors", Split.TRAIN)
    targets = float((tokens.lengths - 1).clip(max=50).mean())
    wanted = round(chain.arguments.train_minutes * 60 * rate / targets / EPOCHS)
    sessions = min(wanted, tokens.n_sessions)
    chain.write_params(sessions_per_epoch=sessions)
    usage = chain.run("train", "--json")
    chain.keep(
        "train", usage, sessions_per_epoch=sessions, steps=EPOCHS * -(-sessions // BATCH), epochs=EPOCHS, targets=targets,
        clicks=EPOCHS * sessions * targets, share=EPOCHS * sessions / tokens.n_sessions,
        trial_seconds=trial.seconds, **json.loads(usage.output),
    )  # fmt: skip


def evaluate(chain: Chain) -> None:
    """Exact ranks under every preference, metrics and the front."""
    usage, assets = chain.study('key:"preference_scores/*"', "offline_metrics", "pareto_front")
    metrics = pl.read_parquet(chain.artifacts / "offline_metrics" / "offline_metrics.parquet")
    front = pl.read_parquet(chain.artifacts / "pareto_front" / "pareto_front.parquet")
    chain.keep(
        "evaluate", usage, assets=assets, targets=metrics["n_targets"].max(),
        front=front.select("preference_id", "recall", "order_density").to_dicts(),
    )  # fmt: skip


def conclude(chain: Chain) -> None:
    """From the plan to the report, which must open."""
    usage, assets = chain.study(*FROM_PLAN_TO_REPORT)
    report = chain.artifacts / "report"
    html = (report / "index.html").read_text(encoding="utf-8")
    json.loads((report / "report.json").read_text(encoding="utf-8"))
    kpis = pl.read_parquet(chain.artifacts / "group_kpis" / "group_kpis.parquet")
    chain.keep(
        "conclude", usage, assets=assets, bytes=len(html.encode()), opens="</html>" in html,
        headline=(report / "report.md").read_text(encoding="utf-8").partition("\n")[0].lstrip("# "),
        impressions=int(kpis.filter(kpi="ctr")["trials"].sum()), users=chain.arguments.users,
    )  # fmt: skip


def serve(chain: Chain) -> None:
    """Start the server, and ask it for lists."""
    items = pl.read_parquet(chain.artifacts / "sessions" / "items.parquet")
    ids = items["item"].cast(pl.String).to_list()
    usage, found = measure_serving(chain.project, ids, chain.folder / "full_size.log")
    chain.keep("serve", usage, **found)


STEPS: dict[str, Callable[[Chain], None]] = {
    "generate": generate,
    "prepare": prepare,
    "train": train,
    "evaluate": evaluate,
    "conclude": conclude,
    "serve": serve,
    "validate": validate,
}

if __name__ == "__main__":
    main()
