"""A log with the importance weights of a target policy: what every estimator works on.

Shape suffixes: N rows (impressions or rounds), K positions (1 for a single action), A actions, U users.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import DataError
from pipeline.results.counterfactual import Weighting
from pipeline.results.family import Floats

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

_ROUNDING = 1e-9
"""Of shares that sum to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardModel:
    """What a reward model predicts.

    Attributes:
        fitted_NK: Reward of what was shown, by position.
        direct_N: Expected reward of the row under the target policy.
    """

    fitted_NK: Floats
    direct_N: Floats

    @property
    def lift(self) -> float | None:
        """Lift of the target policy over what was shown (Radwan et al. 2024, Eq. 2).

        Both are the model's, so that an error of its level cancels. None if the model expects 0 of what was shown.
        """
        shown = float(self.fitted_NK.sum())
        return float(self.direct_N.sum()) / shown - 1 if shown else None


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightedLog:
    """Rewards of the logging policy with the weights of a target policy.

    Attributes:
        weighting: What the weights are.
        user_N: Number of the user, from 0; some may have no row.
        weight_NK: Importance weights.
        reward_NK: Rewards.
        control_NJ: What has the mean ``support``, whatever the rewards are: the weights themselves, or
            with J = 1 one summary per row.
        support_N: Share of the target policy that the logging policy could show; None if unknown (then
            the expected control is 1).
        model: Predictions of a reward model; None without.
    """

    weighting: Weighting
    user_N: Ints
    weight_NK: Floats
    reward_NK: Floats
    control_NJ: Floats
    support_N: Floats | None = None
    model: RewardModel | None = None

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.user_N)

    @property
    def support(self) -> float | None:
        """Mean support; None if unknown."""
        return None if self.support_N is None else float(self.support_N.mean())

    def minus(self, other: Self) -> "WeightedLog":
        """The log whose value is the difference of two policies' values (Jeunen & Ustimenko 2024).

        Both must weigh the same rows by actions; the control's expectation is 0.
        """
        model = None
        if self.model is not None and other.model is not None:
            direct_N = self.model.direct_N - other.model.direct_N
            model = RewardModel(fitted_NK=self.model.fitted_NK, direct_N=direct_N)
        return WeightedLog(
            weighting=self.weighting,
            user_N=self.user_N,
            weight_NK=self.weight_NK - other.weight_NK,
            reward_NK=self.reward_NK,
            control_NJ=self.control_NJ - other.control_NJ,
            support_N=np.zeros(self.rows),
            model=model,
        )


def check_probabilities(probability: Floats, what: str, *, is_logged: bool) -> None:
    """Check that probabilities are at most 1, and above 0 if they are propensities: of what was logged.

    Raises:
        DataError: naming the first row that has none.
    """
    least_N = probability > 0 if is_logged else probability >= 0
    if (wrong := ~(least_N & (probability <= 1 + _ROUNDING))).any():
        row = int(wrong.reshape(len(wrong), -1).any(axis=1).argmax())
        found = probability[row][wrong[row]][0] if probability.ndim > 1 else probability[row]
        expected = (
            "above 0 and at most 1, since what was logged could be chosen"
            if is_logged
            else "of 0 to 1"
        )
        msg = f"{what} is {found:.6g} in row {row + 1}; expected a probability {expected}"
        raise DataError(msg)
