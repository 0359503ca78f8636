"""How often a setting reuses.

The *share of replans that reuse* is one number everywhere: replans in which anything of the cache is reused, over all
replans of the setting's episodes, the first of each episode included, at which there is nothing to reuse yet. A mode
that keeps the words from the first replan on (`text_fixed`) reuses something at every later one, whatever its gate
says; a mode that keeps the old chunk reuses where it keeps it.

Reuse after a failure is part of it: a policy that has failed stands still, and its gate then allows reuse. Where that
is the subject, `exposure_within` leaves it out.
"""

import numpy as np
import pandas as pd

from kvlab.evidence.rows import of_setting, successes
from kvlab.evidence.stats import Interval
from kvlab.reuse import parse_mode
from kvlab.study.records import EPISODE, Records
from kvlab.study.settings import Setting

ALWAYS = ("text_fixed",)  # modes that reuse something at every replan but an episode's first, whatever the gate says


def reuse_share(records: Records, setting: Setting, within: Setting | None = None) -> float:
    """The share of replans that reuse, in [0, 1]. ValueError where the setting has no rows.

    With `within` (no reuse) that of the replans that `exposure_within` counts, with its errors.
    """
    if within is not None:
        counted = exposure_within(records, setting, within)
        return counted["reused"].sum() / counted["replans"].sum()
    rows = of_setting(records.episodes, setting)
    return _reused(rows, setting).sum() / rows["replans"].sum()


def allowed_share(records: Records, setting: Setting) -> float:
    """The share of replans at which the gate allowed reuse, in [0, 1]: less than `reuse_share` only in `ALWAYS`."""
    rows = of_setting(records.episodes, setting)
    return rows["reused"].sum() / rows["replans"].sum()


def reuse_interval(
    records: Records, setting: Setting, confidence: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> Interval:
    """`reuse_share` with a percentile bootstrap over its episodes: replans within one are alike."""
    rows = of_setting(records.episodes, setting)
    drawn = np.random.default_rng(seed).multinomial(len(rows), np.full(len(rows), 1 / len(rows)), size=resamples)
    shares = (drawn @ _reused(rows, setting).to_numpy()) / (drawn @ rows["replans"].to_numpy())
    low, high = np.quantile(shares, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(reuse_share(records, setting), float(low), float(high), confidence, "episodes percentile")


def mean_age(records: Records, setting: Setting, within: Setting | None = None) -> float:
    """The mean age of what is reused, in replans, over the replans that reuse; NaN where none does.

    With `within` (no reuse) only over the replans that `exposure_within` counts.
    """
    replans = of_setting(records.replans, setting) if within is None else _until(records, setting, within)
    return float(replans.loc[replans["age"] > 0, "age"].mean())


def exposure(records: Records, setting: Setting) -> pd.DataFrame:
    """One row per episode, indexed by it: `reused` and `replans`, the counts of `reuse_share`, and `success` (bool).

    ValueError as in `successes`.
    """
    success = successes(records, setting)
    rows = of_setting(records.episodes, setting).set_index(EPISODE)
    return pd.DataFrame({"reused": _reused(rows, setting), "replans": rows["replans"], "success": success})


def exposure_within(records: Records, setting: Setting, no_reuse: Setting) -> pd.DataFrame:
    """`exposure`, counting only as many replans of an episode as `no_reuse` took in it.

    So standing still after a failure is not counted. ValueError as in `successes`, and where episodes are not shared.
    """
    success, counted = successes(records, setting), _until(records, setting, no_reuse)
    if _always(setting):
        counted = counted.assign(reused=counted["replan"] > 0)
    counts = counted.groupby(EPISODE)["reused"].agg(["sum", "size"])
    return counts.set_axis(["reused", "replans"], axis=1).assign(success=success)


def _until(records: Records, setting: Setting, no_reuse: Setting) -> pd.DataFrame:
    """A setting's replans, of each episode only as many as `no_reuse` took in it."""
    limits = of_setting(records.episodes, no_reuse).set_index(EPISODE)["replans"]
    if not limits.index.sort_values().equals(successes(records, setting).index.sort_values()):
        raise ValueError(f"`{setting}` and `{no_reuse}` were not run on the same episodes; only those can be compared")
    replans = of_setting(records.replans, setting).join(limits.rename("limit"), on=EPISODE)
    return replans[replans["replan"] < replans["limit"]]


def _always(setting: Setting) -> bool:
    return parse_mode(setting.mode).name in ALWAYS


def _reused(episodes: pd.DataFrame, setting: Setting) -> pd.Series:
    """Of each episode's replans, how many reuse anything."""
    return (episodes["replans"] - 1).clip(lower=0) if _always(setting) else episodes["reused"]
