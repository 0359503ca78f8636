"""What a study says, arm by arm: success with intervals, the paired difference to the control, how often it reused."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from kvlab.lab.records import ARM, EPISODE, Records
from kvlab.lab.stats import Interval, bootstrap_rate, holm, mcnemar_p, pair, paired_difference, rate_interval
from kvlab.lab.study import Arm
from kvlab.sim.suites import tasks


def first(records: Records, episodes: int) -> Records:
    """The rows of the first `episodes` episodes by the studies' rule: a pilot, as it would have come out."""
    return Records(*(t[_number(t) < episodes].reset_index(drop=True) for t in (records.episodes, records.replans)))


def _number(table: pd.DataFrame) -> pd.Series:
    many = table["suite"].map({suite: len(tasks(suite)) for suite in table["suite"].unique()})
    return table["initial_state"] * many + table["task"]


def of_arm(table: pd.DataFrame, arm: Arm) -> pd.DataFrame:
    """The rows of one arm. ValueError where there are none."""
    rows = table[(table[ARM] == [arm.mode, arm.gate, arm.seeing]).all(axis=1)]
    if rows.empty:
        raise ValueError(f"no rows of the arm `{arm}` in these records")
    return rows


def check_shared(records: Records, arms: Sequence[Arm]) -> None:
    """ValueError unless there are arms and all were run on the same episodes: a table of them would have holes."""
    if not arms:
        raise ValueError("no arm is named, so there is nothing to compare")
    first, *others = arms
    episodes = of_arm(records.episodes, first).set_index(EPISODE).index
    for other in others:
        apart = episodes.symmetric_difference(of_arm(records.episodes, other).set_index(EPISODE).index)
        if len(apart):
            which = ", ".join(f"{name} {value}" for name, value in zip(EPISODE, apart[0], strict=True))
            raise ValueError(
                f"`{first}` and `{other}` were not run on the same episodes ({len(apart)} are of one of them only: "
                f"{which}, for one); only arms that share them can be compared"
            )


def successes(records: Records, arm: Arm) -> pd.Series:
    """Success of each episode of an arm, indexed by the episode. ValueError where an episode ended in an error."""
    rows = of_arm(records.episodes, arm)
    if rows["error"].notna().any():
        raise ValueError(f"`{arm}` has episodes that ended in an error of the simulator; run them again")
    return rows.set_index(EPISODE)["success"].astype(bool)


def reuse_rate(records: Records, arm: Arm) -> float:
    """Reused replans over all replans of an arm, in [0, 1]."""
    rows = of_arm(records.episodes, arm)
    return rows["reused"].sum() / rows["replans"].sum()


def intervals(success: pd.Series, confidence: float = 0.95) -> dict[str, Interval]:
    """Exact (Clopper-Pearson), Wilson and bootstrap (resampled within tasks) interval of one arm's success."""
    by_task = success.groupby("task").agg(["sum", "count"])
    k, n = int(success.sum()), len(success)
    return {
        "exact": rate_interval(k, n, confidence=confidence),
        "wilson": rate_interval(k, n, method="wilson", confidence=confidence),
        "bootstrap": bootstrap_rate(by_task["sum"], by_task["count"], confidence=confidence),
    }


def compare(records: Records, arms: Sequence[Arm], control: Arm, confidence: float = 0.95) -> pd.DataFrame:
    """One row per arm: k of n, intervals, paired difference to the control with its exact p (also after Holm), reuse.

    `difference` is an Interval of arm minus control (Tango); it and the p-values are missing in the control's own row.
    ValueError: no arms, arms that do not share their episodes, an episode that ended in an error.
    """
    check_shared(records, [*arms, control] if arms else arms)
    reference = successes(records, control)
    rows = []
    for arm in arms:
        success = successes(records, arm)
        row = {"arm": arm, "k": int(success.sum()), "n": len(success), "reuse": reuse_rate(records, arm)}
        row |= intervals(success, confidence)
        if arm != control:
            pairs = pair(success, reference)
            row |= {"lost": pairs.control_only, "won": pairs.arm_only, "p": mcnemar_p(pairs)}
            row |= {"difference": paired_difference(pairs, confidence)}
        rows.append(row)
    table = pd.DataFrame(rows).set_index("arm")
    compared = table.index != control
    if compared.any():
        table.loc[compared, "p_holm"] = holm(table.loc[compared, "p"].astype(float))
    return table


def by_task(records: Records, arms: Sequence[Arm]) -> pd.DataFrame:
    """Successes of each arm (row) on each task (column). Errors of `compare`."""
    check_shared(records, arms)
    return pd.DataFrame({str(arm): successes(records, arm).groupby("task").sum() for arm in arms}).T


def reuse_at(records: Records, control: Arm, signal: str, thresholds: Sequence[float]) -> np.ndarray:
    """Share of the control's replans whose `signal` is at or above each threshold: how a gate would have opened.

    In the control every replan is computed, so the anchor is always the replan before.
    """
    values = of_arm(records.replans, control)[signal].to_numpy()
    return np.array([(values >= threshold).sum() / len(values) for threshold in thresholds])
