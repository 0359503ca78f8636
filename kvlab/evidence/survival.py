"""How long episodes last, and how much reuse they bear: time to success, and where success falls to half.

An episode that fails is not one that would have lasted longer than all others: it is censored at the step limit, where
every failure ends. So the curves say how many episodes are unsolved at each step, and say nothing beyond the limit.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float
from statsmodels.duration.survfunc import SurvfuncRight

from kvlab.evidence import matching
from kvlab.evidence.rows import of_setting, successes
from kvlab.evidence.share import exposure
from kvlab.evidence.stats import Interval, rate_interval
from kvlab.evidence.stats.checks import check_open_unit
from kvlab.study.records import EPISODE, Records
from kvlab.study.settings import Setting


def unsolved(records: Records, setting: Setting, confidence: float = 0.95) -> pd.DataFrame:
    """Share of a setting's episodes that are unsolved after each step at which one was solved (Kaplan and Meier).

    Indexed by `step`, from 0 on and up to the longest episode: `share` in [0, 1], `low` and `high` (pointwise, exact).
    No episode is censored before the step limit, so at each step the number unsolved is binomial. ValueError: an
    episode that ended in an error, or a failure that ended before another episode's success.
    """
    success = successes(records, setting)
    steps = of_setting(records.episodes, setting).set_index(EPISODE)["steps"].reindex(success.index)
    if not success.all() and steps[~success].min() < steps.max():
        raise ValueError(f"`{setting}` has failures that ended before the step limit; they cannot be censored there")
    curve = pd.Series({0: 1.0})
    if success.any():
        found = SurvfuncRight(steps.to_numpy(), success.to_numpy(int))
        curve = pd.concat([curve, pd.Series(found.surv_prob, index=found.surv_times.astype(int))])
    curve.loc[int(steps.max())] = 1 - success.mean()
    bounds = [rate_interval(round(share * len(success)), len(success), confidence=confidence) for share in curve]
    table = pd.DataFrame([(b.estimate, b.low, b.high) for b in bounds], curve.index, ["share", "low", "high"])
    return table.rename_axis("step").sort_index()


def loads(records: Records, settings: Sequence[Setting], confidence: float = 0.95) -> pd.DataFrame:
    """One row per setting: `rate` (the share of replans that reuse), `reused` (how many in an episode, on average),
    `success` (an exact Interval). ValueError as in `share.exposure`.
    """
    rows = {}
    for setting in settings:
        table = exposure(records, setting)
        success = rate_interval(int(table["success"].sum()), len(table), confidence=confidence)
        rate = table["reused"].sum() / table["replans"].sum()
        rows[setting] = {"rate": rate, "reused": table["reused"].mean(), "success": success}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("setting")


def half(
    records: Records,
    settings: Sequence[Setting],
    control: Setting,
    confidence: float = 0.95,
    resamples: int = matching.RESAMPLES,
    seed: int = 0,
) -> dict[str, Interval]:
    """How much reuse halves the control's success: by `rate` (the share of replans that reuse) and by `reused` (their
    number in an episode), along the curve of `settings`.

    The control and the settings are joined by straight lines in the order of their reuse; the first crossing counts.
    Each resample draws episodes within tasks, the same ones in every setting; one in which success is never halved
    counts as infinite, and so may a bound. ValueError: no setting that is not the control, settings that do not share
    their episodes, confidence outside (0, 1), a control without any success, fewer than 100 resamples.
    """
    check_open_unit("confidence", confidence)
    settings = [control, *(setting for setting in settings if setting != control)]
    if len(settings) < 2:
        raise ValueError("a curve needs a setting beside the control")
    tables = [exposure(records, setting) for setting in settings]
    weights = matching.weights(tables[0].index, resamples, seed)
    reused, replans, won = (
        weights @ np.stack([t[name].reindex(tables[0].index).to_numpy(float) for t in tables], axis=1)
        for name in ("reused", "replans", "success")
    )
    if not won[0, 0]:
        raise ValueError(f"`{control}` never succeeds; there is nothing to halve")
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    found = {}
    for name, load in {"rate": reused / replans, "reused": reused / len(tables[0])}.items():
        draws = _crossing(load, won / np.maximum(won[:, :1], 1), 0.5)
        low, high = np.quantile(draws[1:], tails, method="inverted_cdf")  # no mean of a number and infinity
        found[name] = Interval(float(draws[0]), float(low), float(high), confidence, "stratified percentile")
    return found


def _crossing(
    load: Float[np.ndarray, "draws settings"], success: Float[np.ndarray, "draws settings"], level: float
) -> Float[np.ndarray, " draws"]:
    """In each draw the smallest load at which straight lines from setting to setting fall to `level`; infinite if none
    does.
    """
    order = np.argsort(load, axis=1, kind="stable")
    x, y = (np.take_along_axis(values, order, axis=1) for values in (load, success))
    under = y <= level
    at = np.maximum(np.argmax(under, axis=1), 1)[:, None]  # the first below; the control, which is 1, is not
    (x0, y0), (x1, y1) = ([np.take_along_axis(v, i, axis=1)[:, 0] for v in (x, y)] for i in (at - 1, at))
    part = np.divide(y0 - level, y0 - y1, out=np.zeros_like(y0), where=y0 > y1)
    return np.where(under.any(axis=1), x0 + part * (x1 - x0), np.inf)
