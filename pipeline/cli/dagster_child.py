"""The ``dagster`` command as a child of ``paretoscope study``: it ends when its parent does.

``python -m pipeline.cli.dagster_child ARGUMENTS`` runs ``dagster ARGUMENTS``. Standard input is a
pipe that only the parent can write to; it closes when the parent ends, however that happens.
"""

import os
import runpy
import signal
import threading
import time
import warnings

_SECONDS_TO_END = 20


def _end_with_parent() -> None:
    os.read(0, 1)  # not sys.stdin, whose lock would abort the interpreter at its end
    os.kill(os.getpid(), signal.SIGTERM)  # Dagster records the run as cancelled
    time.sleep(_SECONDS_TO_END)
    os._exit(1)


if __name__ == "__main__":
    # it recommends `dg launch`, which needs another package
    warnings.filterwarnings("ignore", "Function `asset_materialize_command` is superseded")
    threading.Thread(target=_end_with_parent, daemon=True).start()
    runpy.run_module("dagster", run_name="__main__", alter_sys=True)
