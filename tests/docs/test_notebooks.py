"""Every notebook runs from its first cell to its last, in an empty folder."""

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = {"ab-test", "custom-metric", "first-verdict", "past-tests"}


def test_every_notebook_is_run_and_has_no_output(project_root):
    files = sorted((project_root / "docs/notebooks").glob("*.ipynb"))

    assert {file.stem for file in files} == NOTEBOOKS
    for file in files:
        cells = nbformat.read(file, 4).cells
        assert not any(cell.get("outputs") for cell in cells), f"clear the outputs of {file.name}"


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(NOTEBOOKS))
def test_a_notebook_runs(name, project_root, tmp_path):
    notebook = nbformat.read(project_root / f"docs/notebooks/{name}.ipynb", 4)
    resources = {"metadata": {"path": str(tmp_path)}}

    NotebookClient(notebook, timeout=600, kernel_name="python3", resources=resources).execute()

    shown = [
        output.get("text") or output["data"]["text/plain"]
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if output.output_type in {"stream", "execute_result", "display_data"}
    ]
    assert not any("Traceback" in text or ": error:" in text for text in shown)
    assert any(text.strip() for text in shown[-2:])
