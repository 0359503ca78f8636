"""One finding in several policies: where it holds, and what a further policy would show.

Each policy is compared with itself, on its own episodes; what differs between policies is the effect. A finding is put
as predictions (`kvlab.evidence.verdicts`), one a policy. Over policies an effect has a mean and a spread, both of a
random-effects model: true effects are drawn from a normal distribution, and each is measured with its own error.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from scipy.stats import norm, t
from statsmodels.stats.meta_analysis import combine_effects

from kvlab.evidence.stats import Interval
from kvlab.evidence.verdicts import Prediction

FEWEST = 3  # policies: with two, the interval for a further one has no degree of freedom
ALL, MOST, FAILS, OPEN = "holds in all", "holds in most", "fails in most", "not decided"


@dataclass(frozen=True)
class Pooled:
    """An effect over policies: its mean, the true effect that a further policy is expected to have, and the spread.

    `further` has the mean as its estimate. `spread` is the standard deviation of true effects, in the effect's unit.
    """

    mean: Interval
    further: Interval
    spread: float


def held(predictions: Mapping[str, Prediction]) -> str:
    """ALL, it holds in every policy; MOST, in more than half; FAILS, it fails in more than half; else OPEN.

    `predictions` by policy. ValueError: none.
    """
    if not (many := len(predictions)):
        raise ValueError("a finding is judged in one policy at least, and there is none")
    holds, fails = (sum(getattr(one, kind) for one in predictions.values()) for kind in ("holds", "fails"))
    if 2 * max(holds, fails) <= many:
        return OPEN
    return FAILS if fails > holds else ALL if holds == many else MOST


def pooled(effects: Sequence[Interval], confidence: float = 0.95) -> Pooled | None:
    """Random-effects mean of the effects of several policies, one Interval each; None where they are under FEWEST.

    The spread is Paule and Mandel's (statsmodels, `combine_effects`), the mean's interval Student's with a degree of
    freedom fewer than there are policies, that of a further policy as in `further`. The standard error of an effect is
    that of a normal interval as wide as its own: a paired difference's by Tango has width even where no pair differs,
    which Wald's has not.
    """
    if len(effects) < FEWEST:
        return None
    values = np.array([one.estimate for one in effects])
    with np.errstate(divide="ignore"):  # of what is not asked for, where all effects are equal
        found = combine_effects(values, np.array([_variance(one) for one in effects]))
    low, high = found.conf_int(alpha=1 - confidence, use_t=True)[1].tolist()
    mean = Interval(float(found.mean_effect_re), low, high, confidence, "Paule-Mandel")
    beyond = further(mean.estimate, float(found.tau2), float(found.var_eff_w_re), len(effects), confidence)
    return Pooled(mean, beyond, sqrt(found.tau2))


def further(mean: float, tau2: float, variance: float, policies: int, confidence: float = 0.95) -> Interval:
    """Prediction interval of a further policy's true effect.

    `tau2` is the variance of true effects, `variance` that of their `mean`. Higgins, Thompson and Spiegelhalter (2009),
    Journal of the Royal Statistical Society A 172:137, section 4.2: Student's, two degrees of freedom fewer than there
    are policies. ValueError: fewer than FEWEST.
    """
    if policies < FEWEST:
        raise ValueError(f"a prediction interval needs {FEWEST} policies or more, got {policies}")
    half = float(t.isf((1 - confidence) / 2, policies - 2)) * sqrt(tau2 + variance)
    return Interval(mean, mean - half, mean + half, confidence, "Higgins")


def _variance(effect: Interval) -> float:
    return (effect.width / (2 * norm.isf((1 - effect.confidence) / 2))) ** 2
