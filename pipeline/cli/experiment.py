"""The experiment on the command line: its raw data, plan, endpoint, users and log."""

import logging
import os
from dataclasses import asdict

from pipeline.artifacts.storage import DATABASE
from pipeline.cli.context import open_project
from pipeline.cli.output import echo, print_json
from pipeline.core.contracts import Kpi
from pipeline.experiment.design.external_variants import load_plan
from pipeline.experiment.design.traffic_plan import read_plan
from pipeline.experiment.log.dry_run import inspect_log
from pipeline.experiment.log.ingest import Ingestion, ingest
from pipeline.experiment.log.log_files import log_files, log_folder
from pipeline.experiment.log.row_validation import LogRules
from pipeline.inference.power.plan_experiment import POWER
from pipeline.reporting.text.power_summary import plan_lines
from pipeline.results.serialization import read_power, to_dict
from pipeline.synthetic.generate_log import generate_log

SERVING_KEY = "PARETOSCOPE_SERVING_KEY"
"""The environment variable that holds the endpoint's bearer key, if it wants one."""

SHOP_LOG = "data/raw/synthetic-shop.jsonl"


def generate(*, json: bool) -> int:
    """Write the synthetic shop's log."""
    study, paths = open_project()
    sessions = generate_log(study.synthetic, paths.root / SHOP_LOG)
    if json:
        print_json({"sessions": sessions, "path": SHOP_LOG})
    else:
        echo(f"{sessions:,} sessions in {SHOP_LOG}")
    return 0


def plan(*, json: bool) -> int:
    """Print groups and power."""
    study, paths = open_project()
    groups, power = read_plan(paths), read_power(paths.require("traffic_plan", POWER))
    if json:
        print_json({"plan": groups.as_dict(), "power": to_dict(power)})
        return 0
    for words in plan_lines(groups, power, study.evaluation.cutoff):
        echo(words)
    return 0


def serve(*, host: str, port: int) -> int:
    """Answer requests until it is ended."""
    from pipeline.serving.http.server import serve as serve_study  # noqa: PLC0415 - FastAPI takes a second

    study, paths = open_project()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    serve_study(study, paths, host=host, port=port)
    return 0


def simulate(*, url: str, json: bool) -> int:
    """Let simulated users visit an endpoint."""
    from pipeline.simulator.http_client import simulate_over_http  # noqa: PLC0415 - aiohttp is large

    study, paths = open_project()
    found = simulate_over_http(study, read_plan(paths), url, key=os.environ.get(SERVING_KEY))
    if json:
        print_json({**found, "url": url})
        return 0
    echo(
        f"{found['lists']:,} lists shown, {found['clicked']:,} clicked, {found['ordered']:,} ordered "
        f"from ({found['units']:,} units); they are in the log of {url}"
    )
    return 0


def inspect(*, json: bool) -> int:
    """Say what would become of a log."""
    study, paths = open_project()
    found = inspect_log(study.experiment, paths)
    rates = found.kpis.filter(kpi=Kpi.CTR.value)
    if json:
        print_json({"log": asdict(found.log), "group_kpis": found.kpis.to_dicts()})
        return 0
    echo(f"{found.log.impressions:,} impressions of {found.log.files} files are usable")
    for reason, rows in found.log.rejected.items():
        echo(f"{rows:,} rows would be set aside: {reason}")
    for row in rates.iter_rows(named=True):
        echo(
            f"{row['group']}: {row['users']:,} users, {row['trials']:,} impressions, "
            f"{row['successes']:,} clicked"
        )
    return 0


def ingest_log(*, json: bool) -> int:
    """Bring the experiment's database to what the log's files say."""
    from pipeline.quality.runner import (  # noqa: PLC0415 - Great Expectations takes two seconds
        CheckResult,
        check_experiment_log,
        enforce,
    )

    study, paths = open_project()
    outcomes: list[CheckResult] = []
    found = ingest(
        log_files(log_folder(study.experiment, paths)),
        load_plan(paths),
        paths.artifact(DATABASE),
        rules=LogRules.of(study.experiment),
        check=lambda database: outcomes.extend(enforce(check_experiment_log(database))),
    )
    warnings = [str(outcome) for outcome in outcomes if not outcome.passed]
    if json:
        print_json({**asdict(found), "warnings": warnings})
        return 0
    for words in (*_counts(found), *warnings):
        echo(words)
    return 0


def _counts(found: Ingestion) -> list[str]:
    read = (
        f"{found.files_read} of {found.files} files were new"
        if found.files_read
        else "no file was new"
    )
    return [
        f"{found.impressions:,} impressions are in the database; {read}",
        *(f"{rows:,} rows are set aside: {reason}" for reason, rows in found.rejected.items()),
    ]
