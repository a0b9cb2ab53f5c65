"""Plackett–Luce lists: a random ranking of candidates, and the exact probabilities of what it shows.

With worths e^z, z = score / temperature, the next item of a list is each remaining candidate with a
probability in proportion to its worth (Plackett 1975). Ordering the candidates by z plus standard Gumbel
noise draws such a list (Gumbel-max trick). As the temperature falls to 0, the list becomes the best items.

Shape suffixes: B requests, C candidates, K positions, M nodes of an integral.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_EARLY = 20.0
"""Before e^-20 of the mean time of the first arrival, nothing has arrived."""
_LATE = 30.0
"""Arrivals expected beyond twice a list's length, after which the list is complete."""


def draw_list(z_C: Floats, k: int, rng: np.random.Generator) -> Ints:
    """The indices of k candidates (all if they are fewer) in a random order."""
    return np.argsort(-(z_C + rng.gumbel(size=len(z_C))), kind="stable")[:k]


def log_conditionals(z_BC: Floats, listed_BK: Ints) -> Floats:
    """Logarithm of P(item | the items above it) of each position of a list; B × K.

    Denominators are summed from the end of the list, so that nothing cancels.

    Args:
        z_BC: Scores over temperature; -∞ for a candidate that does not exist.
        listed_BK: Indices of the listed candidates by position; -1 after the end of a short list, which
            has probability 1.
    """
    absent_BK = listed_BK < 0
    z_BK = np.where(absent_BK, -np.inf, np.take_along_axis(z_BC, np.maximum(listed_BK, 0), axis=1))
    rest_BC = _without(z_BC, listed_BK)
    rest_B1 = np.logaddexp.reduce(rest_BC, axis=1, keepdims=True)
    ascending = np.concatenate([rest_B1, z_BK[:, ::-1]], axis=1)
    remaining_BK = np.logaddexp.accumulate(ascending, axis=1)[:, :0:-1]
    with np.errstate(invalid="ignore"):
        return np.where(absent_BK, 0.0, np.minimum(z_BK - remaining_BK, 0.0))


def marginals(z_BC: Floats, listed_BK: Ints) -> Floats:
    """P(item at position), whatever is above it, of each position of a list; B × K.

    Candidate a arrives at an exponential time with rate e^z_a, and the list is the order of arrival. Given
    that a arrives at t, the others have arrived independently with probability 1 - exp(-e^z_b t), so the
    number of items above it is Poisson-binomial. The integral over log t is a trapezoid sum.

    Args:
        z_BC: As for :func:`log_conditionals`.
        listed_BK: As for :func:`log_conditionals`; the end of a short list has probability 1.
    """
    depth = listed_BK.shape[1]
    time_BM, step_B = _nodes(z_BC, depth)
    arrived_BMC = -np.expm1(-np.exp(z_BC)[:, None, :] * time_BM[:, :, None])
    above = np.zeros((*time_BM.shape, depth))
    above[:, :, 0] = 1.0
    unlisted = np.isfinite(_without(z_BC, listed_BK))
    for candidate in np.flatnonzero(unlisted.any(axis=0)):
        above = _counted(above, arrived_BMC[:, :, candidate] * unlisted[:, candidate, None])
    rate_BK = np.exp(np.take_along_axis(z_BC, np.maximum(listed_BK, 0), axis=1)) * (listed_BK >= 0)
    arrived_BMK = -np.expm1(-rate_BK[:, None, :] * time_BM[:, :, None])
    before = [above]
    for position in range(depth - 1):
        before.append(_counted(before[-1], arrived_BMK[:, :, position]))
    after = np.zeros_like(above)
    after[:, :, 0] = 1.0
    found_BK = np.empty(listed_BK.shape)
    for position in range(depth - 1, -1, -1):
        pairs = before[position][:, :, : position + 1] * after[:, :, position::-1]
        density_BM = rate_BK[:, position, None] * time_BM * (1 - arrived_BMK[:, :, position])
        found_BK[:, position] = (density_BM * pairs.sum(axis=2)).sum(axis=1) * step_B
        after = _counted(after, arrived_BMK[:, :, position])
    return np.where(listed_BK < 0, 1.0, np.minimum(found_BK, 1.0))


def _without(z_BC: Floats, listed_BK: Ints) -> Floats:
    """The scores, with -∞ for the listed candidates."""
    rest_BC = z_BC.copy()
    rows, columns = np.nonzero(listed_BK >= 0)
    rest_BC[rows, listed_BK[rows, columns]] = -np.inf
    return rest_BC


def _counted(count_BMK: Floats, arrived_BM: Floats) -> Floats:
    """The distribution of a number of arrivals (below K) with one more candidate."""
    found = count_BMK * (1 - arrived_BM)[:, :, None]
    found[:, :, 1:] += count_BMK[:, :, :-1] * arrived_BM[:, :, None]
    return found


def _nodes(z_BC: Floats, depth: int) -> tuple[Floats, Floats]:
    """Times from before the first arrival until a list is complete, equally spaced in their logarithm."""
    ascending_BC = np.sort(z_BC, axis=1)
    exists_BC = np.isfinite(ascending_BC)
    beyond_BC = np.where(np.arange(z_BC.shape[1]) < z_BC.shape[1] - depth, ascending_BC, -np.inf)
    slowest_B = np.where(exists_BC, ascending_BC, np.inf).min(axis=1)
    last_B = np.maximum(np.logaddexp.reduce(beyond_BC, axis=1), slowest_B)
    low_B = -np.logaddexp.reduce(z_BC, axis=1) - _EARLY
    high_B = np.log(_LATE + 2 * depth) - last_B
    # the log time of arrival k has a standard deviation of about 1 / √k: with √2 nodes in each, the trapezoid
    # sum errs by 1e-8 of the probability
    n = int(np.ceil(((high_B - low_B) * np.sqrt(2 * max(depth, 4))).max())) + 1
    return np.exp(np.linspace(low_B, high_B, n, axis=1)), (high_B - low_B) / (n - 1)
