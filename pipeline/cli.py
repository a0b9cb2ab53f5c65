"""The command line: ``paretoscope generate | train | score | plan | serve | simulate | fit | …``.

Running a study is Dagster's business: ``dagster asset materialize --select regression_report``.
"""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from json import dumps
from pathlib import Path
from typing import Any

from rich.console import Console

from pipeline.errors import USER_ERRORS, StudyError
from pipeline.evaluation.scores import score_shard
from pipeline.experiment.inspection import inspect_log
from pipeline.experiment.plan import read_plan
from pipeline.fitting import fit_study
from pipeline.inference.counts import NOTHING_DECLARED, fit_counts, parse_hypothesis
from pipeline.inference.many_experiments import pool_studies
from pipeline.inference.planned_power import POWER
from pipeline.release import Verification, release, verify
from pipeline.reporting.counts_report import build_counts_report, write_counts_report
from pipeline.reporting.planned import plan_lines
from pipeline.reporting.pooled import pooled_lines
from pipeline.reporting.report import sentence
from pipeline.schemas import Kpi
from pipeline.storage import REPORT, StudyPaths, find_root, read_json
from pipeline.study import PARAMS_FILE, load_study
from pipeline.world.generation import generate_log

SERVING_KEY = "PARETOSCOPE_SERVING_KEY"
"""The environment variable that holds the endpoint's bearer key, if it wants one."""

SHOP_LOG = "data/raw/synthetic-shop.jsonl"

_PLAIN: Any = {"soft_wrap": True, "highlight": False, "markup": False, "emoji": False}
_OUT = Console(**_PLAIN)
_ERR = Console(stderr=True, **_PLAIN)

_HELP = {
    "generate": "write the synthetic shop's log (the DVC stage raw_events)",
    "train": "fit the network to the finished sessions, under torchrun on several processes",
    "score": "score one of evaluation.shards, numbered from 1, for preference_scores to find",
    "inspect": "read the log you bring, and say what would become of its rows; nothing is written",
    "plan": "print the experiment's groups and its power, beside evenly spaced preferences",
    "serve": "answer requests for lists and write the experiment's log; see docs/serving.md",
    "simulate": "let the synthetic shop's users visit a serving endpoint; see docs/simulation.md",
    "fit": "fit hypotheses to a CSV or parquet file of group counts; see docs/inference.md",
    "meta": "pool the hypotheses of several studies' report.json; see docs/inference.md",
    "report": "say where the finished study's report lies",
    "verify": "compare the finished study with the pinned md5s and the released tables",
    "release": "make the finished study's tables the released ones",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns 0, 1 if it failed, 2 if it was called wrongly."""
    parser = argparse.ArgumentParser(prog="paretoscope", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, words in _HELP.items():
        _add_arguments(name, commands.add_parser(name, help=words, description=words))
    values = vars(parser.parse_args(arguments))
    command = values.pop("command")
    try:
        return _COMMANDS[command](**values)
    except USER_ERRORS as error:
        _ERR.print(f"paretoscope {command}: ", style="bold red", end="")
        _ERR.print(str(error))
        return 1


def _add_arguments(command: str, parser: argparse.ArgumentParser) -> None:
    """What a command can be called with."""
    match command:
        case "score":
            parser.add_argument("shard", type=int)
        case "serve":
            parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
            parser.add_argument("--port", type=_port, default=8350, help="0 for any that is free")
        case "simulate":
            parser.add_argument("--url", required=True, help="such as http://127.0.0.1:8350")
        case "fit":
            parser.add_argument("counts", type=Path)
            parser.add_argument(
                "--report", type=Path, metavar="FOLDER", help="write report.json and a page there"
            )
            parser.add_argument(
                "--hypothesis",
                action="append",
                default=[],
                metavar="METRIC:KPI:SIGN",
                help="such as recall@20:ctr:+; without any, the paper's",
            )
        case "meta":
            parser.add_argument("reports", type=Path, nargs="+", metavar="REPORT.json")
            parser.add_argument("--gain", type=float, help="of the metrics; 0.02 is 2 %% more")
        case _:
            pass
    if command in {"plan", "fit", "meta"}:
        parser.add_argument("--json", action="store_true", help="print all there is, as JSON")
    if command in {"fit", "meta"}:
        parser.add_argument("--level", type=_level, default=0.95, help="of the intervals")


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port < 1 << 16:
        raise argparse.ArgumentTypeError(f"{text} is no port; expected 0 to 65535")
    return port


def _level(text: str) -> float:
    level = float(text)
    if not 0.5 < level < 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0.5 and 1")
    return level


def _generate() -> int:
    root = find_root()
    sessions = generate_log(load_study(root / PARAMS_FILE).world, root / SHOP_LOG)
    _OUT.print(f"{sessions:,} sessions in {SHOP_LOG}")
    return 0


def _train() -> int:
    root = find_root()
    study = load_study(root / PARAMS_FILE)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    trained = fit_study(study, StudyPaths.of(study, root))
    _OUT.print(
        f"the best epoch is {trained.best_epoch}, its front's hypervolume on validation "
        f"{trained.front.hypervolume:.4f}; now: dagster asset materialize --select "
        "'group:preference_scores+'"
    )
    return 0


def _score(shard: int) -> int:
    root = find_root()
    study = load_study(root / PARAMS_FILE)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    score_shard(study, StudyPaths.of(study, root), shard)
    return 0


def _inspect() -> int:
    root = find_root()
    study = load_study(root / PARAMS_FILE)
    found = inspect_log(study.experiment, StudyPaths.of(study, root))
    _OUT.print(f"{found.log.exposures:,} exposures of {found.log.files} files are usable")
    for reason, rows in found.log.rejected.items():
        _OUT.print(f"{rows:,} rows would be set aside: {reason}")
    for row in found.kpis.filter(kpi=Kpi.CTR.value).iter_rows(named=True):
        _OUT.print(
            f"{row['group']}: {row['users']:,} users, {row['trials']:,} exposures, "
            f"{row['successes']:,} clicked"
        )
    return 0


def _plan(*, json: bool) -> int:
    root = find_root()
    study = load_study(root / PARAMS_FILE)
    paths = StudyPaths.of(study, root)
    plan, power = read_plan(paths).as_dict(), read_json(paths.require("traffic_plan", POWER))
    if json:
        _OUT.print(dumps({"plan": plan, "power": power}, indent=2, allow_nan=False))
        return 0
    for words in plan_lines(plan, power, study.evaluation.cutoff):
        _OUT.print(words)
    return 0


def _serve(*, host: str, port: int) -> int:
    from pipeline.serving.server import serve  # noqa: PLC0415 - FastAPI takes a second to import

    root = find_root()
    study = load_study(root / PARAMS_FILE)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    serve(study, StudyPaths.of(study, root), host=host, port=port)
    return 0


def _simulate(*, url: str) -> int:
    from pipeline.simulator.served import simulate_over_http  # noqa: PLC0415 - aiohttp is large

    root = find_root()
    study = load_study(root / PARAMS_FILE)
    plan = read_plan(StudyPaths.of(study, root))
    found = simulate_over_http(study, plan, url, key=os.environ.get(SERVING_KEY))
    _OUT.print(
        f"{found['lists']:,} lists shown, {found['clicked']:,} clicked, {found['ordered']:,} ordered "
        f"from ({found['units']:,} units); they are in the log of {url}"
    )
    return 0


def _fit(
    *, counts: Path, json: bool, report: Path | None, level: float, hypothesis: list[str]
) -> int:
    asked = [parse_hypothesis(text, number) for number, text in enumerate(hypothesis, start=1)]
    found = fit_counts(counts, asked, level=level, seed=0)
    if not found["hypotheses"] and not report:
        raise StudyError(NOTHING_DECLARED)
    page = write_counts_report(build_counts_report(found, counts), report) if report else None
    if json:
        _OUT.print(dumps(found, indent=2, allow_nan=False))
        return 0
    for row in found["hypotheses"]:
        _OUT.print(sentence(row, found["cutoff"]))
    for words in found["not_known"]:
        _OUT.print(words)
    if page:
        _OUT.print(f"the report: {page}")
    return 0


def _meta(*, reports: list[Path], gain: float | None, json: bool, level: float) -> int:
    found = pool_studies(reports, level=level, gain=gain)
    if json:
        rows = {"hypotheses": [one.as_dict() for one in found]}
        _OUT.print(dumps(rows, indent=2, allow_nan=False))
        return 0
    for words in pooled_lines(found):
        _OUT.print(words)
    return 0


def _report() -> int:
    root = find_root()
    paths = StudyPaths.of(load_study(root / PARAMS_FILE), root)
    page = paths.require(REPORT, "index.html")
    _OUT.print(f"the report: {page.relative_to(root)}")
    return 0


def _verify() -> int:
    root = find_root()
    study = load_study(root / PARAMS_FILE)
    result = verify(StudyPaths.of(study, root), study.dataset.path)
    for words, names in (
        ("identical to the pin", result.identical),
        ("DIFFERENT from the pin", result.different),
        ("close to the release", result.close),
        ("FAR from the release", result.apart),
    ):
        for name in names:
            _OUT.print(f"{words}: {name}")
    _OUT.print(_verdict(result))
    return 0 if result.passed else 1


def _verdict(result: Verification) -> str:
    if not result.passed:
        return "not verified: see the lines above"
    if result.close:
        return "verified: data bit for bit, what comes out of the network within tolerance"
    return "verified: everything bit for bit"


def _release() -> int:
    root = find_root()
    study = load_study(root / PARAMS_FILE)
    folder = release(StudyPaths.of(study, root))
    _OUT.print(f"released to {folder.relative_to(root)}; commit it with dvc.lock")
    return 0


_COMMANDS = {
    "generate": _generate,
    "train": _train,
    "score": _score,
    "inspect": _inspect,
    "plan": _plan,
    "simulate": _simulate,
    "serve": _serve,
    "fit": _fit,
    "meta": _meta,
    "report": _report,
    "verify": _verify,
    "release": _release,
}


if __name__ == "__main__":
    sys.exit(main())
