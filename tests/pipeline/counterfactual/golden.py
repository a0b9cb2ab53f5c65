"""Twelve rounds with three actions, six lists of three positions, five rounds with four actions.

Small enough that every estimator can be done again by hand. ``ESTIMATES`` and the numbers of the tests were
computed by a second implementation, one line per formula, and are equal to those of obp 0.5.7 where it has
the estimator.
"""

import numpy as np

from pipeline.counterfactual.actions import LoggedActions
from pipeline.counterfactual.lists import LoggedLists

LOGGING_NA = np.array(
    [[.5, .3, .2], [.6, .2, .2], [.4, .4, .2], [.2, .5, .3], [.7, .2, .1], [.3, .3, .4],
     [.5, .25, .25], [.1, .6, .3], [.4, .3, .3], [.25, .5, .25], [.6, .3, .1], [.2, .2, .6]]
)  # fmt: skip
TARGET_NA = np.array(
    [[.2, .5, .3], [.3, .5, .2], [.1, .6, .3], [.1, .3, .6], [.4, .4, .2], [.2, .2, .6],
     [.25, .5, .25], [.3, .4, .3], [.2, .6, .2], [.5, .25, .25], [.3, .6, .1], [.4, .4, .2]]
)  # fmt: skip
MODEL_NA = np.array(
    [[.3, .5, .4], [.4, .5, .3], [.2, .6, .3], [.2, .4, .5], [.3, .4, .2], [.2, .3, .6],
     [.3, .5, .3], [.4, .6, .4], [.3, .5, .2], [.5, .6, .3], [.4, .7, .2], [.3, .4, .3]]
)  # fmt: skip
ACTION_N = np.array([0, 0, 1, 1, 0, 2, 0, 1, 2, 1, 1, 2])
REWARD_N = np.array([0, 1, 1, 0, 0, 1, 0, 1, 0, 1, 1, 0], float)
USER_N = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3])
EACH_N = np.arange(12)

CLICKS_NK = np.array(
    [[1, 0, 0], [0, 1, 0], [0, 0, 0], [1, 0, 1], [0, 0, 1], [0, 1, 0]], float
)  # fmt: skip
CONDITIONAL_0 = np.array(
    [[.5, .4, .6], [.3, .5, .5], [.6, .3, .4], [.4, .6, .5], [.2, .5, .7], [.5, .5, .5]]
)  # fmt: skip
CONDITIONAL_E = np.array(
    [[.6, .5, .5], [.2, .4, .6], [.5, .6, .5], [.7, .5, .6], [.3, .4, .5], [.4, .7, .6]]
)  # fmt: skip
MARGINAL_0 = np.array(
    [[.5, .35, .3], [.3, .4, .25], [.6, .3, .2], [.4, .45, .3], [.2, .3, .35], [.5, .4, .3]]
)  # fmt: skip
MARGINAL_E = np.array(
    [[.6, .4, .2], [.2, .35, .3], [.5, .4, .25], [.7, .4, .35], [.3, .25, .3], [.4, .5, .4]]
)  # fmt: skip
FITTED_NK = np.array(
    [[.4, .3, .2], [.3, .4, .2], [.3, .2, .2], [.5, .3, .3], [.3, .2, .3], [.3, .4, .2]]
)  # fmt: skip
EXPECTED_NK = FITTED_NK + 0.05
LIST_N = np.arange(6)


def rounds(*, model: bool = True, user_N=EACH_N, full: bool = True) -> LoggedActions:
    return LoggedActions(
        action_N=ACTION_N,
        reward_N=REWARD_N,
        propensity_N=LOGGING_NA[EACH_N, ACTION_N],
        user_N=user_N,
        logging_NA=LOGGING_NA if full else None,
        model_NA=MODEL_NA if model else None,
    )


def lists(*, model: bool = True) -> LoggedLists:
    return LoggedLists(
        reward_NK=CLICKS_NK,
        user_N=LIST_N,
        fitted_NK=FITTED_NK if model else None,
        expected_NK=EXPECTED_NK if model else None,
    )
