"""Control steps to success, paired: does a setting that still succeeds take longer?

The main measure is `steps_ratio`: over the episodes that both settings solve, the geometric mean of how many times as
many control steps one takes as the other. Success stands beside it in every table, so it should say what success does
not. The restricted mean (`restricted_difference`), which counts a failure as the step limit, needs no common success,
but a failure moves it by up to the whole limit: beside success it mostly says the same again, and it depends on a limit
that the benchmark chose. What the main measure leaves out is said by how many pairs it rests on (`Pairs.both`).
"""

import numpy as np
import pandas as pd
from scipy.stats import ttest_1samp, ttest_ind

from kvlab.evidence.rows import check_shared, of_setting, successes
from kvlab.evidence.stats import Interval
from kvlab.study.records import EPISODE, Records
from kvlab.study.settings import Setting


def steps(records: Records, setting: Setting) -> pd.Series:
    """Control steps of each episode, indexed by it; a failed one has its step limit. ValueError as in `successes`."""
    success = successes(records, setting)  # refuses episodes that ended in an error
    return of_setting(records.episodes, setting).set_index(EPISODE)["steps"].reindex(success.index)


def mean_steps(records: Records, setting: Setting) -> float:
    """Mean control steps of the episodes that the setting solves; NaN where it solves none."""
    return float(steps(records, setting)[successes(records, setting)].mean())


def steps_ratio(records: Records, setting: Setting, other: Setting, confidence: float = 0.95) -> Interval | None:
    """How many times as many control steps `setting` takes as `other`, over the episodes that both solve.

    See the module on why this is the main measure. Geometric mean with Student's interval on the logarithms
    (`mean_ratio`). None where both solve fewer than two episodes. ValueError where they do not share their episodes.
    """
    check_shared(records, [setting, other])
    both = successes(records, setting) & successes(records, other)
    if both.sum() < 2:
        return None
    return mean_ratio(steps(records, setting)[both] / steps(records, other)[both], confidence)


def restricted_difference(records: Records, setting: Setting, other: Setting, confidence: float = 0.95) -> Interval:
    """Control steps of `setting` minus those of `other`, mean over all episodes, a failure counted as the step limit.

    The restricted mean time to success (Royston and Parmar 2013, BMC Medical Research Methodology 13:152) of both
    settings, paired, with Student's interval. ValueError: episodes that are not shared, fewer than two of them.
    """
    check_shared(records, [setting, other])
    return mean(steps(records, setting) - steps(records, other), confidence)


def mean_ratio(ratios: pd.Series, confidence: float = 0.95) -> Interval:
    """Geometric mean of ratios, one an episode, with Student's interval on the logarithms.

    ValueError: fewer than two ratios, one that is not above 0.
    """
    if len(ratios) < 2 or not (ratios > 0).all():
        raise ValueError(f"a mean ratio needs two or more ratios above 0, got {ratios.tolist()}")
    logs = mean(np.log(ratios.astype(float)), confidence)
    bounds = np.exp([logs.estimate, logs.low, logs.high]).tolist()
    return Interval(*bounds, confidence, "t on logarithms", collapsed=logs.collapsed)


def mean(values: pd.Series, confidence: float = 0.95) -> Interval:
    """Mean over episodes with Student's interval; `collapsed`, without width, where all values are equal.

    ValueError: fewer than two values.
    """
    if len(values) < 2:
        raise ValueError(f"a mean of {len(values)} episodes has no interval; at least two are needed")
    middle = float(values.mean())
    if np.ptp(values) < 1e-12:
        return Interval(middle, middle, middle, confidence, "t", collapsed=True)
    low, high = ttest_1samp(values, 0).confidence_interval(confidence)
    return Interval(middle, float(low), float(high), confidence, "t")


def mean_difference(first: pd.Series, second: pd.Series, confidence: float = 0.95) -> Interval:
    """Mean of `first` minus that of `second`, on other episodes, with Welch's interval.

    ValueError: fewer than two values of either, or all of both equal.
    """
    if min(len(first), len(second)) < 2 or max(np.ptp(first), np.ptp(second)) < 1e-12:
        raise ValueError(f"two or more differing values of each are needed, got {first.tolist()}, {second.tolist()}")
    low, high = ttest_ind(first, second, equal_var=False).confidence_interval(confidence)
    return Interval(float(first.mean() - second.mean()), float(low), float(high), confidence, "Welch")
