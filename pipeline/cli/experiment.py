"""The experiment: synthetic log, plan, endpoint, simulated users and log ingestion."""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from pipeline.artifacts.storage import DATABASE
from pipeline.cli.context import open_project, print_result
from pipeline.core.contracts import Kpi
from pipeline.experiment.design.traffic_plan import read_plan
from pipeline.experiment.log.row_fates import read_row_fates
from pipeline.inference.diagnostics.lost_outcomes import lost_outcomes
from pipeline.inference.power.plan_experiment import POWER
from pipeline.quality.expectation import CheckResult
from pipeline.reporting.text.diagnostics import check_numbers
from pipeline.reporting.text.power_summary import plan_lines
from pipeline.results.diagnostics import LostOutcomes
from pipeline.results.serialization import read_power, to_dict
from pipeline.synthetic.generate_log import generate_log

SERVING_KEY = "PARETOSCOPE_SERVING_KEY"
"""The environment variable that holds the endpoint's bearer token."""

SHOP_LOG = "data/raw/synthetic-shop.jsonl"


def generate(*, json: bool) -> int:
    """Generate the log of the synthetic shop."""
    study, paths = open_project()
    sessions = generate_log(study.synthetic, paths.root / SHOP_LOG)
    found = {"sessions": sessions, "path": SHOP_LOG}
    return print_result(found, [f"{sessions:,} sessions in {SHOP_LOG}"], json=json)


def plan(*, json: bool) -> int:
    """Print groups and power."""
    study, paths = open_project()
    traffic_plan = read_plan(paths)
    power = read_power(paths.require("traffic_plan", POWER))
    found = {"plan": traffic_plan.as_dict(), "power": to_dict(power)}
    return print_result(found, plan_lines(traffic_plan, power, study.evaluation.cutoff), json=json)


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
    line = (
        f"{found['lists']:,} impressions, {found['clicked']:,} with a click, {found['ordered']:,} "
        f"with an order ({found['units']:,} units); they are in the log of {url}"
    )
    return print_result({**found, "url": url}, [line], json=json)


def validate_log(*, json: bool) -> int:
    """Validate the experiment's log without writing anything."""
    from pipeline.steps.log_validation import validate_log as validate  # noqa: PLC0415 - as ingest

    found = validate(*open_project())
    groups = [
        f"{row['group']}: {row['users']:,} users, {row['trials']:,} impressions, "
        f"{row['successes']:,} with a click"
        for row in found.kpis.filter(kpi=Kpi.CTR.value).iter_rows(named=True)
    ]
    head = f"{found.log.impressions:,} usable impressions in {found.log.files} files"
    warnings = _warnings(found.checks, found.lost_outcomes)
    return print_result(
        {
            "log": asdict(found.log),
            "group_kpis": found.kpis.to_dicts(),
            "lost_outcomes": asdict(found.lost_outcomes),
            "ignored_files": list(found.ignored),
            "warnings": warnings,
        },
        [head, *_rejected(found.log.rejected), *groups, *warnings, *_ignored(found.ignored)],
        json=json,
    )


def ingest(*, json: bool) -> int:
    """Bring the experiment database up to date with the log files."""
    from pipeline.steps.run import run_step  # noqa: PLC0415 - Great Expectations takes two seconds

    study, paths = open_project()
    step = run_step("experiment_log", study, paths)
    found = step.value
    lost = lost_outcomes(read_row_fates(paths.require(DATABASE)))
    warnings = _warnings(step.checks, lost)
    head = (
        f"{found.impressions:,} impressions in the database; {found.files_read} of {found.files} "
        "files were new or changed"
    )
    return print_result(
        {**asdict(found), "warnings": warnings},
        [head, *_rejected(found.rejected), *warnings],
        json=json,
    )


def _warnings(checks: Sequence[CheckResult], lost: LostOutcomes) -> list[str]:
    """What a finished ingestion says of the log, the same for ``validate-log`` and ``ingest``."""
    warnings = [str(check) for check in checks if not check.passed]
    if not lost.passed:
        warnings.append(
            f"no verdict: lost_outcomes fails: {check_numbers(lost)}. If clocks differ, set "
            "experiment.clock_tolerance_seconds; docs/experiment-log.md lists the reasons"
        )
    return warnings


def _ignored(files: Sequence[str]) -> list[str]:
    return [f"not read: {', '.join(files)}"] if files else []


def _rejected(rows_by_reason: Mapping[str, int]) -> list[str]:
    return [f"{rows:,} rows rejected: {reason}" for reason, rows in rows_by_reason.items()]
