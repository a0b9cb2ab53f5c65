"""The two exponential families a KPI is modelled with."""

from enum import Enum

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

Floats = NDArray[np.float64]


class Family(Enum):
    """A generalised linear model with canonical link."""

    BINOMIAL = "logit"
    """A trial succeeds or fails. The slope is the elasticity of the odds."""
    POISSON = "log"
    """A trial has an amount, 0 or more. The slope is the elasticity of the rate. Only the mean is
    assumed Poisson: errors come from the users."""

    def link(self, rate: Floats) -> Floats:
        """The linear predictor of a rate."""
        return logit(rate) if self is Family.BINOMIAL else np.log(rate)

    def mean(self, line: Floats) -> Floats:
        """The rate of a linear predictor; the inverse of the link."""
        if self is Family.BINOMIAL:
            return expit(line)
        with np.errstate(over="ignore"):  # inf is the rate of a line without end
            return np.exp(line)

    def variance(self, rate: Floats) -> Floats:
        """The variance of a trial, which is the derivative of the mean."""
        return rate * (1 - rate) if self is Family.BINOMIAL else rate

    def cumulant(self, line: Floats) -> Floats:
        """``A`` in the log likelihood ``y · line - m · A(line)``, up to a constant."""
        return np.logaddexp(0, line) if self is Family.BINOMIAL else np.exp(line)
