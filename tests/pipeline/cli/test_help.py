"""Help: what it costs, and that its examples are true."""

import json
import re
import shlex
import subprocess
import sys

import pytest

from pipeline.cli.commands import COMMANDS
from pipeline.cli.main import build_parser, main

HEAVY = ("torch", "polars", "scipy", "statsmodels", "duckdb", "matplotlib", "numpy", "pydantic")
EXAMPLES = [(name, line) for name, one in COMMANDS.items() for line in one.examples]


@pytest.mark.parametrize("arguments", [["--help"], ["study", "--help"], ["studdy"]], ids=" ".join)
def test_help_and_a_wrong_call_load_nothing_heavy(project_root, arguments):
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
def test_every_example_is_a_call_of_its_command(name, line):
    program, *words = shlex.split(line)

    values = build_parser().parse_args(words)

    assert (program, values.command) == ("paretoscope", name)


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_has_a_paragraph_and_examples(name, capsys):
    with pytest.raises(SystemExit) as ending:
        main([name, "--help"])

    told = capsys.readouterr().out
    assert ending.value.code == 0
    assert COMMANDS[name].description.split()[:4] == re.split(r"\n\n", told)[1].split()[:4]
    for example in COMMANDS[name].examples:
        assert f"\n  {example}\n" in told
    assert ("--json" in told) == COMMANDS[name].has_json


@pytest.mark.parametrize(
    "words",
    [
        ["study", "--set", "epochs=3"],
        ["study", "--set", "training.epochs"],
        ["compare"],
        ["serve", "--port", "70000"],
        ["fit", "counts.csv", "--level", "95"],
    ],
    ids=" ".join,
)
def test_what_cannot_be_meant_is_a_wrong_call(words, capsys):
    with pytest.raises(SystemExit) as ending:
        main(words)

    assert ending.value.code == 2
    assert f"usage: paretoscope {words[0]}" in capsys.readouterr().err
