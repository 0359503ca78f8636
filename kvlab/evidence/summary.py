"""What a study says, setting by setting: success with intervals, the paired difference to the control, how often it
reused.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from kvlab.evidence.stats import Interval, bootstrap_rate, holm, mcnemar_p, pair, paired_difference, rate_interval
from kvlab.sim.suites import tasks
from kvlab.study.records import EPISODE, SETTING, Records
from kvlab.study.settings import Setting


def first(records: Records, episodes: int) -> Records:
    """The rows of the first `episodes` episodes by the studies' rule: a pilot, as it would have come out."""
    return Records(*(t[_number(t) < episodes].reset_index(drop=True) for t in (records.episodes, records.replans)))


def _number(table: pd.DataFrame) -> pd.Series:
    many = table["suite"].map({suite: len(tasks(suite)) for suite in table["suite"].unique()})
    return table["initial_state"] * many + table["task"]


def of_setting(table: pd.DataFrame, setting: Setting) -> pd.DataFrame:
    """The rows of one setting. ValueError where there are none."""
    rows = table[(table[SETTING] == [setting.mode, setting.gate, setting.seeing]).all(axis=1)]
    if rows.empty:
        raise ValueError(f"no rows of the setting `{setting}` in these records")
    return rows


def check_shared(records: Records, settings: Sequence[Setting]) -> None:
    """ValueError unless there are settings and all were run on the same episodes: a table of them would have holes."""
    if not settings:
        raise ValueError("no setting is named, so there is nothing to compare")
    first, *others = settings
    episodes = of_setting(records.episodes, first).set_index(EPISODE).index
    for other in others:
        apart = episodes.symmetric_difference(of_setting(records.episodes, other).set_index(EPISODE).index)
        if len(apart):
            which = ", ".join(f"{name} {value}" for name, value in zip(EPISODE, apart[0], strict=True))
            raise ValueError(
                f"`{first}` and `{other}` were not run on the same episodes ({len(apart)} are of one of them only: "
                f"{which}, for one); only settings that share them can be compared"
            )


def successes(records: Records, setting: Setting) -> pd.Series:
    """Success of each episode of a setting, indexed by the episode. ValueError where an episode ended in an error."""
    rows = of_setting(records.episodes, setting)
    if rows["error"].notna().any():
        raise ValueError(f"`{setting}` has episodes that ended in an error of the simulator; run them again")
    return rows.set_index(EPISODE)["success"].astype(bool)


def reuse_rate(records: Records, setting: Setting) -> float:
    """Reused replans over all replans of a setting, in [0, 1]."""
    rows = of_setting(records.episodes, setting)
    return rows["reused"].sum() / rows["replans"].sum()


def intervals(success: pd.Series, confidence: float = 0.95) -> dict[str, Interval]:
    """Exact (Clopper-Pearson), Wilson and bootstrap (resampled within tasks) interval of one setting's success."""
    by_task = success.groupby("task").agg(["sum", "count"])
    k, n = int(success.sum()), len(success)
    return {
        "exact": rate_interval(k, n, confidence=confidence),
        "wilson": rate_interval(k, n, method="wilson", confidence=confidence),
        "bootstrap": bootstrap_rate(by_task["sum"], by_task["count"], confidence=confidence),
    }


def compare(records: Records, settings: Sequence[Setting], control: Setting, confidence: float = 0.95) -> pd.DataFrame:
    """One row per setting: k of n, intervals, paired difference to the control with its exact p (also after Holm),
    reuse.

    `difference` is an Interval of setting minus control (Tango); it and the p-values are missing in the control's own
    row. ValueError: no settings, settings that do not share their episodes, an episode that ended in an error.
    """
    check_shared(records, [*settings, control] if settings else settings)
    reference = successes(records, control)
    rows = []
    for setting in settings:
        success = successes(records, setting)
        row = {"setting": setting, "k": int(success.sum()), "n": len(success), "reuse": reuse_rate(records, setting)}
        row |= intervals(success, confidence)
        if setting != control:
            pairs = pair(success, reference)
            row |= {"lost": pairs.control_only, "won": pairs.setting_only, "p": mcnemar_p(pairs)}
            row |= {"difference": paired_difference(pairs, confidence)}
        rows.append(row)
    table = pd.DataFrame(rows).set_index("setting")
    compared = table.index != control
    if compared.any():
        table.loc[compared, "p_holm"] = holm(table.loc[compared, "p"].astype(float))
    return table


def by_task(records: Records, settings: Sequence[Setting]) -> pd.DataFrame:
    """Successes of each setting (row) on each task (column). Errors of `compare`."""
    check_shared(records, settings)
    return pd.DataFrame({str(setting): successes(records, setting).groupby("task").sum() for setting in settings}).T


def reuse_at(records: Records, control: Setting, signal: str, thresholds: Sequence[float]) -> np.ndarray:
    """Share of the control's replans whose `signal` is at or above each threshold: how a gate would have opened.

    In the control every replan is computed, so the anchor is always the replan before.
    """
    values = of_setting(records.replans, control)[signal].to_numpy()
    return np.array([(values >= threshold).sum() / len(values) for threshold in thresholds])
