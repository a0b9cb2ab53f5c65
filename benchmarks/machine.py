"""What a benchmark's results came from: the machine, the versions, the day."""

import json
import os
import platform
import resource
import subprocess
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

CORES = 2


def use_two_cores() -> None:
    """Keep this process and its children to as many cores as the claims are about."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])


def run_alone(command: list[str], **environment: str) -> tuple[Any, resource.struct_rusage]:
    """What a process prints as its last line, as JSON, and the resources it took."""
    process = subprocess.Popen(  # noqa: S603 - a benchmark's own file
        command, stdout=subprocess.PIPE, env={**os.environ, **environment}
    )
    output, _ = process.stdout.read(), process.stdout.close()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        msg = f"{command} ended with status {status}"
        raise RuntimeError(msg)
    return json.loads(output.splitlines()[-1]), usage


def described(*packages: str) -> str:
    """Processor, memory, versions and date, in one line."""
    cpu = next(
        line.split(":")[1].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    )
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = "".join(f", {name} {version(name)}" for name in packages)
    return (
        f"{CORES} cores of: {cpu}, {gib:.0f} GiB, {platform.system()}, Python "
        f"{platform.python_version()}{versions}; {time.strftime('%Y-%m-%d', time.gmtime())}"
    )
