"""How many processes a run has: one by default, which is the fastest way on one machine."""

import os
from typing import Any

import dagster as dg

PROCESSES_VARIABLE = "PARETOSCOPE_PROCESSES"
"""The environment variable with the number of processes of runs whose configuration does not say."""

_MEANING = (
    "Steps of a run that are processes of their own, at most that many at once; 1: the run is one process. Steps "
    "that write one study wait for each other. Default: PARETOSCOPE_PROCESSES, or else 1."
)


def configured_executor() -> dg.ExecutorDefinition:
    """The executor of every run, with one key: ``execution: {config: {processes: 4}}``.

    Raises:
        ValueError: if the environment variable is not a positive integer; Dagster shows it as the error of the
            code location.
    """
    schema = {"processes": dg.Field(dg.Int, default_value=_default(), description=_MEANING)}
    return dg.multi_or_in_process_executor.configured(_executor, "processes", schema)


def _executor(config: dict[str, Any]) -> dict[str, Any]:
    if (processes := config["processes"]) < 1:
        msg = f"execution.config.processes is {processes}; expected 1 or more"
        raise ValueError(msg)
    if processes == 1:
        return {"in_process": {}}
    # A process of a step is a copy of one that has imported everything, which takes seconds.
    start = {"forkserver": {"preload_modules": ["assets.definitions"]}}
    return {"multiprocess": {"max_concurrent": processes, "start_method": start}}


def _default() -> int:
    text = os.environ.get(PROCESSES_VARIABLE, "1")
    if not text.isdecimal() or int(text) < 1:
        msg = (
            f"{PROCESSES_VARIABLE} is {text!r}; expected 1 or more, such as {PROCESSES_VARIABLE}=4"
        )
        raise ValueError(msg)
    return int(text)
