"""A small version of ``benchmarks/calibration.py``: what is claimed is true in simulated worlds."""

import importlib
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

CLAIMS = {
    "slopes": 100,
    "printed_interval": 60,
    "noise_metric": 500,
    "daily_looks": 60,
    "user_segments": 25,
    "one_front": 200,
    "best_metric": 150,
    "shipping": 100,
    "stated_gain": 80,
    "planned_power": 80,
    "meta_analysis": 20,
}
"""Number of worlds."""

OUT_OF_REACH = ("3 experiments, τ = 0.5", "3 experiments, τ = 1 ", "5 experiments, τ = 0.5")
"""Settings whose limit is said in the table."""


@pytest.mark.slow
@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_is_true_to_four_standard_errors(name, monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    calibration = importlib.import_module("calibration")
    (claim,) = (one for one in calibration.CLAIMS if one.__name__ == name)

    for found in claim(CLAIMS[name]):
        for row in found.rows:
            known = found.limit and row.setting.startswith(OUT_OF_REACH)
            assert row.misses_by < 4 or known, f"{found.title}, {row.setting}: {row.value:.3f}"
    assert {one.__name__ for one in calibration.CLAIMS} == set(CLAIMS)


@pytest.mark.slow
def test_the_table_names_what_is_out_of_reach(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    calibration = importlib.import_module("calibration")

    text = calibration.BENCHMARK.report(15, ["meta_analysis"])

    assert "| claim | target | smallest | largest | reached |" in text
    assert "cannot separate such a τ from 0" in text
    assert "**no**" in text
