"""Intervals for one success rate, from two counts."""

from __future__ import annotations

from statsmodels.stats.proportion import proportion_confint

from kvlab.evidence.stats.checks import check_choice, check_counts, check_open_unit
from kvlab.evidence.stats.interval import Interval

# name here -> name in statsmodels
_METHODS = {"clopper_pearson": "beta", "wilson": "wilson", "jeffreys": "jeffreys"}


def rate_interval(successes: int, episodes: int, method: str = "clopper_pearson", confidence: float = 0.95) -> Interval:
    """Success rate `successes / episodes` with an interval that needs no resampling.

    - `clopper_pearson`: exact; covers at least `confidence` for independent episodes of any fixed success probabilities
      (Hoeffding 1956 for unequal ones), hence too wide. Clopper and Pearson (1934), Biometrika 26:404.
    - `wilson`: score interval; covers about `confidence` on average over rates. Wilson (1927), JASA 22:209.
    - `jeffreys`: central posterior interval under Beta(1/2, 1/2), with the bound at 0 (at 1) when nothing (everything)
      succeeded. Brown, Cai and DasGupta (2001), Statistical Science 16:101. Contains the estimate from 50 % confidence.

    ValueError: counts outside 0 <= successes <= episodes, no episode, unknown method, confidence outside (0, 1).
    """
    k, n = check_counts(successes, episodes)
    check_choice("method", method, tuple(_METHODS))
    confidence = check_open_unit("confidence", confidence)
    low, high = proportion_confint(k, n, alpha=1 - confidence, method=_METHODS[method])
    # Each must reach the boundary that was observed; rounding (Wilson) and a continuous posterior (Jeffreys) do not.
    low, high = (0.0 if k == 0 else float(low)), (1.0 if k == n else float(high))
    return Interval(k / n, low, high, confidence, method)
