"""Two settings on different episodes (or of which only totals are known), and many comparisons at once."""

from __future__ import annotations

from math import hypot

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.optimize import minimize_scalar
from scipy.stats import binom, boschloo_exact, fisher_exact
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import confint_proportions_2indep

from kvlab.evidence.stats.checks import check_choice, check_counts, check_open_unit
from kvlab.evidence.stats.interval import Interval

TESTS = ("boschloo", "barnard", "fisher")


def unpaired_p(k_setting: int, n_setting: int, k_control: int, n_control: int, test: str = "boschloo") -> float:
    """Two-sided p-value that both settings have one success rate: Boschloo's, Barnard's or Fisher's exact test.

    Boschloo's is never less powerful than Fisher's. 1 when all episodes of both settings ended alike (scipy gives NaN).
    ValueError: counts outside 0..n, no episode in a setting, unknown test.
    """
    check_choice("test", test, TESTS)
    (k_setting, n_setting), (k_control, n_control) = (
        check_counts(k_setting, n_setting),
        check_counts(k_control, n_control),
    )
    if k_setting + k_control in (0, n_setting + n_control):
        return 1.0
    if test == "barnard":
        return _barnard_p(k_setting, n_setting, k_control, n_control)
    exact = {"boschloo": boschloo_exact, "fisher": fisher_exact}[test]
    # scipy's Boschloo reads columns as the settings; Fisher's test does not care.
    return float(exact([[k_setting, k_control], [n_setting - k_setting, n_control - k_control]]).pvalue)


def barnard_statistic(n_setting: int, n_control: int) -> Float[np.ndarray, "n_setting+1 n_control+1"]:
    """Distance |z| of the two rates, pooled variance, for every pair of counts; 0 where all ended alike."""
    k_setting, k_control = np.ogrid[: n_setting + 1, : n_control + 1]
    pooled = (k_setting + k_control) / (n_setting + n_control)
    spread = np.sqrt(pooled * (1 - pooled) * (1 / n_setting + 1 / n_control))
    gap = np.abs(k_setting / n_setting - k_control / n_control)
    return np.divide(gap, spread, out=np.zeros_like(spread), where=spread > 0)


def _barnard_p(k_setting: int, n_setting: int, k_control: int, n_control: int) -> float:
    """Barnard (1947), Biometrika 34:123. Not scipy's: its `barnard_exact` (1.17) loses to rounding some tables that tie
    with the observed one, and gives 0.15 instead of 0.22 for 1/3 against 3/3 (scipy/scipy#18798)."""
    z = barnard_statistic(n_setting, n_control)
    extreme = z >= z[k_setting, k_control] - 1e-9

    def chance(rate: float) -> float:
        setting, control = (
            binom.pmf(range(n_setting + 1), n_setting, rate),
            binom.pmf(range(n_control + 1), n_control, rate),
        )
        return float(setting @ extreme @ control)

    grid = np.linspace(0, 1, 201)
    best = grid[np.argmax([chance(rate) for rate in grid])]
    around = (max(0.0, best - grid[1]), min(1.0, best + grid[1]))
    peak = -minimize_scalar(lambda rate: -chance(rate), bounds=around, method="bounded").fun
    return min(1.0, max(chance(best), peak))


def unpaired_difference(
    k_setting: int, n_setting: int, k_control: int, n_control: int, confidence: float = 0.95
) -> Interval:
    """Success rate of the setting minus the control's with Newcombe's hybrid score interval.

    Built from both Wilson intervals, so it has positive width also at 0/n and n/n. Newcombe (1998), Statistics in
    Medicine 17:873, method 10. ValueError as in `unpaired_p`.
    """
    (k_setting, n_setting), (k_control, n_control) = (
        check_counts(k_setting, n_setting),
        check_counts(k_control, n_control),
    )
    alpha = 1 - check_open_unit("confidence", confidence)
    low, high = confint_proportions_2indep(k_setting, n_setting, k_control, n_control, method="newcomb", alpha=alpha)
    return Interval(k_setting / n_setting - k_control / n_control, float(low), float(high), confidence, "newcombe")


def independent_difference(one: Interval, other: Interval) -> Interval:
    """The estimate of `one` minus that of `other`, from different data, with the interval that both of theirs leave.

    The method of variance estimates recovery: Zou and Donner (2008), Statistics in Medicine 27:1693. ValueError: two
    levels of confidence.
    """
    if one.confidence != other.confidence:
        raise ValueError(
            f"intervals of {one.confidence:.0%} and {other.confidence:.0%} leave none for their difference"
        )
    value = one.estimate - other.estimate
    low = value - hypot(one.estimate - one.low, other.high - other.estimate)
    high = value + hypot(one.high - one.estimate, other.estimate - other.low)
    return Interval(value, low, high, one.confidence, "recovery")


def holm(p_values: pd.Series) -> pd.Series:
    """Holm's step-down adjusted p-values of a family, under the same index; reject where they are below alpha.

    Controls the chance of any false rejection whatever the dependence. Holm (1979), Scand. J. Statistics 6:65.
    ValueError: an empty family, a p-value outside [0, 1] or missing.
    """
    p_values = pd.Series(p_values, dtype=float)
    if p_values.empty:
        raise ValueError("the family is empty: Holm's correction needs at least one p-value.")
    odd = p_values[~p_values.between(0, 1)]
    if len(odd):
        raise ValueError(f"the p-value {odd.iloc[0]} of {odd.index[0]!r} must lie in [0, 1].")
    return pd.Series(multipletests(p_values, method="holm")[1], index=p_values.index, name="p_holm")
