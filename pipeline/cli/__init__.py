"""The command line: ``paretoscope study | report | serve | …``.

A command's code is imported when the command runs, so ``--help`` and usage errors stay fast.
"""

import sys
from collections.abc import Sequence

INTERRUPTED = 130
"""The exit code after Ctrl-C, as in a shell."""


_INTERRUPTION = "paretoscope: interrupted; finished artifacts are kept, run it again to go on\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; Ctrl-C ends it in one line, from the first import on.

    Returns:
        0 on success, 1 on failure and :data:`INTERRUPTED` after Ctrl-C. A usage error exits with 2.
    """
    try:
        from pipeline.cli.dispatch import run_command  # noqa: PLC0415 - imports can be interrupted

        return run_command(arguments)
    except KeyboardInterrupt:
        sys.stderr.write(_INTERRUPTION)
        return INTERRUPTED
