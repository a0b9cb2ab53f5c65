"""The command line: ``paretoscope generate | train | score | fit | meta | report | verify | release``.

Running a study is Dagster's business: ``dagster asset materialize --select regression_report``.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from json import dumps
from pathlib import Path
from typing import Any

from rich.console import Console

from pipeline.errors import USER_ERRORS, StudyError
from pipeline.evaluation.scores import score_shard
from pipeline.fitting import fit_study
from pipeline.inference.counts import NOTHING_DECLARED, fit_counts, parse_hypothesis
from pipeline.inference.many_experiments import pool_studies
from pipeline.release import Verification, release, verify
from pipeline.reporting.counts_report import build_counts_report, write_counts_report
from pipeline.reporting.pooled import pooled_lines
from pipeline.reporting.report import sentence
from pipeline.storage import REPORT, StudyPaths, find_root
from pipeline.study import PARAMS_FILE, load_study
from pipeline.world.generation import generate_log

SHOP_LOG = "data/raw/synthetic-shop.jsonl"

_PLAIN: Any = {"soft_wrap": True, "highlight": False, "markup": False, "emoji": False}
_OUT = Console(**_PLAIN)
_ERR = Console(stderr=True, **_PLAIN)

_HELP = {
    "generate": "write the synthetic shop's log (the DVC stage raw_events)",
    "train": "fit the network to the finished sessions, under torchrun on several processes",
    "score": "score one of evaluation.shards, numbered from 1, for preference_scores to find",
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
        added = commands.add_parser(name, help=words, description=words)
        if name == "score":
            added.add_argument("shard", type=int)
        if name == "fit":
            added.add_argument("counts", type=Path)
            added.add_argument(
                "--report", type=Path, metavar="FOLDER", help="write report.json and a page there"
            )
            added.add_argument(
                "--hypothesis",
                action="append",
                default=[],
                metavar="METRIC:KPI:SIGN",
                help="such as recall@20:ctr:+; without any, the paper's",
            )
        if name == "meta":
            added.add_argument("reports", type=Path, nargs="+", metavar="REPORT.json")
            added.add_argument("--gain", type=float, help="of the metrics; 0.02 is 2 %% more")
        if name in {"fit", "meta"}:
            added.add_argument("--json", action="store_true", help="print all there is, as JSON")
            added.add_argument("--level", type=_level, default=0.95, help="of the intervals")
    values = vars(parser.parse_args(arguments))
    command = values.pop("command")
    try:
        return _COMMANDS[command](**values)
    except USER_ERRORS as error:
        _ERR.print(f"paretoscope {command}: ", style="bold red", end="")
        _ERR.print(str(error))
        return 1


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
    "fit": _fit,
    "meta": _meta,
    "report": _report,
    "verify": _verify,
    "release": _release,
}


if __name__ == "__main__":
    sys.exit(main())
