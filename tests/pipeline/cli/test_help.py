"""Help imports nothing heavy, and its examples are valid."""

import json
import re
import shlex
import subprocess
import sys

import pytest

from pipeline.cli import main
from pipeline.cli.commands import COMMANDS
from pipeline.cli.dispatch import build_parser

HEAVY = ("torch", "polars", "scipy", "statsmodels", "duckdb", "matplotlib", "numpy", "pydantic")
EXAMPLES = [(name, line) for name, one in COMMANDS.items() for line in one.examples]


@pytest.mark.parametrize("arguments", [["--help"], ["study", "--help"], ["studdy"]], ids=" ".join)
def test_help_and_usage_errors_import_nothing_heavy(project_root, arguments):
    code = (
        "import json, sys\nfrom pipeline.cli import main\n"
        f"try: main({arguments!r})\nexcept SystemExit: pass\n"
        "print(json.dumps(sorted(sys.modules)))"
    )

    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=project_root,
        env={"PYTHONPATH": str(project_root)},
        capture_output=True,
        text=True,
        check=True,
    )

    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert loaded.isdisjoint(HEAVY)


@pytest.mark.parametrize(("name", "line"), EXAMPLES, ids=[line for _, line in EXAMPLES])
def test_every_example_parses_as_its_command(name, line):
    program, *arguments = shlex.split(line)

    values = build_parser().parse_args(arguments)

    assert (program, values.command.name) == ("paretoscope", name)


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_has_a_description_and_examples(name, capsys):
    with pytest.raises(SystemExit) as ending:
        main([name, "--help"])

    text = capsys.readouterr().out
    assert ending.value.code == 0
    assert COMMANDS[name].description.split()[:4] == re.split(r"\n\n", text)[1].split()[:4]
    for example in COMMANDS[name].examples:
        assert f"\n  {example}\n" in text
    assert ("--json" in text) == COMMANDS[name].has_json


@pytest.mark.parametrize(
    "arguments",
    [
        ["study", "--set", "epochs=3"],
        ["study", "--set", "training.epochs"],
        ["compare"],
        ["serve", "--port", "70000"],
        ["fit", "counts.csv", "--level", "95"],
    ],
    ids=" ".join,
)
def test_invalid_arguments_are_usage_errors(arguments, capsys):
    with pytest.raises(SystemExit) as ending:
        main(arguments)

    assert ending.value.code == 2
    assert f"usage: paretoscope {arguments[0]}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("alias", "name"), [("meta", "meta-analysis"), ("score", "evaluate-shard")], ids=str
)
def test_an_alias_runs_its_command(alias, name):
    assert build_parser().parse_args([alias, "1"]).command.name == name


@pytest.mark.parametrize(
    "module", ["pipeline.cli.dispatch", "rich.console", "pipeline.cli.result_commands"]
)
def test_ctrl_c_while_modules_are_imported_is_one_line(project_root, module):
    """A real signal at the moment when a module of the command line is first imported."""
    code = (
        "import os, signal, sys\n"
        "class Interrupts:\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name == {module!r}: os.kill(os.getpid(), signal.SIGINT)\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "sys.meta_path.insert(0, Interrupts())\n"
        "from pipeline.cli import main\n"
        "sys.exit(main(['report', '--help']))"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=project_root, capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr.splitlines() == [
        "paretoscope: interrupted; finished artifacts are kept, run it again to go on"
    ]
