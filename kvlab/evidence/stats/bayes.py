"""Posterior answers to "is the setting better?" and "is its drop below what I would accept?", under Jeffreys priors."""

from __future__ import annotations

import numpy as np
from scipy.stats import beta

from kvlab.evidence.stats.checks import check_counts, check_probability

_PRIOR = 0.5  # Jeffreys, for each outcome


def posterior(successes: int, episodes: int):
    """Posterior of one success rate, Beta(k + 1/2, n - k + 1/2), as a frozen `scipy.stats.beta`."""
    k, n = check_counts(successes, episodes)
    return beta(k + _PRIOR, n - k + _PRIOR)


def probability_better(k_setting: int, n_setting: int, k_control: int, n_control: int) -> float:
    """P(rate of the setting > rate of the control) for two settings on different episodes."""
    return probability_drop_below(k_setting, n_setting, k_control, n_control, 0.0)


def probability_drop_below(k_setting: int, n_setting: int, k_control: int, n_control: int, margin: float) -> float:
    """P(rate of the control - rate of the setting < margin) for two settings on different episodes; margin in [0, 1].

    ValueError: counts outside 0..n, no episode, margin outside [0, 1].
    """
    check_probability("margin", margin)
    setting, control = posterior(k_setting, n_setting), posterior(k_control, n_control)
    return _mean_over(setting, lambda rate: control.cdf(rate + margin))


def _mean_over(distribution, f) -> float:
    """Expectation of a monotone f in [0, 1] under a Beta, to 5e-5.

    The midpoint rule over quantiles errs by half a step at most, however steep f and the density are.
    """
    steps = 10_000
    return float(np.mean(f(distribution.ppf((np.arange(steps) + 0.5) / steps))))
