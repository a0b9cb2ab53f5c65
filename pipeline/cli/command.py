"""What the command line knows of a command."""

from dataclasses import dataclass

from pipeline.cli.arguments import Argument


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command.

    Attributes:
        name: As typed.
        aliases: Shorter names.
        summary: One line of ``paretoscope --help``.
        description: A paragraph of ``paretoscope COMMAND --help``.
        examples: Command lines.
        run: The function as ``module:function``, imported when the command runs.
        arguments: Arguments and options besides ``--help`` and ``--json``.
        has_json: Whether the command has a result to print as JSON.
        reads: The sections of ``params.yaml`` that it reads, which must be valid; None for all;
            empty if the command is not about a study.
    """

    name: str
    aliases: tuple[str, ...] = ()
    summary: str
    description: str
    examples: tuple[str, ...]
    run: str
    arguments: tuple[Argument, ...] = ()
    has_json: bool = True
    reads: tuple[str, ...] | None = None
