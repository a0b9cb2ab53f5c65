"""How a KPI depends on a metric: the two families of regressions there are."""

from enum import Enum

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

Floats = NDArray[np.float64]


class Family(Enum):
    """What is linear in x, and how trials vary: a generalised linear model with canonical link."""

    BINOMIAL = "logit"
    """A trial succeeds or fails; the slope is the elasticity of the odds."""
    POISSON = "log"
    """A trial brings an amount, 0 or more; the slope is the elasticity of the rate. Only its mean is
    Poisson's: errors come from the users."""

    def link(self, rate: Floats) -> Floats:
        """What is linear in x."""
        return logit(rate) if self is Family.BINOMIAL else np.log(rate)

    def mean(self, line: Floats) -> Floats:
        """The rate at a value of the line; the inverse of the link."""
        return expit(line) if self is Family.BINOMIAL else np.exp(line)

    def variance(self, rate: Floats) -> Floats:
        """Of a trial, and the derivative of the mean."""
        return rate * (1 - rate) if self is Family.BINOMIAL else rate

    def cumulant(self, line: Floats) -> Floats:
        """``A`` of the log likelihood ``y · line - m · A(line)``, up to a constant."""
        return np.logaddexp(0, line) if self is Family.BINOMIAL else np.exp(line)
