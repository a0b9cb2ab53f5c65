"""Several p-values at once, redone by hand."""

import pytest

from pipeline.inference.glm.multiplicity import adjust_p_values


def test_holm_by_hand():
    # sorted 0.01, 0.02, 0.04 times 3, 2, 1; never below the one before
    assert adjust_p_values([0.04, 0.01, 0.02], "holm") == pytest.approx([0.04, 0.03, 0.04])


def test_benjamini_hochberg_by_hand():
    # sorted 0.01, 0.02, 0.9 times 3/1, 3/2, 3/3; never above the one behind
    assert adjust_p_values([0.9, 0.01, 0.02], "fdr_bh") == pytest.approx([0.9, 0.03, 0.03])


def test_what_is_undefined_does_not_count():
    assert adjust_p_values([None, 0.02, None], "holm") == [None, 0.02, None]
    assert adjust_p_values([None], "holm") == [None]
