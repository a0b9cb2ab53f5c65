"""The command line: ``paretoscope study | report | serve | …``.

A command's code is imported when the command runs, so ``--help`` and usage errors stay fast.
"""

from pipeline.cli.main import main as main
