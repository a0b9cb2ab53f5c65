"""Equivalence and non-inferiority of a slope, by the interval that is quoted."""

from pipeline.inference.headline.interval import fitted_groups
from pipeline.inference.headline.readings import Groups, Quoted
from pipeline.results.reasons import UndefinedReason
from pipeline.results.slopes import Equivalence


def equivalence(
    groups: Groups, quoted: Quoted, *, margin: float, positive: bool
) -> Equivalence | None:
    """Test a slope against ±margin; None where it cannot be tested.

    Equivalent if the quoted interval is within the margins, non-inferior if its end on the side
    opposite to the declared direction is (one-sided at half the error rate, the convention of
    regulators), so that the reader and the tests see one interval. An end without a limit is outside.

    Args:
        groups: What is tested.
        quoted: The headline.
        margin: Slopes from -margin to margin are practically 0.
        positive: Whether the declared direction is.
    """
    found = fitted_groups(groups.x, quoted.sums, groups.covariance_GG)
    if isinstance(found, UndefinedReason):
        return None
    low = float(found.score(-margin).one_sided_p_value(above=True))
    high = float(found.score(margin).one_sided_p_value(above=False))
    start, end = quoted.headline.interval or (None, None)
    above = start is not None and start > -margin
    below = end is not None and end < margin
    return Equivalence(
        margin=margin,
        p_value=max(low, high),
        equivalent=above and below,
        non_inferiority_p_value=low if positive else high,
        non_inferior=above if positive else below,
    )
