"""A catalogue that is too small for the study's lists is refused before anything is trained."""

import pytest

from pipeline.core.errors import DataError
from pipeline.sessions.catalogue import check_catalogue_size
from pipeline.study import parse_study


@pytest.fixture
def study(small_params):
    """Lists of 20 items, 64 negatives."""
    return parse_study(small_params)


@pytest.mark.parametrize("items", [64, 65, 300_000])
def test_a_catalogue_as_long_as_every_list_is_enough(study, items):
    check_catalogue_size(study, items)


@pytest.mark.parametrize(
    ("items", "named"),
    [
        (63, ["training.negatives.uniform = 64"]),
        (19, ["evaluation.cutoff = 20", "experiment.list_length = 20", "negatives.uniform = 64"]),
        (1, ["the catalogue has 1 item", "lower these to at most 1", "min_item_support = 5"]),
    ],
)
def test_a_smaller_catalogue_names_every_key_to_lower(study, items, named):
    with pytest.raises(DataError) as caught:
        check_catalogue_size(study, items)

    assert all(words in str(caught.value) for words in named)
