"""The second axis as parameters: ids of cells, neutral levels, and what is refused."""

import pytest

from pipeline.core.errors import StudyError
from pipeline.study import AxisKind, SecondAxis, parse_study

DIVERSITY = SecondAxis(kind=AxisKind.DIVERSITY, levels=(0.3, 0.0, 0.05))
LENGTH = SecondAxis(kind=AxisKind.LIST_LENGTH, levels=(5.0, 20.0))


def test_a_cell_is_a_preference_with_a_level():
    assert DIVERSITY.others == (0.05, 0.3)
    assert DIVERSITY.cell("p05", 0.3) == "p05+diversity0.3"
    assert LENGTH.cell("p05", 5.0) == "p05+list-length5"
    assert DIVERSITY.label(0.3) == "diversity 0.3"
    assert LENGTH.label(5.0) == "list length 5"


def test_at_the_neutral_level_a_cell_is_the_preference():
    assert DIVERSITY.neutral == 0
    assert LENGTH.neutral == 20  # the longest lists
    assert DIVERSITY.cell("p05", 0.0) == LENGTH.cell("p05", 20.0) == "p05"


@pytest.mark.parametrize("axis", [DIVERSITY, LENGTH], ids=lambda axis: axis.kind)
def test_the_id_of_a_cell_says_its_preference_and_level(axis):
    for level in axis.levels:
        assert axis.split(axis.cell("p05", level)) == ("p05", level)


def test_only_a_list_length_shortens_lists():
    assert LENGTH.list_length(5.0, 20) == 5
    assert LENGTH.list_length(None, 20) == 20
    assert DIVERSITY.list_length(0.3, 20) == 20


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"levels": [0.1, 0.3]}, "expected weights in [0, 1] with the neutral 0"),
        ({"levels": [0, 2]}, "expected weights in [0, 1] with the neutral 0"),
        ({"levels": [0, 0.3, 0.3]}, "a level occurs twice"),
        ({"levels": [0]}, "expected 2 or more"),
        (
            {"kind": "colour"},
            "expected one of 'diversity', 'novelty', 'freshness' or 'list-length'",
        ),
        ({"kind": "list-length", "levels": [0, 20]}, "expected numbers of items, such as [10, 20]"),
        ({"kind": "list-length", "levels": [2.5, 20]}, "expected numbers of items"),
        ({"kind": "list-length", "levels": [5, 10]}, "experiment.list_length = 20"),
        ({"candidates": 19}, "candidates = 19 is below 20"),
        ({"kind": "freshness"}, "experiment.second_axis.kind = freshness: item attributes are"),
    ],
)
def test_an_axis_that_cannot_be_served_is_refused(small_params, changes, words):
    axis = {"kind": "diversity", "levels": [0, 0.3], **changes}
    values = small_params | {"experiment": small_params["experiment"] | {"second_axis": axis}}

    with pytest.raises(StudyError) as caught:
        parse_study(values)

    assert words in str(caught.value)


def test_there_are_as_many_groups_as_cells_at_most(small_params):
    axis = {"kind": "diversity", "levels": [0, 0.3]}
    cells = small_params["experiment"] | {"second_axis": axis, "groups": 22}

    assert parse_study(small_params | {"experiment": cells}).experiment.groups == 22
    with pytest.raises(StudyError, match=r"11 times 2 levels of experiment\.second_axis"):
        parse_study(small_params | {"experiment": cells | {"groups": 23}})
