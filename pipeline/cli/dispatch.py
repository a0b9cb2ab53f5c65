"""Parses the command line, runs the command and returns its exit code."""

import argparse
import os
import sys
import textwrap
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from rich.console import Console

from models.progress import lines_on_stderr
from pipeline.cli.arguments import STUDY
from pipeline.cli.choice import StudyChoice, chosen_study
from pipeline.cli.command import Command
from pipeline.cli.commands import COMMANDS
from pipeline.core.errors import USER_ERRORS

_WIDTH = 88
_DESCRIPTION = (
    "Which offline metrics predict online impact? Run a study, read its report, serve its groups. "
    "Every command runs in any folder of the project, that is, at or below params.yaml."
)
_EXIT_CODES = "exit codes: 0 success, 1 failure (one line on stderr gives cause and fix), 2 usage"


def run_command(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns 0 on success and 1 on failure. A usage error exits with 2."""
    values = vars(build_parser().parse_args(arguments))
    command: Command = values.pop("command")
    study, params = values.pop("study_name", None), values.pop("study_params", None)
    choice = StudyChoice(name=study, params=params, touched=command.reads)
    with chosen_study(choice), lines_on_stderr():
        return _run(command, values)


def _run(command: Command, values: dict[str, Any]) -> int:
    module, function = command.run.split(":")
    try:
        return getattr(import_module(module), function)(**values)
    except USER_ERRORS as error:
        print_error(command.name, str(error))
        return 1
    except BrokenPipeError:  # of `paretoscope ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        print_error(command.name, str(error))
        return 1


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line, with the help of every command."""
    parser = argparse.ArgumentParser(
        prog="paretoscope",
        description=textwrap.fill(_DESCRIPTION, _WIDTH),
        epilog=f"{_EXIT_CODES}\n'paretoscope COMMAND --help' has examples.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS.values():
        _add_command(command, parsers)
    return parser


def print_error(command: str, message: str) -> None:
    """Print ``paretoscope COMMAND: message`` to stderr."""
    from pipeline.cli.context import adapted  # noqa: PLC0415 - as the commands

    console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False, emoji=False)
    console.print(f"paretoscope {command}: ", style="bold red", end="")
    console.print(adapted(message))


def _add_command(command: Command, parsers: Any) -> None:
    examples = "\n".join(f"  {example}" for example in command.examples)
    parser = parsers.add_parser(
        command.name,
        aliases=command.aliases,
        help=command.summary,
        description=textwrap.fill(command.description, _WIDTH),
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=command)
    for names, options in command.arguments:
        parser.add_argument(*names, **options)
    if command.reads != ():
        study = parser.add_mutually_exclusive_group()
        for names, options in STUDY:
            study.add_argument(*names, **options)
    if command.has_json:
        parser.add_argument("--json", action="store_true", help="print the result as JSON")
