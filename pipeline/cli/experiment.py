"""The experiment: synthetic log, plan, endpoint, simulated users and log ingestion."""

import logging
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from pipeline.artifacts.storage import DATABASE
from pipeline.cli.context import open_project
from pipeline.cli.output import print_result
from pipeline.core.contracts import Kpi
from pipeline.core.labels import counted
from pipeline.core.local_paths import local_path
from pipeline.experiment.design.traffic_plan import read_plan
from pipeline.experiment.log.ingest import Ingestion
from pipeline.experiment.log.row_fates import read_row_fates
from pipeline.inference.diagnostics.lost_outcomes import lost_outcomes
from pipeline.quality.expectation import CheckResult
from pipeline.reporting.text.diagnostics import check_numbers
from pipeline.reporting.text.exploration import exploration_lines
from pipeline.reporting.text.power_summary import plan_lines
from pipeline.reporting.text.progress import progress_lines
from pipeline.results.diagnostics import LostOutcomes
from pipeline.results.power import POWER
from pipeline.results.serialization import to_dict
from pipeline.results.stored import read_estimates, read_power
from pipeline.study import SERVING_KEY, Study
from pipeline.synthetic.generate_log import generate_log

SHOP_LOG = Path("data/raw/synthetic-shop.jsonl")


def generate(*, json: bool) -> int:
    """Generate the log of the synthetic shop."""
    study, paths = open_project()
    own = local_path(study.dataset.path, "dataset.path")
    target = own if own.name == SHOP_LOG.name else SHOP_LOG  # never the log of a real shop
    sessions = generate_log(study.synthetic, paths.root / target)
    found = {"sessions": sessions, "path": str(target)}
    return print_result(found, [f"{counted(sessions, 'session')} in {target}"], json=json)


def plan(*, exploration: tuple[float, float] | None, json: bool) -> int:
    """Print groups, power, and what exploration would cost."""
    overrides = {}
    if exploration is not None:
        share, temperature = exploration
        overrides = {"serving.exploration": {"share": share, "temperature": temperature}}
    study, paths = open_project(overrides)
    traffic_plan = read_plan(paths)
    power = read_power(paths.require("traffic_plan", POWER))
    found = {"plan": traffic_plan.as_dict(), "power": to_dict(power)}
    lines = plan_lines(traffic_plan, power, study.evaluation.cutoff)
    section = study.serving.exploration
    if section is not None:
        from pipeline.steps.exploration import predict_exploration  # noqa: PLC0415 - torch takes a second

        loss = predict_exploration(section, study, paths, traffic_plan)
        found["exploration"] = to_dict(loss) | {"share": section.share}
        lines += exploration_lines(section, loss, power, study.evaluation.cutoff)
    return print_result(found, lines, json=json)


def progress(*, json: bool) -> int:
    """Print whether the experiment may end."""
    study, paths = open_project()
    found = read_estimates(paths.require("regression_estimates")).hypotheses
    value = {one.id: to_dict(one.days) for one in found}
    return print_result(value, progress_lines(found, study.evaluation.cutoff), json=json)


def serve(*, host: str, port: int, replica: str | None) -> int:
    """Serve requests until the process is stopped."""
    from pipeline.serving.http.server import serve as serve_study  # noqa: PLC0415 - FastAPI takes a second

    study, paths = open_project()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    serve_study(study, paths, host=host, port=port, replica=replica)
    return 0


def simulate(*, url: str, now: bool, json: bool) -> int:
    """Send simulated users to an endpoint."""
    from pipeline.simulator.http_client import simulate_over_http  # noqa: PLC0415 - aiohttp is large

    study, paths = open_project()
    key = os.environ.get(SERVING_KEY)
    found = simulate_over_http(study, read_plan(paths), url, key=key, now=now)
    line = (
        f"{counted(found['lists'], 'impression')}, {found['clicked']:,} with a click, {found['ordered']:,} "
        f"with an order ({found['units']:,} units); they are in the log of {url}"
    )
    return print_result({**found, "url": url}, [line], json=json)


def validate_log(*, json: bool) -> int:
    """Validate the experiment's log without writing anything."""
    from pipeline.steps.log_validation import validate_log as validate  # noqa: PLC0415 - as ingest

    study, paths = open_project()
    found = validate(study, paths)
    groups = [
        f"{row['group']}: {counted(row['users'], 'user')}, {counted(row['trials'], 'impression')}, "
        f"{row['successes']:,} with a click"
        for row in found.kpis.filter(kpi=Kpi.CTR.value).iter_rows(named=True)
    ]
    head = f"{counted(found.log.impressions, 'usable impression')} in {counted(found.log.files, _source(study))}"
    warnings = _warnings(found.checks, found.lost_outcomes)
    return print_result(
        {
            "log": asdict(found.log),
            "group_kpis": found.kpis.to_dicts(),
            "lost_outcomes": asdict(found.lost_outcomes),
            "ignored_files": list(found.ignored),
            "warnings": warnings,
        },
        [head, *_rejected(found.log), *groups, *warnings, *_ignored(found.ignored)],
        json=json,
    )


def _source(study: Study) -> str:
    return "table" if study.compute.warehouse else "file"


def ingest(*, json: bool) -> int:
    """Bring the experiment database up to date with the log files."""
    from pipeline.steps.run import run_step  # noqa: PLC0415 - Great Expectations takes two seconds

    study, paths = open_project()
    step = run_step("experiment_log", study, paths)
    found = step.value
    lost = lost_outcomes(read_row_fates(paths.require(DATABASE)))
    warnings = _warnings(step.checks, lost)
    head = (
        f"{counted(found.impressions, 'impression')} in the database; {found.files_read:,} of "
        f"{counted(found.files, _source(study))} new or changed"
    )
    return print_result(
        {**asdict(found), "warnings": warnings},
        [head, *_rejected(found), *warnings],
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


def _rejected(log: Ingestion) -> list[str]:
    return [
        f"{counted(rows, 'row')} rejected: {reason}{log.example_of(reason)}"
        for reason, rows in log.rejected.items()
    ]
