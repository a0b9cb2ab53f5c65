"""``monitor``: follows the endpoint's log, and says what is wrong."""

import logging
import signal
import threading
import time
from typing import Any

from pipeline.cli.context import open_project
from pipeline.cli.output import print_result
from pipeline.core.labels import counted
from pipeline.monitoring.monitor import Look, open_monitor, run
from pipeline.monitoring.status import status_dict
from pipeline.steps.monitoring import StudyPanel

_LOG = logging.getLogger(__name__)


def monitor(*, once: bool, port: int, json: bool) -> int:
    """Look at the log once, or until the process is stopped."""
    study, paths = open_project()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    with open_monitor(study, paths, panel=StudyPanel(paths)) as one:
        if once:
            found = one.look(time.time())
            one.write_table()
            lines = _lines(found)
            if not found.findings.written:
                lines.insert(0, f"no list has been logged in {study.serving.log_path}")
            return print_result(_values(found), lines, json=json)
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        with one.metrics.serve(port) as address:
            _LOG.info("metrics on %s", address)
            run(one, interval=study.monitoring.interval_seconds, stop=stop)
    return 0


def _lines(found: Look) -> list[str]:
    """What one look has found, for the terminal."""
    findings = found.findings
    users = findings.sample_ratio.users if findings.sample_ratio else {}
    lines = [
        f"{counted(found.rows, 'new row')}; {counted(sum(users.values()), 'user')} in the groups"
    ]
    for part, by_kpi in findings.bands.items():
        if (ctr := by_kpi.get("ctr")) is not None:
            lines.append(f"{part.label}: ctr {ctr.rate:.4f} ({ctr.low:.4f} to {ctr.high:.4f})")
    if findings.sample_ratio:
        lines.append(f"sample ratio: e-value {findings.sample_ratio.e_value:.3g}, alarm above 20")
    alarms = [f"! {alarm.name}: {alarm.text}" for alarm in findings.alarms]
    return lines + (alarms or ["no alarm"])


def _values(found: Look) -> dict[str, Any]:
    return {"rows": found.rows, **status_dict(found.status)}
