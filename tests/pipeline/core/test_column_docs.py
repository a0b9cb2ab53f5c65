"""Every column of every table has a description."""

import pytest

from pipeline.core import contracts, front_contract
from pipeline.core.column_docs import column_descriptions
from pipeline.core.frame_contract import Contract
from pipeline.experiment.kpis import contracts as experiment

CONTRACTS = [
    value
    for module in (contracts, front_contract, experiment)
    for value in vars(module).values()
    if isinstance(value, Contract)
]


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.name)
def test_every_column_has_a_description(contract):
    assert list(column_descriptions(contract)) == list(contract.columns)
    assert all(column_descriptions(contract).values())


def test_a_description_may_be_specific_to_a_table():
    assert column_descriptions(contracts.EVENTS)["session"] == "the shop's session id"
    assert column_descriptions(contracts.TARGET_SCORES)["session"] == "row of the test split"
