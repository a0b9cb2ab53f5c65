"""A contract accepts exactly its columns and types, and lists every mismatch."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core import contracts
from pipeline.core.contracts import EVENT_TYPE, EVENTS
from pipeline.core.errors import DataError
from pipeline.core.frame_contract import ID, Contract

CONTRACTS = [value for value in vars(contracts).values() if isinstance(value, Contract)]
TAGS = Contract(name="tags", row="one tag", columns={"id": ID})
PETS = Contract(name="pets", row="one pet", columns={"name": pl.String, "legs": pl.Int32})


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.name)
def test_an_empty_frame_with_the_schema_is_valid(contract):
    empty = pl.DataFrame(schema=contract.schema)

    assert contract.validate(empty).schema == pl.Schema(contract.schema)
    assert list(contract.schema) == list(contract.columns)


@pytest.mark.parametrize("dtype", [pl.Int64, pl.String], ids=str)
def test_ids_are_integers_or_strings_and_are_not_converted(dtype):
    frame = pl.DataFrame({"id": [1, 2]}).cast({"id": dtype})

    assert TAGS.validate(frame).equals(frame)


@pytest.mark.parametrize("dtype", [pl.Int32, pl.UInt64, pl.Float64, pl.Categorical], ids=str)
def test_ids_of_any_other_type_are_rejected(dtype):
    frame = pl.DataFrame({"id": ["1"]}).cast(dtype)

    with pytest.raises(DataError, match=rf"tags: id is {dtype}.*, expected Int64 or String"):
        TAGS.validate(frame)


@pytest.mark.parametrize("event_types", [pl.String, pl.Enum(["click", "order"])], ids=str)
def test_event_types_have_the_enum_type(event_types):
    frame = pl.DataFrame(schema=EVENTS.schema | {"event_type": event_types})

    with pytest.raises(DataError, match=r"events: event_type is .*, expected Enum"):
        EVENTS.validate(frame)


def test_every_contract_has_a_unique_name_and_describes_a_row():
    assert len({contract.name for contract in CONTRACTS}) == len(CONTRACTS) > 0
    assert all(contract.row.startswith("one ") for contract in CONTRACTS)


def test_a_valid_frame_is_returned_unchanged():
    frame = pl.DataFrame(
        [(1, 5, 2, "click", 0), (1, 5, 2, "click", 0)], schema=EVENTS.schema, orient="row"
    )

    assert EVENTS.validate(frame).equals(frame)


def test_columns_are_reordered_to_the_contract():
    frame = pl.DataFrame({"legs": [4], "name": ["rex"]}, schema_overrides={"legs": pl.Int32})

    assert PETS.validate(frame).row(0) == ("rex", 4)
    assert frame.columns == ["legs", "name"]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"name": ["rex"]}, "pets: missing legs"),
        ({"name": ["rex"], "legs": [4]}, "pets: legs is Int64, expected Int32"),
        ({"name": ["rex"], "legs": ["four"]}, "pets: legs is String, expected Int32"),
        ({"name": [None], "legs": [None]}, "name is Null, expected String; legs is Null"),
        ({"Name": ["rex"], "age": [2]}, "missing name; missing legs; unexpected Name; unexpected"),
        ({}, "pets: missing name; missing legs. Expected columns: ['name', 'legs']"),
    ],
    ids=["missing", "wider-integer", "text", "null", "misspelt", "no-columns"],
)
def test_every_mismatch_is_listed_and_nothing_is_converted(columns, words):
    with pytest.raises(DataError) as caught:
        PETS.validate(pl.DataFrame(columns))

    assert words in str(caught.value)


@given(
    columns=st.dictionaries(
        st.sampled_from([*EVENTS.columns, "extra", "Session"]),
        st.sampled_from([pl.String, pl.Int64, pl.Int32, pl.Boolean, EVENT_TYPE, pl.UInt16]),
    )
    | st.permutations(list(EVENTS.columns)).map(
        lambda names: {name: EVENTS.schema[name] for name in names}
    )
)
@settings(max_examples=100)
def test_a_frame_is_accepted_if_and_only_if_columns_and_types_are_the_contracts(columns):
    frame = pl.DataFrame(schema=columns)
    allowed = {name: {dtype} for name, dtype in EVENTS.schema.items()}
    allowed |= {name: {pl.Int64, pl.String} for name in ("session", "item")}
    names = {*columns, *EVENTS.columns}
    wrong = {name for name in names if columns.get(name) not in allowed.get(name, set())}

    if not wrong:
        assert EVENTS.validate(frame).columns == list(EVENTS.columns)
        return
    with pytest.raises(DataError) as caught:
        EVENTS.validate(frame)
    problems = str(caught.value).split(". Expected columns")[0].removeprefix("events: ").split("; ")
    named = {text.split(" is ")[0].split(" ")[-1] for text in problems}
    assert named == wrong
