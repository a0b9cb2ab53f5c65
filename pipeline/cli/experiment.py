"""The experiment: synthetic log, plan, endpoint, simulated users and log ingestion."""

import logging
import os
from dataclasses import asdict

from pipeline.cli.context import echo, open_project, print_json
from pipeline.core.contracts import Kpi
from pipeline.experiment.design.traffic_plan import read_plan
from pipeline.experiment.log.dry_run import inspect_log
from pipeline.inference.power.plan_experiment import POWER
from pipeline.reporting.text.power_summary import plan_lines
from pipeline.results.serialization import read_power, to_dict
from pipeline.synthetic.generate_log import generate_log

SERVING_KEY = "PARETOSCOPE_SERVING_KEY"
"""The environment variable that holds the endpoint's bearer token."""

SHOP_LOG = "data/raw/synthetic-shop.jsonl"


def generate(*, json: bool) -> int:
    """Generate the log of the synthetic shop."""
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
    traffic_plan = read_plan(paths)
    power = read_power(paths.require("traffic_plan", POWER))
    if json:
        print_json({"plan": traffic_plan.as_dict(), "power": to_dict(power)})
        return 0
    for line in plan_lines(traffic_plan, power, study.evaluation.cutoff):
        echo(line)
    return 0


def serve(*, host: str, port: int) -> int:
    """Serve requests until the process is stopped."""
    from pipeline.serving.http.server import serve as serve_study  # noqa: PLC0415 - FastAPI takes a second

    study, paths = open_project()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    serve_study(study, paths, host=host, port=port)
    return 0


def simulate(*, url: str, json: bool) -> int:
    """Send simulated users to an endpoint."""
    from pipeline.simulator.http_client import simulate_over_http  # noqa: PLC0415 - aiohttp is large

    study, paths = open_project()
    found = simulate_over_http(study, read_plan(paths), url, key=os.environ.get(SERVING_KEY))
    if json:
        print_json({**found, "url": url})
        return 0
    echo(
        f"{found['lists']:,} impressions, {found['clicked']:,} with a click, {found['ordered']:,} "
        f"with an order ({found['units']:,} units); they are in the log of {url}"
    )
    return 0


def validate_log(*, json: bool) -> int:
    """Validate the experiment's log without writing anything."""
    study, paths = open_project()
    found = inspect_log(study.experiment, paths)
    if json:
        print_json({"log": asdict(found.log), "group_kpis": found.kpis.to_dicts()})
        return 0
    echo(f"{found.log.impressions:,} usable impressions in {found.log.files} files")
    for reason, rows in found.log.rejected.items():
        echo(f"{rows:,} rows rejected: {reason}")
    for row in found.kpis.filter(kpi=Kpi.CTR.value).iter_rows(named=True):
        echo(
            f"{row['group']}: {row['users']:,} users, {row['trials']:,} impressions, "
            f"{row['successes']:,} with a click"
        )
    return 0


def ingest(*, json: bool) -> int:
    """Bring the experiment database up to date with the log files."""
    from pipeline.steps.experiment import ingest_log  # noqa: PLC0415 - Great Expectations takes two seconds

    step = ingest_log(*open_project())
    found = step.value
    warnings = [str(check) for check in step.checks if not check.passed]
    if json:
        print_json({**asdict(found), "warnings": warnings})
        return 0
    echo(
        f"{found.impressions:,} impressions in the database; {found.files_read} of {found.files} "
        "files were new or changed"
    )
    for reason, rows in found.rejected.items():
        echo(f"{rows:,} rows rejected: {reason}")
    for warning in warnings:
        echo(warning)
    return 0
