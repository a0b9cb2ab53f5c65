"""Threads spin briefly while they wait, so that torch keeps its share of cores that others want."""

import os
import subprocess
import sys

import pytest

VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
CODE = (
    "import os, sys, {package}; assert 'torch' not in sys.modules; "
    "print(*(os.environ.get(name) for name in {names}))"
)


@pytest.mark.parametrize("package", ["models", "pipeline"])
@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ({}, "None 1000"),
        ({"OMP_WAIT_POLICY": "active"}, "active None"),
        ({"GOMP_SPINCOUNT": "5"}, "None 5"),
    ],
)
def test_the_policy_is_set_before_torch_is_imported(package, declared, expected):
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    command = [sys.executable, "-c", CODE.format(package=package, names=VARIABLES)]
    found = subprocess.run(
        command, env=environment | declared, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == expected
