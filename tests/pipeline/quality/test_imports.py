"""Great Expectations is imported in every kind of process, whatever else is installed."""

import subprocess
import sys
from importlib.util import find_spec

import pytest

CODE = """
import sys
{before}
import pipeline.quality.expectations
assert ("pyspark" in sys.modules) is {known}, "Great Expectations has imported PySpark"
assert "pyspark.sql.connect" not in sys.modules
print("alive")
"""


@pytest.mark.skipif(find_spec("pyspark") is None, reason="pip install 'paretoscope[spark]'")
@pytest.mark.parametrize(("before", "known"), [("", False), ("import pyspark.sql", True)])
def test_pyspark_does_not_end_a_process_whose_main_module_has_no_file(before, known):
    # as in a step of Dagster; PySpark takes such a process for a run of its doctests
    code = CODE.format(before=before, known=known)

    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (run.returncode, run.stdout) == (0, "alive\n"), run.stderr
