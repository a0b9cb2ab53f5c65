"""Clicks that are lost, found by the orders of lists that were never clicked.

Where an order follows a click, a lost click leaves its order behind. Their share is nearly 0 without a
fault, so that few of them say more than a fall of the CTR. Where orders without a click are usual, the
days before and the other groups say how usual.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt

from scipy import special

from pipeline.inference.sensitivity.anytime_valid import ConfidenceSequence
from pipeline.monitoring.following.ledger import UserSums
from pipeline.monitoring.statistics.rates import Baseline, Looks, total

SMALLEST_LOSS = 0.02
"""A significant excess of orders without a click below this share raises no alarm."""

_MIN_BUYERS = 20
"""Of a group before, and of the other groups before and today."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LostClicks:
    """Users with an order without a click, of a group's users with an order on one day.

    Attributes:
        group: The group.
        buyers: Its users with an order.
        share: Of those with an order without a click.
        expected: The share without a fault.
        p_value: One-sided, at this look alone.
        threshold: The p-value below which it is significant.
    """

    group: str
    buyers: int
    share: float
    expected: float
    p_value: float
    threshold: float

    @property
    def is_alarm(self) -> bool:
        """Whether the excess is significant in a month's family, and large enough to matter."""
        return self.p_value < self.threshold and self.share - self.expected > SMALLEST_LOSS


def lost_clicks_of(
    group: str, today: Mapping[str, UserSums], before: Baseline, looks: Looks
) -> LostClicks | None:
    """Whether a group has too many orders without a click; None with too few orders, or no earlier day.

    The share to expect is that of the group's days before, plus the rise of the other groups' share, if
    any. Each of the three shares is uncertain as a Beta(y + ½, n - y + ½); a Beta distribution with their
    sum's mean and variance predicts the number on the day (beta-binomial), whose tail is the p-value. It
    is right for the smallest numbers, too.

    Args:
        group: The group.
        today: Its users with an order, and those with one without a click, by group.
        before: Those of earlier days.
        looks: How the error rate is spent.
    """
    from scipy.stats import betabinom  # noqa: PLC0415 - not for a server, which only shows the result

    own, own_before = (sums.get(group, UserSums()) for sums in (today, before.sums))
    rest, rest_before = (
        total([one for name, one in sums.items() if name != group]) for sums in (today, before.sums)
    )
    if not own.users or min(own_before.users, rest.users, rest_before.users) < _MIN_BUYERS:
        return None
    shares = [_share(one) for one in (own_before, rest, rest_before)]
    expected = shares[0][0] + max(shares[1][0] - shares[2][0], 0.0)
    variance = sum(one[1] for one in shares)
    size = expected * (1 - expected) / variance - 1
    tail = betabinom.sf(own.successes - 1, own.users, size * expected, size * (1 - expected))
    return LostClicks(
        group=group,
        buyers=own.users,
        share=own.successes / own.users,
        expected=expected,
        p_value=float(tail),
        threshold=_threshold(looks, own.users, own_before.users / before.days),
    )


def _share(sums: UserSums) -> tuple[float, float]:
    """Mean and variance of what is known of a share."""
    mean = (sums.successes + 0.5) / (sums.users + 1)
    return mean, mean * (1 - mean) / (sums.users + 2)


def _threshold(looks: Looks, buyers: int, usual: float) -> float:
    """The p-value below which a look is significant; before the end of a day, as for drops."""
    if looks.is_end:
        return looks.alpha
    sequence = ConfidenceSequence.one_sided(looks.alpha, 1 / usual)
    return float(special.ndtr(-sequence.width(1 / buyers) * sqrt(buyers)))
