"""Settings compared where they reuse equally often: a setting and the curve of other settings, read at its share of
replans that reuse.

The curve runs straight from one recorded setting to the next. A straight line needs nothing but its two ends, never
leaves their range, and stays defined where two settings of a resample reuse alike; a spline through the same points
(PCHIP) bends by its guess of the slopes, which a few settings do not determine. `gain` on a setting of the curve
itself, left out of it, says how far from straight the curve is there.
"""

import re
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from kvlab.evidence import wording
from kvlab.evidence.rows import check_shared, recorded
from kvlab.evidence.share import exposure, exposure_within
from kvlab.evidence.stats import Interval, pair, paired_difference
from kvlab.evidence.stats.checks import check_open_unit, check_whole
from kvlab.study.records import Records
from kvlab.study.settings import Setting

RESAMPLES = 10_000


class BeyondCurve(ValueError):
    """A setting, or a resample of it, reuses less or more often than every setting of the curve."""


def image_gates(records: Records, mode: str) -> list[Setting]:
    """The settings of `mode` behind plain image gates that are recorded: with no reuse, a curve for its other gates."""
    plain = [one for one in recorded(records) if re.fullmatch(r"vision >= -?[\d.]+", one.gate)]
    return [one for one in plain if one == Setting(mode, one.gate)]


def gain(
    setting: pd.DataFrame,
    curve: Sequence[pd.DataFrame],
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Success rate of a setting minus that of `curve` at the setting's reuse rate, with a paired percentile bootstrap.

    All are tables of `share.exposure` over the same episodes. Each resample draws episodes within tasks, the same ones
    in every setting, and computes all success and reuse rates anew. Where all resamples agree, as with one episode a
    task, the bounds are Tango's against the two neighbours on the curve, whichever lies further out, and `collapsed` is
    True.

    ValueError: settings that do not share their episodes, a rate (of the setting or of a resample of it) that the curve
    does not reach, fewer than two settings in the curve, confidence outside (0, 1), fewer than 100 resamples.
    """
    check_open_unit("confidence", confidence)
    draws = _gains([setting], curve, weights(setting.index, resamples, seed))[:, 0]
    if np.ptp(draws) < 1e-12:
        return _beside_neighbours(setting, curve, draws[0], confidence)
    return _percentile(draws, confidence)


def matched(
    records: Records,
    settings: Sequence[Setting],
    curve: Sequence[Setting],
    within: Setting | None = None,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
    beyond: bool = False,
) -> pd.DataFrame:
    """One row per setting: `reuse` and `success` (rates), `expected` (the curve's success at that reuse), `gain`.

    The intervals hold together at `confidence` (Bonferroni over `settings`). Reuse is counted by `share.exposure`, with
    `within` (no reuse) by `share.exposure_within`. With `beyond` the last two are missing (NaN, None) where the curve
    does not reach, of the errors of `gain`.
    """
    check_shared(records, [*settings, *curve] if settings else settings)
    share = 1 - (1 - check_open_unit("confidence", confidence)) / len(settings)
    family = [_exposure(records, other, within) for other in curve]
    rows = {}
    for setting in settings:
        table = _exposure(records, setting, within)
        rows[setting] = {"reuse": _reuse(table), "success": table["success"].mean(), "expected": np.nan, "gain": None}
        try:
            rows[setting]["gain"] = difference = gain(table, family, share, resamples, seed)
        except BeyondCurve:
            if not beyond:
                raise
        else:
            rows[setting]["expected"] = rows[setting]["success"] - difference.estimate
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("setting")


def left_out(records: Records, curve: Sequence[Setting], within: Setting | None = None) -> pd.Series:
    """How far each inner setting of a curve lies from the straight line between its neighbours: success minus the
    line's.

    By setting, in order of their reuse rates, without the first and the last. ValueError: fewer than three settings, or
    settings that do not share their episodes.
    """
    if len(curve) < 3:
        raise ValueError(f"only a curve of at least 3 settings has inner ones, got {len(curve)}")
    check_shared(records, curve)
    found = {setting: _exposure(records, setting, within) for setting in curve}
    ordered = sorted(found, key=lambda setting: _reuse(found[setting]))
    once = np.ones((1, len(found[ordered[0]])), int)
    off = {
        setting: _gains([found[setting]], [found[other] for other in ordered if other != setting], once).item()
        for setting in ordered[1:-1]
    }
    return pd.Series(off, dtype=float)


def shown(rows: pd.DataFrame, label: Callable[[Setting], str] = str) -> pd.DataFrame:
    """What `matched` returns, as it stands in a chapter: percent, and points with their interval."""
    return pd.DataFrame(
        {
            "reuse": rows["reuse"].map("{:.0%}".format),
            "success": rows["success"].map("{:.0%}".format),
            "curve there": rows["expected"].map("{:.0%}".format).where(rows["expected"].notna(), "does not reach"),
            "points": rows["gain"].map(wording.points),
        }
    ).rename(label)


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
    settings: Sequence[pd.DataFrame], curve: Sequence[pd.DataFrame], weights: Int[np.ndarray, "draws episodes"]
) -> Float[np.ndarray, "draws settings"]:
    """Success of each setting minus the curve's at the setting's reuse rate, in each resample."""
    if len(curve) < 2:
        raise ValueError(f"a curve needs at least 2 settings to run between, got {len(curve)}.")
    (x, y), (knots, heights) = (_rates(some, settings[0].index, weights) for some in (settings, curve))
    first, last = knots.min(axis=1, keepdims=True), knots.max(axis=1, keepdims=True)
    outside = ((x < first) | (x > last)).any(axis=1)
    if outside.any():
        at = np.argmax(outside)
        where = f"in {outside.sum()} of {len(x) - 1} resamples" if at else "as recorded"
        rates = " and ".join(map("{:.1%}".format, x[at]))
        raise BeyondCurve(
            f"{where} a reuse rate lies outside the curve: {rates}, the curve reaches from {first[at, 0]:.1%} to "
            f"{last[at, 0]:.1%}; record a setting beyond, a curve is not extrapolated."
        )
    return y - _between(x, knots, heights)


def _between(
    x: Float[np.ndarray, "draws settings"],
    knots: Float[np.ndarray, "draws curve"],
    heights: Float[np.ndarray, "draws curve"],
) -> Float[np.ndarray, "draws settings"]:
    """In each resample the lines through (knots, heights) at `x`; the middle of two settings that reuse alike."""
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
    settings: Sequence[pd.DataFrame], episodes: pd.MultiIndex, weights: Int[np.ndarray, "draws episodes"]
) -> tuple[Float[np.ndarray, "draws settings"], Float[np.ndarray, "draws settings"]]:
    """Reuse and success rate of each table in each resample."""
    for table in settings:
        if len(table) != len(episodes) or not episodes.isin(table.index).all():
            raise ValueError(
                "the settings were not run on the same episodes; only settings that share them can be compared."
            )
    columns = {
        name: weights @ np.stack([table[name].reindex(episodes).to_numpy(float) for table in settings], axis=1)
        for name in ("reused", "replans", "success")
    }
    return columns["reused"] / columns["replans"], columns["success"] / len(episodes)


def _percentile(draws: Float[np.ndarray, " draws"], confidence: float) -> Interval:
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    low, high = np.quantile(draws[1:], tails)
    return Interval(float(draws[0]), float(low), float(high), confidence, "stratified percentile")


def _beside_neighbours(
    setting: pd.DataFrame, curve: Sequence[pd.DataFrame], estimate: float, confidence: float
) -> Interval:
    below = max((table for table in curve if _reuse(table) <= _reuse(setting)), key=_reuse)
    above = min((table for table in curve if _reuse(table) >= _reuse(setting)), key=_reuse)
    sides = [paired_difference(pair(setting["success"], side["success"]), confidence) for side in (below, above)]
    low, high = min(side.low for side in sides), max(side.high for side in sides)
    return Interval(float(estimate), low, high, confidence, "tango", collapsed=True)


def _exposure(records: Records, setting: Setting, within: Setting | None) -> pd.DataFrame:
    return exposure(records, setting) if within is None else exposure_within(records, setting, within)


def _reuse(table: pd.DataFrame) -> float:
    return table["reused"].sum() / table["replans"].sum()
