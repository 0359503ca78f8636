"""How much reuse a policy bears: where its success falls to half."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from kvlab.evidence import matching
from kvlab.evidence.share import exposure
from kvlab.evidence.stats import Interval
from kvlab.evidence.stats.checks import check_open_unit
from kvlab.study.records import Records
from kvlab.study.settings import Setting


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
