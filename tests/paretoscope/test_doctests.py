"""The examples in the docstrings run, in the folder of a finished study."""

import doctest
from importlib import import_module

import polars as pl
import pytest

import paretoscope as ps

MODULES = ("study", "analysis", "experiment")


@pytest.mark.slow
@pytest.mark.usefixtures("study")
@pytest.mark.parametrize("module", MODULES)
def test_examples_run(module):
    found = doctest.testmod(
        import_module(f"paretoscope.{module}"), extraglobs={"ps": ps, "pl": pl}, report=True
    )

    assert found.attempted > 2
    assert found.failed == 0


def test_every_function_has_an_example_or_needs_two_studies():
    without = {name for name in ps.__all__ if ">>>" not in (getattr(ps, name).__doc__ or "")}

    classes = {name for name in ps.__all__ if isinstance(getattr(ps, name), type)} - {"Study"}
    assert without - classes == {"compare", "meta_analysis"}
