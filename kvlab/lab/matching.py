"""Gates compared where they reuse equally often: an arm beside the curve of other arms, read at the arm's reuse rate.

The curve runs straight from one recorded arm to the next. A straight line needs nothing but its two ends, never leaves
their range, and stays defined where two arms of a resample reuse alike; a spline through the same points (PCHIP) bends
by its guess of the slopes, which a few arms do not determine. `gain` on an arm of the curve itself, left out of it,
says how far from straight the curve is there.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from kvlab.lab import tables
from kvlab.lab.records import EPISODE, Records
from kvlab.lab.stats import Interval, pair, paired_difference
from kvlab.lab.stats.checks import check_open_unit, check_whole
from kvlab.lab.study import Arm
from kvlab.lab.summary import check_shared, of_arm, successes

RESAMPLES = 10_000


class BeyondCurve(ValueError):
    """An arm, or a resample of it, reuses less or more often than every arm of the curve."""


def exposure(records: Records, arm: Arm, within: Arm | None = None) -> pd.DataFrame:
    """One row per episode of an arm, indexed by the episode: success (bool), and how many of its replans reused.

    `reused` and `replans` count all replans; with `within` only as many as that arm (the control) took in the same
    episode, so that standing still after a failure, when a gate opens by itself, is not counted. ValueError as in
    `summary.successes`, and where `within` lacks an episode.
    """
    success = successes(records, arm)
    if within is None:
        counts = of_arm(records.episodes, arm).set_index(EPISODE)[["reused", "replans"]]
        return counts.assign(success=success)
    limits = of_arm(records.episodes, within).set_index(EPISODE)["replans"]
    if not limits.index.sort_values().equals(success.index.sort_values()):
        raise ValueError(f"`{arm}` and `{within}` were not run on the same episodes; only those can be compared")
    replans = of_arm(records.replans, arm).join(limits.rename("limit"), on=EPISODE)
    counted = replans[replans["replan"] < replans["limit"]].groupby(EPISODE)["reused"].agg(["sum", "size"])
    return counted.rename(columns={"sum": "reused", "size": "replans"}).assign(success=success)


def gain(
    arm: pd.DataFrame,
    curve: Sequence[pd.DataFrame],
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Success rate of an arm minus that of `curve` at the arm's reuse rate, with a paired percentile bootstrap.

    All are tables of `exposure` over the same episodes. Each resample draws episodes within tasks, the same ones in
    every arm, and computes all success and reuse rates anew. Where all resamples agree, as with one episode a task,
    the bounds are Tango's against the two neighbours on the curve, whichever lies further out, and `collapsed` is True.

    ValueError: arms that do not share their episodes, a rate (of the arm or of a resample of it) that the curve does
    not reach, fewer than two arms in the curve, confidence outside (0, 1), fewer than 100 resamples.
    """
    check_open_unit("confidence", confidence)
    draws = _gains([arm], curve, weights(arm.index, resamples, seed))[:, 0]
    if np.ptp(draws) < 1e-12:
        return _beside_neighbours(arm, curve, draws[0], confidence)
    return _percentile(draws, confidence)


def contribution(
    arm: pd.DataFrame,
    base: pd.DataFrame,
    curve: Sequence[pd.DataFrame],
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """`gain` of `arm` minus `gain` of `base`, each at its own reuse rate: what `arm` has beyond `base`, reuse apart.

    Where all resamples agree the bounds are those that both gains' own bounds leave. ValueError as in `gain`.
    """
    draws = _gains([arm, base], curve, weights(arm.index, resamples, seed)) @ [1, -1]
    if np.ptp(draws) >= 1e-12:
        return _percentile(draws, confidence)
    a, b = (gain(one, curve, confidence, resamples, seed) for one in (arm, base))
    return Interval(a.estimate - b.estimate, a.low - b.high, a.high - b.low, confidence, "tango", collapsed=True)


def matched(
    records: Records,
    arms: Sequence[Arm],
    curve: Sequence[Arm],
    within: Arm | None = None,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
    beyond: bool = False,
) -> pd.DataFrame:
    """One row per arm: `reuse` and `success` (rates), `expected` (the curve's success at that reuse), `gain`.

    The intervals hold together at `confidence` (Bonferroni over `arms`). `within` as in `exposure`. With `beyond` the
    last two are missing (NaN, None) where the curve does not reach, of the errors of `gain`.
    """
    check_shared(records, [*arms, *curve] if arms else arms)
    share = 1 - (1 - check_open_unit("confidence", confidence)) / len(arms)
    family = [exposure(records, other, within) for other in curve]
    rows = {}
    for arm in arms:
        table = exposure(records, arm, within)
        rows[arm] = {"reuse": _reuse(table), "success": table["success"].mean(), "expected": np.nan, "gain": None}
        try:
            rows[arm]["gain"] = difference = gain(table, family, share, resamples, seed)
        except BeyondCurve:
            if not beyond:
                raise
        else:
            rows[arm]["expected"] = rows[arm]["success"] - difference.estimate
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("arm")


def steps(
    records: Records, arms: Sequence[Arm], curve: Sequence[Arm], confidence: float = 0.95, resamples: int = RESAMPLES
) -> pd.Series:
    """What each arm gains beyond the one before it, and the first beyond the curve: Intervals by arm.

    For arms of which each has one condition more than the one before; together at `confidence`. Errors of `gain`.
    """
    check_shared(records, [*arms, *curve] if arms else arms)
    share = 1 - (1 - check_open_unit("confidence", confidence)) / len(arms)
    family = [exposure(records, other) for other in curve]
    found = [exposure(records, arm) for arm in arms]
    pairs = zip(found[1:], found, strict=False)
    gained = [gain(found[0], family, share, resamples)]
    gained += [contribution(arm, base, family, share, resamples) for arm, base in pairs]
    return pd.Series(gained, index=pd.Index(arms, name="arm", tupleize_cols=False), dtype=object)


def left_out(records: Records, curve: Sequence[Arm], within: Arm | None = None) -> pd.Series:
    """How far each inner arm of a curve lies from the straight line between its neighbours: success minus the line's.

    By arm, in order of their reuse rates, without the first and the last. ValueError: fewer than three arms, or arms
    that do not share their episodes.
    """
    if len(curve) < 3:
        raise ValueError(f"only a curve of at least 3 arms has inner ones, got {len(curve)}")
    check_shared(records, curve)
    found = {arm: exposure(records, arm, within) for arm in curve}
    ordered = sorted(found, key=lambda arm: _reuse(found[arm]))
    once = np.ones((1, len(found[ordered[0]])), int)
    off = {
        arm: _gains([found[arm]], [found[other] for other in ordered if other != arm], once).item()
        for arm in ordered[1:-1]
    }
    return pd.Series(off, dtype=float)


def shown(rows: pd.DataFrame, label: Callable[[Arm], str] = str) -> pd.DataFrame:
    """What `matched` returns, as it stands in a chapter: percent, and points with their interval."""
    return pd.DataFrame(
        {
            "reuse": rows["reuse"].map("{:.0%}".format),
            "success": rows["success"].map("{:.0%}".format),
            "curve there": rows["expected"].map("{:.0%}".format).where(rows["expected"].notna(), "does not reach"),
            "points": rows["gain"].map(tables.percent),
        }
    ).rename(label)


def direction(difference: Interval) -> str:
    """`more`, `less`, or `neither demonstrably more nor less`: where an interval of a difference lies beside 0."""
    if 0 in difference:
        return "neither demonstrably more nor less"
    return "more" if difference.low > 0 else "less"


def weights(episodes: pd.MultiIndex, resamples: int, seed: int) -> Int[np.ndarray, "draws episodes"]:
    """How often each episode is in each resample, drawn within tasks; the first row is the study itself."""
    check_whole("resamples", resamples, least=100)
    rng, weights = np.random.default_rng(seed), np.ones((1 + resamples, len(episodes)), int)
    tasks = episodes.get_level_values("task")
    for task in tasks.unique():
        mine = np.flatnonzero(tasks == task)
        weights[1:, mine] = rng.multinomial(len(mine), np.full(len(mine), 1 / len(mine)), size=resamples)
    return weights


def _gains(
    arms: Sequence[pd.DataFrame], curve: Sequence[pd.DataFrame], weights: Int[np.ndarray, "draws episodes"]
) -> Float[np.ndarray, "draws arms"]:
    """Success of each arm minus the curve's at the arm's reuse rate, in each resample."""
    if len(curve) < 2:
        raise ValueError(f"a curve needs at least 2 arms to run between, got {len(curve)}.")
    (x, y), (knots, heights) = (_rates(some, arms[0].index, weights) for some in (arms, curve))
    first, last = knots.min(axis=1, keepdims=True), knots.max(axis=1, keepdims=True)
    outside = ((x < first) | (x > last)).any(axis=1)
    if outside.any():
        at = np.argmax(outside)
        where = f"in {outside.sum()} of {len(x) - 1} resamples" if at else "as recorded"
        rates = " and ".join(map("{:.1%}".format, x[at]))
        raise BeyondCurve(
            f"{where} a reuse rate lies outside the curve: {rates}, the curve reaches from {first[at, 0]:.1%} to "
            f"{last[at, 0]:.1%}; record an arm beyond, a curve is not extrapolated."
        )
    return y - _between(x, knots, heights)


def _between(
    x: Float[np.ndarray, "draws arms"],
    knots: Float[np.ndarray, "draws curve"],
    heights: Float[np.ndarray, "draws curve"],
) -> Float[np.ndarray, "draws arms"]:
    """In each resample the straight lines through (knots, heights) at `x`; the middle of two arms that reuse alike."""
    order = np.lexsort((heights, knots))
    knots, heights = (np.take_along_axis(values, order, axis=1) for values in (knots, heights))
    left = (knots[:, None] <= x[..., None]).sum(axis=2) - 1
    right = (knots[:, None] < x[..., None]).sum(axis=2)
    (x0, y0), (x1, y1) = (
        (np.take_along_axis(knots, side, axis=1), np.take_along_axis(heights, side, axis=1)) for side in (left, right)
    )
    part = np.divide(x - x0, x1 - x0, out=np.full_like(x, 0.5), where=x1 > x0)
    return y0 + part * (y1 - y0)


def _rates(
    arms: Sequence[pd.DataFrame], episodes: pd.MultiIndex, weights: Int[np.ndarray, "draws episodes"]
) -> tuple[Float[np.ndarray, "draws arms"], Float[np.ndarray, "draws arms"]]:
    """Reuse and success rate of each table in each resample."""
    for table in arms:
        if len(table) != len(episodes) or not episodes.isin(table.index).all():
            raise ValueError("the arms were not run on the same episodes; only arms that share them can be compared.")
    columns = {
        name: weights @ np.stack([table[name].reindex(episodes).to_numpy(float) for table in arms], axis=1)
        for name in ("reused", "replans", "success")
    }
    return columns["reused"] / columns["replans"], columns["success"] / len(episodes)


def _percentile(draws: Float[np.ndarray, " draws"], confidence: float) -> Interval:
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    low, high = np.quantile(draws[1:], tails)
    return Interval(float(draws[0]), float(low), float(high), confidence, "stratified percentile")


def _beside_neighbours(
    arm: pd.DataFrame, curve: Sequence[pd.DataFrame], estimate: float, confidence: float
) -> Interval:
    below = max((table for table in curve if _reuse(table) <= _reuse(arm)), key=_reuse)
    above = min((table for table in curve if _reuse(table) >= _reuse(arm)), key=_reuse)
    sides = [paired_difference(pair(arm["success"], side["success"]), confidence) for side in (below, above)]
    low, high = min(side.low for side in sides), max(side.high for side in sides)
    return Interval(float(estimate), low, high, confidence, "tango", collapsed=True)


def _reuse(table: pd.DataFrame) -> float:
    return table["reused"].sum() / table["replans"].sum()
