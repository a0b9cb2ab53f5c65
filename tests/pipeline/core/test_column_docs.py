"""Every column of every table is explained."""

import pytest

from pipeline.core import contracts
from pipeline.core.column_docs import column_descriptions
from pipeline.core.frame_contract import Contract
from pipeline.experiment.kpis import contracts as experiment

CONTRACTS = [
    value
    for module in (contracts, experiment)
    for value in vars(module).values()
    if isinstance(value, Contract) and value.name != "pre_period_sums"  # sums named after their terms
]


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.name)
def test_every_column_has_a_meaning(contract):
    assert list(column_descriptions(contract)) == list(contract.columns)
    assert all(column_descriptions(contract).values())


def test_a_word_may_mean_something_else_in_a_table():
    assert (
        column_descriptions(contracts.EVENTS)["session"] == "id of the session, as the shop has it"
    )
    assert column_descriptions(contracts.TARGET_SCORES)["session"] == "row of the test split"
