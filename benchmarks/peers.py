r"""Peers under equal search: our click endpoint against strong single-objective recommenders.

    python benchmarks/peers.py --peers-python /path/to/environment/bin/python \\
        --gru4rec /path/to/GRU4Rec_PyTorch_Official --multitron /path/to/MultiTRON \\
        --retailrocket /path/to/click_sequences.parquet --yoochoose /path/to/yoochoose \\
        --jdata /path/to/jdata --work /path/to/folder --write

On every log, every program has the same sessions, the same test targets, the same number of tried
learning rates (chosen by Recall@20 on validation) and the same training time: processor seconds of
one thread, so that other work on the machine takes nothing from anyone. Finished runs are kept in
``--work``; a stopped benchmark goes on where it was (delete the lines of a program that changed
from its ``runs.jsonl``). The peers' environment needs
``torch``, ``rectools[torch]`` and ``pytorch-lightning``; the two checkouts are of
hidasib/GRU4Rec_PyTorch_Official and otto-de/MultiTRON. ``--write`` writes ``results/peers.md``.
"""

import argparse
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import yaml
from equal_search import front, report, runs
from equal_search.logs import NAMES, SAMPLE, PeerLog, open_log
from equal_search.programs import PROGRAMS
from equal_search.runs import Result, Run, Store
from equal_search.search import Budget, Found, search
from machine import use_two_cores

RESULTS = Path(__file__).parent / "results" / "peers.md"
PARTS = ("search", "front")
"""The click endpoint against its peers; the front against other ways to one."""


def main() -> None:
    """Parse the command line and run what it asks for."""
    arguments = parse()
    use_two_cores()
    if arguments.child:
        print(json.dumps(child(Run(**json.loads(arguments.child)), arguments)))
        return
    names = arguments.logs if "search" in arguments.parts else []
    logs = {name: open_log(name, arguments) for name in names}
    found = {name: search_log(log, arguments) for name, log in logs.items()}
    fronts = search_fronts(arguments) if "front" in arguments.parts else {}
    text = report.page(found, logs, fronts, arguments)
    print(text)
    if arguments.write:
        RESULTS.write_text(text, encoding="utf-8")


def child(run: Run, arguments: argparse.Namespace) -> dict[str, Any]:
    """One run in this process, on one thread; its result as JSON."""
    torch.set_num_threads(1)
    log = open_log(run.log, arguments)
    return asdict((front if run.program in front.METHODS else runs).run_here(run, log))


def search_log(log: PeerLog, arguments: argparse.Namespace) -> dict[str, Found]:
    """Every program's search on one log; what is done already is not run again."""
    store = Store(arguments.work / "runs.jsonl")
    budget = Budget(
        seconds=arguments.sample_seconds if log.name in SAMPLE else arguments.seconds,
        seeds=arguments.seeds,
        overrides=arguments.overrides,
    )

    def get(run: Run) -> Result:
        return store.get(run, lambda run: runs.execute(run, log, arguments))

    with ThreadPoolExecutor(arguments.jobs) as pool:
        return search(log.name, arguments.programs, budget, get, pool)


def search_fronts(arguments: argparse.Namespace) -> dict[str, list[front.Front]]:
    """Every method's fronts."""
    log, store = open_log(front.LOG, arguments), Store(arguments.work / "runs.jsonl")

    def get(run: Run) -> Result:
        return store.get(run, lambda run: runs.execute_ours(run, arguments))

    with ThreadPoolExecutor(arguments.jobs) as pool:
        return front.search(log, get, pool, seconds=arguments.seconds, seeds=arguments.seeds)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="folder of logs and finished runs")
    parser.add_argument("--peers-python", type=Path, help="interpreter of the peers' environment")
    parser.add_argument("--gru4rec", type=Path, help="a checkout of GRU4Rec_PyTorch_Official")
    parser.add_argument("--multitron", type=Path, help="a checkout of MultiTRON")
    parser.add_argument("--retailrocket", type=Path, help="click_sequences.parquet")
    parser.add_argument("--yoochoose", type=Path, help="folder of yoochoose-clicks.dat")
    parser.add_argument("--jdata", type=Path, help="folder of JDATA with sessions")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=["search"])
    parser.add_argument("--logs", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--programs", nargs="+", choices=PROGRAMS, default=list(PROGRAMS))
    parser.add_argument("--seconds", type=float, default=60, help="training time of one run")
    parser.add_argument(
        "--sample-seconds", type=float, default=20, help=f"the same on {' and '.join(SAMPLE)}"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one thread each")
    parser.add_argument(
        "--set", nargs="*", default=[], metavar="KEY=VALUE",
        help="settings of ours that differ from params.yaml, such as training.click_loss=gbce",
    )  # fmt: skip
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.script = Path(__file__)
    arguments.overrides = dict(map(_setting, arguments.set))
    if not arguments.child:
        _require(parser, arguments)
    return arguments


def _setting(text: str) -> tuple[str, Any]:
    key, _, value = text.partition("=")
    return key, yaml.safe_load(value)


def _require(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Refuse to begin without what a later run needs."""
    is_searched = "search" in arguments.parts
    peers = [PROGRAMS[name] for name in arguments.programs if is_searched]
    needed = {one.checkout for one in peers if one.checkout}
    needed |= {name for name in arguments.logs if is_searched and name != "synthetic-shop"}
    if any(one.is_trained and not one.is_ours for one in peers):
        needed.add("peers_python")
    for name in sorted(needed):
        path = getattr(arguments, name)
        if path is None or not path.exists():
            option = "--" + name.replace("_", "-")
            parser.error(f"{option} is {path}, expected an existing path; see --help")


if __name__ == "__main__":
    main()
