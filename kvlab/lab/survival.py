"""How long episodes last, and how much reuse they bear: time to success, and where success falls to half.

An episode that fails is not one that would have lasted longer than all others: it is censored at the step limit, where
every failure ends. So the curves say how many episodes are unsolved at each step, and say nothing beyond the limit.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float
from statsmodels.duration.survfunc import SurvfuncRight

from kvlab.lab import matching
from kvlab.lab.records import EPISODE, Records
from kvlab.lab.stats import Interval, rate_interval
from kvlab.lab.stats.checks import check_open_unit
from kvlab.lab.study import Arm
from kvlab.lab.summary import of_arm, successes


def unsolved(records: Records, arm: Arm, confidence: float = 0.95) -> pd.DataFrame:
    """Share of an arm's episodes that are unsolved after each step at which one was solved (Kaplan and Meier).

    Indexed by `step`, from 0 on and up to the longest episode: `share` in [0, 1], `low` and `high` (pointwise, exact).
    No episode is censored before the step limit, so at each step the number unsolved is binomial. ValueError: an
    episode that ended in an error, or a failure that ended before another episode's success.
    """
    success = successes(records, arm)
    steps = of_arm(records.episodes, arm).set_index(EPISODE)["steps"].reindex(success.index)
    if not success.all() and steps[~success].min() < steps.max():
        raise ValueError(f"`{arm}` has failures that ended before the step limit; they cannot be censored there")
    curve = pd.Series({0: 1.0})
    if success.any():
        found = SurvfuncRight(steps.to_numpy(), success.to_numpy(int))
        curve = pd.concat([curve, pd.Series(found.surv_prob, index=found.surv_times.astype(int))])
    curve.loc[int(steps.max())] = 1 - success.mean()
    bounds = [rate_interval(round(share * len(success)), len(success), confidence=confidence) for share in curve]
    table = pd.DataFrame([(b.estimate, b.low, b.high) for b in bounds], curve.index, ["share", "low", "high"])
    return table.rename_axis("step").sort_index()


def loads(records: Records, arms: Sequence[Arm], control: Arm, confidence: float = 0.95) -> pd.DataFrame:
    """One row per arm: `rate` (share of replans that reused), `reused` (how many in an episode, on average), `success`.

    `success` is an exact Interval. Reuse is counted in as many replans as the control took in the same episode (see
    `matching.exposure`): a policy that has failed stands still, and then the gate opens by itself. ValueError as there.
    """
    rows = {}
    for arm in arms:
        table = matching.exposure(records, arm, control)
        success = rate_interval(int(table["success"].sum()), len(table), confidence=confidence)
        rate = table["reused"].sum() / table["replans"].sum()
        rows[arm] = {"rate": rate, "reused": table["reused"].mean(), "success": success}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("arm")


def half(
    records: Records,
    arms: Sequence[Arm],
    control: Arm,
    confidence: float = 0.95,
    resamples: int = matching.RESAMPLES,
    seed: int = 0,
) -> dict[str, Interval]:
    """How much reuse halves the control's success: by `rate` and by `reused` (see `loads`), along the curve of `arms`.

    The control and the arms are joined by straight lines in the order of their reuse; the first crossing counts. Each
    resample draws episodes within tasks, the same ones in every arm; one in which success is never halved counts as
    infinite, and so may a bound. ValueError: no arm that is not the control, arms that do not share their episodes,
    confidence outside (0, 1), a control without any success, fewer than 100 resamples.
    """
    check_open_unit("confidence", confidence)
    arms = [control, *(arm for arm in arms if arm != control)]
    if len(arms) < 2:
        raise ValueError("a curve needs an arm beside the control")
    tables = [matching.exposure(records, arm, control) for arm in arms]
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
    load: Float[np.ndarray, "draws arms"], success: Float[np.ndarray, "draws arms"], level: float
) -> Float[np.ndarray, " draws"]:
    """In each draw the smallest load at which straight lines from arm to arm fall to `level`; infinite if none does."""
    order = np.argsort(load, axis=1, kind="stable")
    x, y = (np.take_along_axis(values, order, axis=1) for values in (load, success))
    under = y <= level
    at = np.maximum(np.argmax(under, axis=1), 1)[:, None]  # the first below; the control, which is 1, is not
    (x0, y0), (x1, y1) = ([np.take_along_axis(v, i, axis=1)[:, 0] for v in (x, y)] for i in (at - 1, at))
    part = np.divide(y0 - level, y0 - y1, out=np.zeros_like(y0), where=y0 > y1)
    return np.where(under.any(axis=1), x0 + part * (x1 - x0), np.inf)
