"""What a study says, setting by setting: success with intervals, compared with no reuse, how often it reused."""

from collections.abc import Sequence

import pandas as pd

from kvlab.evidence.control_steps import mean_steps, steps_ratio
from kvlab.evidence.rows import check_shared, pairs, successes
from kvlab.evidence.share import reuse_share
from kvlab.evidence.stats import Interval, bootstrap_rate, holm, mcnemar_p, paired_difference, rate_interval
from kvlab.sim.suites import tasks
from kvlab.study.records import Records
from kvlab.study.settings import Setting


def first(records: Records, episodes: int) -> Records:
    """The rows of the first `episodes` episodes by the studies' rule: a pilot, as it would have come out."""
    return Records(*(t[_number(t) < episodes].reset_index(drop=True) for t in (records.episodes, records.replans)))


def _number(table: pd.DataFrame) -> pd.Series:
    many = table["suite"].map({suite: len(tasks(suite)) for suite in table["suite"].unique()})
    return table["initial_state"] * many + table["task"]


def difference(records: Records, setting: Setting, other: Setting, confidence: float = 0.95) -> Interval:
    """Success rate of `setting` minus that of `other` on the same episodes: the interval (Tango) of claim and table.

    ValueError as in `rows.pairs`.
    """
    return paired_difference(pairs(records, setting, other), confidence)


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
    """One row per setting: how often it succeeds and reuses, and how it compares with no reuse (`control`).

    `k` of `n` episodes, with the Intervals of `intervals`; `reuse`, the share of replans that reuse; `steps`, mean
    control steps of the episodes that it solves. Missing in the control's own row: `lost` and `won` episodes;
    `difference`, an Interval of setting minus control (Tango); `p`, exact McNemar; `steps_ratio`, how many times as
    many control steps to success (Interval, over the episodes that both solve; None where they are fewer than two).
    Which p-values count as confirmed, and their correction: `kvlab.evidence.primary`.

    ValueError: no settings, settings that do not share their episodes, an episode that ended in an error.
    """
    check_shared(records, [*settings, control] if settings else settings)
    rows = []
    for setting in settings:
        success = successes(records, setting)
        row = {"setting": setting, "k": int(success.sum()), "n": len(success), "reuse": reuse_share(records, setting)}
        row |= intervals(success, confidence) | {"steps": mean_steps(records, setting)}
        if setting != control:
            counts = pairs(records, setting, control)
            row |= {"lost": counts.control_only, "won": counts.setting_only, "p": mcnemar_p(counts)}
            row |= {"difference": paired_difference(counts, confidence)}
            row |= {"steps_ratio": steps_ratio(records, setting, control, confidence)}
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
