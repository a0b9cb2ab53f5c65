"""Every column of every table is explained."""

import pytest

from pipeline import schemas
from pipeline.columns import meanings
from pipeline.contract import Contract
from pipeline.experiment import schemas as experiment

CONTRACTS = [
    value
    for module in (schemas, experiment)
    for value in vars(module).values()
    if isinstance(value, Contract) and value.name != "before_sums"  # sums named after their terms
]


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.name)
def test_every_column_has_a_meaning(contract):
    assert list(meanings(contract)) == list(contract.columns)
    assert all(meanings(contract).values())


def test_a_word_may_mean_something_else_in_a_table():
    assert meanings(schemas.EVENTS)["session"] == "id of the session, as the shop has it"
    assert meanings(schemas.TARGET_SCORES)["session"] == "row of the test split"
