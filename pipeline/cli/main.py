"""From the words of a command to its exit code: 0 done, 1 failed, 2 called wrongly."""

import argparse
import textwrap
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from pipeline.cli.commands import COMMANDS, Command
from pipeline.cli.output import print_error
from pipeline.core.errors import USER_ERRORS

INTERRUPTED = 130
"""Ended by Ctrl-C, as shells count it."""

_WIDTH = 88
_ABOUT = (
    "Which offline metrics predict online impact? Run a study, read its report, serve its groups. "
    "Every command works from any folder of the project, the one that holds params.yaml."
)
_ENDINGS = (
    "exit codes: 0 done, 1 failed (one line on stderr says why and what to do), 2 called wrongly"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns 0, 1 if it failed, 2 if it was called wrongly."""
    values = vars(build_parser().parse_args(arguments))
    name = values.pop("command")
    module, function = COMMANDS[name].run.split(":")
    try:
        return getattr(import_module(module), function)(**values)
    except USER_ERRORS as error:
        print_error(name, str(error))
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED


def build_parser() -> argparse.ArgumentParser:
    """What the command line accepts, with the help of every command."""
    parser = argparse.ArgumentParser(
        prog="paretoscope",
        description=textwrap.fill(_ABOUT, _WIDTH),
        epilog=f"{_ENDINGS}\n'paretoscope COMMAND --help' has examples.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS.values():
        _describe(command, parsers)
    return parser


def _describe(command: Command, parsers: Any) -> None:
    examples = "\n".join(f"  {example}" for example in command.examples)
    parser = parsers.add_parser(
        command.name,
        help=command.summary,
        description=textwrap.fill(command.description, _WIDTH),
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.arguments(parser)
    if command.has_json:
        parser.add_argument("--json", action="store_true", help="print the result as JSON")
