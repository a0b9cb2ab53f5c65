"""The commands that create a study folder, and show it in Dagster."""

import argparse

from pipeline.cli.arguments import argument, path, port
from pipeline.cli.command import Command
from pipeline.core.template_names import TEMPLATES

PROJECT_COMMANDS = (
    Command(
        name="init",
        summary="create a study folder of your own from a template",
        description=(
            "Writes the folder NAME with params.yaml, dvc.yaml, README.md and a data folder to fill. "
            "Templates: "
            + "; ".join(f"{name}: {text}" for name, text in TEMPLATES.items())
            + ". With --add, writes studies/NAME.yaml, a further study of the project in this folder."
        ),
        examples=(
            "paretoscope init my-test --template ab-test",
            "paretoscope init spring --template ab-test --add",
        ),
        run="pipeline.cli.project:init",
        reads=(),
        arguments=(
            argument("name", metavar="NAME", help="lower-case letters, digits and hyphens"),
            argument("--template", required=True, choices=TEMPLATES, help="what to start from"),
            argument("--add", action="store_true", help="add it to this project"),
        ),
    ),
    Command(
        name="quickstart",
        summary="from your data to a report by at most five answers",
        description=(
            "Creates a study folder for data that is there: guesses columns, variants and event types "
            "from its first rows, writes params.yaml with comments, validates the data, predicts how "
            "long the run takes, and runs it. Options answer the questions; without a terminal, "
            "--template, --name and --data are required."
        ),
        examples=(
            "paretoscope quickstart",
            "paretoscope quickstart --template ab-test --name my-test --data exports --control A",
        ),
        run="pipeline.cli.quickstart:quickstart",
        reads=(),
        arguments=(
            argument("--template", choices=TEMPLATES, help="what you have"),
            argument("--name", help="of the study and its folder"),
            argument("--data", dest="data_path", type=path, metavar="PATH", help="file or folder"),
            argument("--control", metavar="VARIANT", help="of an A/B test; default: guessed"),
            argument(
                "--run", action=argparse.BooleanOptionalAction, help="run it, or only prepare"
            ),
        ),
        has_json=False,
    ),
    Command(
        name="ui",
        summary="open Dagster: every study of the project, its runs and its schedule",
        description=(
            "Starts `dagster dev` with the project's history and serves its UI until it is stopped. "
            "It has no password; keep it on 127.0.0.1."
        ),
        examples=("paretoscope ui", "paretoscope ui --port 3001"),
        run="pipeline.cli.project:ui",
        reads=("study",),
        arguments=(
            argument("--host", default="127.0.0.1", help="address to listen on"),
            argument("--port", type=port, default=3000, help="of the UI"),
        ),
        has_json=False,
    ),
)
