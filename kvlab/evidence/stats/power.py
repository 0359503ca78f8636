"""What a study of n episodes could find at all: exact power, and the smallest drop that it would detect."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from math import inf

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import brentq
from scipy.stats import binom, hypergeom, norm

from kvlab.evidence.stats.checks import check_choice, check_open_unit, check_probability, check_whole
from kvlab.evidence.stats.paired import tango_score
from kvlab.evidence.stats.unpaired import TESTS, barnard_statistic


def power_paired(pairs: int, setting_only: float, control_only: float, alpha: float = 0.05) -> float:
    """Chance that the two-sided exact McNemar test rejects, when the setting alone (the control alone) succeeds in a
    share `setting_only` (`control_only`) of pairs. Summed over the number of differing pairs, which the test conditions
    on.

    ValueError: fewer than one pair, shares outside [0, 1] or adding to more than 1, alpha outside (0, 1).
    """
    check_whole("pairs", pairs, least=1)
    check_open_unit("alpha", alpha)
    check_probability("setting_only", setting_only)
    check_probability("control_only", control_only)
    differ = setting_only + control_only
    check_probability("setting_only + control_only", differ)
    if differ == 0:
        return 0.0
    d = np.arange(pairs + 1)
    b = _mcnemar_critical(pairs, alpha)
    share = min(1.0, setting_only / differ)
    rejects = np.where(b >= 0, binom.cdf(b, d, share) + binom.sf(d - b - 1, d, share), 0.0)
    return float(binom.pmf(d, pairs, differ) @ rejects)


def power_unpaired(
    n_setting: int,
    n_control: int,
    setting_rate: float,
    control_rate: float,
    test: str = "boschloo",
    alpha: float = 0.05,
) -> float:
    """Chance that a two-sided exact test (`boschloo`, `barnard`, `fisher`) of two independent settings rejects.

    ValueError: fewer than one episode, rates outside [0, 1], unknown test, alpha outside (0, 1).
    """
    check_whole("n_setting", n_setting, least=1)
    check_whole("n_control", n_control, least=1)
    check_probability("setting_rate", setting_rate)
    check_probability("control_rate", control_rate)
    check_choice("test", test, TESTS)
    check_open_unit("alpha", alpha)
    rejects = p_value_table(n_setting, n_control, test) <= alpha
    setting = binom.pmf(np.arange(n_setting + 1), n_setting, setting_rate)
    control = binom.pmf(np.arange(n_control + 1), n_control, control_rate)
    return float(setting @ rejects @ control)


def smallest_drop_paired(pairs: int, flips: float = 0.0, power: float = 0.8, alpha: float = 0.05) -> float:
    """Minimal detectable effect of a paired study: the smallest drop that exact McNemar finds with chance `power`.

    `flips` is the share of pairs that the setting wins by luck; the control then wins `flips + drop`. `inf` where even
    the largest possible drop, 1 - 2 flips, would be missed more often.

    ValueError: as `power_paired`; power outside (0, 1), flips outside [0, 0.5).
    """
    check_open_unit("power", power)
    if not 0 <= flips < 0.5:
        raise ValueError(f"flips = {flips} must lie in [0, 0.5), as the control wins at least as many pairs.")
    return _smallest(lambda drop: power_paired(pairs, flips, min(flips + drop, 1 - flips), alpha), 1 - 2 * flips, power)


def episodes_paired(drop: float, flips: float = 0.0, power: float = 0.8, alpha: float = 0.05) -> int:
    """Pairs with which exact McNemar finds `drop` with chance `power`, while with one pair fewer it does not.

    `flips` as in `smallest_drop_paired`. Power grows with the pairs but for small steps back; where it crosses `power`
    more than once, one of the crossings is given. ValueError: as `power_paired`; power outside (0, 1), drop outside
    (0, 1 - 2 flips], the drops that there can be.
    """
    check_open_unit("power", power)
    if not 0 < drop <= 1 - 2 * flips:
        raise ValueError(f"drop = {drop} must lie in (0, 1 - 2 flips], and flips is {flips}.")
    return _fewest(lambda pairs: power_paired(pairs, flips, min(flips + drop, 1 - flips), alpha), power)


def power_inside(pairs: int, differ: float, margin: float, confidence: float = 0.95) -> float:
    """Chance that the interval of the paired difference (Tango) lies above `-margin`, so that a loss of `margin` is
    excluded, when the settings are equally good and a share `differ` of pairs ends differently.

    Exact: summed over how many pairs differ and how many of those the setting wins. ValueError: fewer than one pair,
    differ outside [0, 1], margin or confidence outside (0, 1).
    """
    check_whole("pairs", pairs, least=1)
    check_probability("differ", differ)
    check_open_unit("margin", margin)
    z = norm.isf((1 - check_open_unit("confidence", confidence)) / 2)
    differing, least, won = np.arange(int(binom.isf(1e-9, pairs, differ)) + 1), [], 0
    for d in differing:  # where one more differs, no fewer have to be won
        while won <= d and tango_score(-margin, won, d - won, pairs) <= z:
            won += 1
        least.append(won)
    return float(binom.pmf(differing, pairs, differ) @ binom.sf(np.array(least) - 1, differing, 0.5))


@cache
def episodes_inside(margin: float, differ: float, power: float = 0.8, confidence: float = 0.95) -> int:
    """Pairs with which a setting as good as no reuse is shown to lose less than `margin` with chance `power`, while
    with one pair fewer it is not.

    As in `power_inside`, and as in `episodes_paired` where the chance crosses `power` more than once.
    ValueError: as `power_inside`; power outside (0, 1).
    """
    check_open_unit("power", power)
    return _fewest(lambda pairs: power_inside(pairs, differ, margin, confidence), power)


def _fewest(power_of: Callable[[int], float], power: float) -> int:
    """The least number at which a power that grows with it, but for small steps back, reaches `power`."""
    low, high = 0, 1
    while power_of(high) < power:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power_of(middle) >= power else (middle, high)
    return high


def smallest_drop_unpaired(
    episodes: int, control_rate: float, test: str = "boschloo", power: float = 0.8, alpha: float = 0.05
) -> float:
    """Minimal detectable effect of an unpaired study with `episodes` in each setting: the least drop from
    `control_rate`.

    `inf` where even a drop to zero would be missed more often. ValueError: as `power_unpaired`; power outside (0, 1).
    """
    check_open_unit("power", power)
    check_probability("control_rate", control_rate)
    return _smallest(
        lambda drop: power_unpaired(episodes, episodes, max(control_rate - drop, 0.0), control_rate, test, alpha),
        control_rate,
        power,
    )


@lru_cache(maxsize=32)
def p_value_table(n_setting: int, n_control: int, test: str) -> Float[np.ndarray, "n_setting+1 n_control+1"]:
    """Two-sided p-value of every possible pair of counts, computed for all tables at once.

    scipy takes one table a call; a power at n = 100 needs 10,201. Agrees with `unpaired_p` to 0.001 of the p-value, the
    nuisance rate being searched on a grid. Boschloo (1970), Statistica Neerlandica 24:1.
    """
    if test == "barnard":
        return _unconditional(-barnard_statistic(n_setting, n_control))
    k_setting, k_control = np.ogrid[: n_setting + 1, : n_control + 1]
    total = k_setting + k_control
    fewer = hypergeom.cdf(k_setting, n_setting + n_control, total, n_setting)
    more = hypergeom.sf(k_setting - 1, n_setting + n_control, total, n_setting)
    if test == "boschloo":
        return np.minimum(1, 2 * np.minimum(_unconditional(fewer), _unconditional(more)))
    chance = hypergeom.pmf(k_setting, n_setting + n_control, total, n_setting)
    p = np.zeros_like(chance)
    for t in range(n_setting + n_control + 1):
        line = total == t
        p[line] = [chance[line][chance[line] <= c * (1 + 1e-7)].sum() for c in chance[line]]
    return np.minimum(1, p)


def _unconditional(statistic: Float[np.ndarray, "a b"]) -> Float[np.ndarray, "a b"]:
    """P(a statistic as small or smaller), at the success rate common to both settings that makes it largest."""
    # Equal statistics that differ by rounding must enter together.
    values, rank = np.unique(np.round(statistic, 12), return_inverse=True)
    n_setting, n_control = np.array(statistic.shape) - 1
    worst = np.zeros(len(values))
    for rate in np.linspace(0, 1, 401):
        setting, control = (binom.pmf(np.arange(n + 1), n, rate) for n in (n_setting, n_control))
        mass = np.bincount(rank.ravel(), weights=np.outer(setting, control).ravel(), minlength=len(values))
        worst = np.maximum(worst, mass.cumsum().clip(max=1))
    return worst[rank.reshape(statistic.shape)]


@lru_cache(maxsize=32)
def _mcnemar_critical(pairs: int, alpha: float) -> Int[np.ndarray, "pairs+1"]:
    """For d = 0..pairs differing pairs, the largest count of the rarer kind that is significant; -1 where none is."""
    d = np.arange(pairs + 1)
    b = binom.ppf(alpha / 2, d, 0.5).astype(int)
    # Not the last count's own chance: a tail that equals alpha / 2 but for rounding is significant.
    return np.where(2 * binom.cdf(b, d, 0.5) <= alpha * (1 + 1e-9), b, b - 1)


def _smallest(power_of, largest: float, power: float) -> float:
    """The drop in [0, largest] at which a growing power reaches `power`; inf if it never does."""
    if largest <= 0 or power_of(largest) < power:
        return inf
    return float(brentq(lambda drop: power_of(drop) - power, 0.0, largest, xtol=1e-6))
