"""Posterior answers to "is the setting better?" and "is its drop below what I would accept?", under Jeffreys priors."""

from __future__ import annotations

import numpy as np
from scipy.stats import beta

from kvlab.evidence.stats.checks import check_counts, check_probability
from kvlab.evidence.stats.paired import Pairs

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


def paired_probability_better(pairs: Pairs) -> float:
    """P(rate of the setting > rate of the control) for settings on the same episodes."""
    return float(beta(pairs.control_only + _PRIOR, pairs.setting_only + _PRIOR).cdf(0.5))


def paired_probability_drop_below(pairs: Pairs, margin: float) -> float:
    """P(rate of the control - rate of the setting < margin) for settings on the same episodes; margin in [0, 1].

    The three outcomes of a pair (setting only, control only, alike) get a Dirichlet(1/2, 1/2, 1/2) prior. Then the
    share s of pairs that differ and the share r of those that the control wins are independent Betas; the drop is s (2r
    - 1).
    """
    check_probability("margin", margin)
    b, c = pairs.setting_only, pairs.control_only
    differ = beta(b + c + 2 * _PRIOR, pairs.n - b - c + _PRIOR)
    won_by_control = beta(c + _PRIOR, b + _PRIOR)
    return _mean_over(differ, lambda s: won_by_control.cdf(0.5 + margin / (2 * np.maximum(s, 1e-300))))


def _mean_over(distribution, f) -> float:
    """Expectation of a monotone f in [0, 1] under a Beta, to 5e-5.

    The midpoint rule over quantiles errs by half a step at most, however steep f and the density are.
    """
    steps = 10_000
    return float(np.mean(f(distribution.ppf((np.arange(steps) + 0.5) / steps))))
