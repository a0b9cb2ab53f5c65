"""The code blocks of a page, and a page run from top to bottom as its reader would."""

import fnmatch
import os
import re
import shlex
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

NOT_RUN = re.compile(r"<!-- not run: (?P<why>.+?) -->")
SAVED_AS = re.compile(r'^(?:# |""")(\w+\.py)')
"""The first line of a python block that the reader is to save as a file."""

_INSTALLED = ".page/installed"
"""Where the packages of a page are installed."""

LANGUAGES = {"sh", "python", "yaml", "text", "ini"}


@dataclass(frozen=True)
class Block:
    """A fenced block: what it is written in, what it says, and why it is not run, if it is not."""

    page: str
    line: int
    language: str
    text: str
    not_run: str | None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(root: Path, page: str) -> list[Block]:
    """The blocks of a page of the project, those of the site's own directives left out."""
    found, why = [], None
    for token in MarkdownIt().parse((root / page).read_text("utf-8")):
        if token.type == "html_block":
            said = NOT_RUN.search(token.content)
            why = said["why"] if said else None
        elif token.type == "fence":
            if not token.info.startswith("{"):
                line = (token.map or [0])[0] + 1
                found.append(Block(page, line, token.info.strip(), token.content, why))
            why = None
    return found


def pages(root: Path) -> list[str]:
    """Every page that is written by hand."""
    made = ("reference", "measured", "_build")
    docs = [file.relative_to(root) for file in (root / "docs").rglob("*.md")]
    return ["README.md", *sorted(one.as_posix() for one in docs if one.parts[1] not in made)]


def run_page(project: Path, listed: list[Block]) -> None:
    """Run a page's blocks one after another in one shell, and compare what they print.

    ``sh`` is run as it is; ``python`` is run, or saved under the name in its first line; ``yaml`` is
    merged into ``params.yaml``; ``text`` is what the block before it prints, ``…`` for anything.
    """
    folder = project / ".page"
    folder.mkdir(exist_ok=True)
    script = ["set -eu"]
    if (activation := project / ".venv/bin/activate").is_file():
        script.append(f". {shlex.quote(str(activation))}")
    ran = [block for block in listed if block.not_run is None]
    for number, block in enumerate(ran):
        if words := _words(block, folder / f"block{number}", project):
            script.append(
                f"echo {shlex.quote(str(block))} > {folder}/at"
            )  # a page may change folder
            script.append(f"{{\n{words}\n}} > {folder}/out{number} 2> {folder}/err{number}")
    status = _shell(project, "\n".join(script))
    at = (folder / "at").read_text("utf-8").strip()
    errors = "".join(file.read_text("utf-8", "replace")[-3000:] for file in folder.glob("err*"))
    assert status == 0, f"{at} ended with {status}:\n{errors[-3000:]}"
    for number, block in enumerate(ran):
        if block.language == "text":
            printed = (folder / f"out{number - 1}").read_text("utf-8")
            assert says(printed, block.text), f"{block} expects\n{block.text}\nbut got\n{printed}"


def says(printed: str, expected: str) -> bool:
    """Whether all lines of the one are printed in their order, ``…`` standing for anything."""
    lines = iter(printed.splitlines())
    return all(
        any(fnmatch.fnmatchcase(line.strip(), _pattern(wanted)) for line in lines)
        for wanted in expected.splitlines()
    )


def _pattern(wanted: str) -> str:
    return re.sub(r"([\[*?])", r"[\1]", wanted.strip()).replace("…", "*")


def _words(block: Block, file: Path, project: Path) -> str:
    """What the shell does with a block."""
    match block.language:
        case "sh":
            return block.text
        case "python":
            saved = SAVED_AS.match(block.text)
            if saved is not None:
                file.write_text(block.text, encoding="utf-8")
                return f"cp {file} {project / saved[1]}"
            file.write_text(block.text, encoding="utf-8")
            return f"python - < {file}"
        case "yaml":
            file.write_text(block.text, encoding="utf-8")
            return f"{sys.executable} {Path(__file__).parent / 'merge.py'} params.yaml {file}"
        case _:
            return ""


def _shell(project: Path, script: str) -> int:
    """Run a script in the project; whatever it leaves running is ended."""
    venv = project / ".venv" / "bin"
    # a `make test PYTEST_ARGS=…` that runs these tests would have the page's `make test` do the same
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MAKE", "MFLAGS", "PYTEST_"))
    }
    environment = {
        **inherited,
        "PATH": f"{venv}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": f"{project}{os.pathsep}{project / _INSTALLED}",
        # `pip install` must neither touch this environment nor need a network
        "PIP_TARGET": str(project / _INSTALLED),
        "PIP_NO_BUILD_ISOLATION": "false",  # that is: no isolation
        "PIP_NO_INDEX": "true",
        "PIP_DISABLE_PIP_VERSION_CHECK": "true",
        "DAGSTER_HOME": str(project / ".dagster"),
        "DVC_NO_ANALYTICS": "1",
        "PYTEST_ARGS": "tests/architecture",  # all tests would run these ones again
        **{
            f"GIT_{who}_{what}": "a@example.org"
            for who in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")
        },
    }
    running = subprocess.Popen(
        ["bash", "-c", script], cwd=project, env=environment, start_new_session=True
    )
    try:
        return running.wait()
    finally:
        if running.poll() is None or _lives(running.pid):
            os.killpg(running.pid, signal.SIGKILL)


def _lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
