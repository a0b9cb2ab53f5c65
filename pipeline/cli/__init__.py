"""The command line: ``paretoscope study | report | serve | …``.

What a command needs is imported when it is called, so that help and a wrong call cost nothing.
"""

from pipeline.cli.main import main as main
