"""What to buy: success against the cost of inference, which settings no other beats, and how sure that is.

A setting is on the frontier (the Pareto set) where no other costs at most as much and succeeds at least as often, one
of both strictly. The chance that it is there comes from a bootstrap over episodes, drawn within tasks and the same ones
in every setting, so that what a hard episode costs all of them does not count as a difference. Times are taken as
measured. Where a setting solves every episode, the bootstrap sees no uncertainty in its success; its exact interval
stands beside it.
"""

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from kvlab.evidence.cost import cost, episodes_ms
from kvlab.evidence.margins import BUY, INSIDE, loss
from kvlab.evidence.matching import RESAMPLES, weights
from kvlab.evidence.rows import check_shared, of_setting, successes
from kvlab.evidence.stats import Interval, rate_interval
from kvlab.evidence.summary import difference
from kvlab.study.records import EPISODE, Records
from kvlab.study.settings import Setting
from kvlab.study.times import Latency


def frontier(
    records: Records,
    settings: Sequence[Setting],
    times: Latency,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """One row per setting, the cheapest first: its place, and how sure it is that no other setting beats it.

    `ms_step`, milliseconds of inference per control step (Interval over episodes); `success` (exact Interval);
    `pareto`, whether it is on the frontier as recorded; `chance`, in how many of the resamples it is, in [0, 1].
    ValueError: no settings, settings that do not share their episodes, one of which there is no time.
    """
    check_shared(records, settings)
    return of_runs({setting: (records, setting, times) for setting in settings}, confidence, resamples, seed)


def of_runs(
    runs: Mapping[Hashable, tuple[Records, Setting, Latency]],
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """The same of settings that may be of several policies, each with its own rows and times; one row per run.

    ValueError: no run, runs that do not share their episodes.
    """
    solved = [successes(records, setting) for records, setting, _ in runs.values()]
    if not solved or any(len(one.index.symmetric_difference(solved[0].index)) for one in solved):
        raise ValueError("a frontier has runs, all on the same episodes")
    index = solved[0].index
    draws = weights(index, resamples, seed)
    won, ms, steps = (
        draws @ np.stack([column.reindex(index).to_numpy(float) for column in columns], axis=1)
        for columns in (
            solved,
            [episodes_ms(setting, records, times) for records, setting, times in runs.values()],
            [
                of_setting(records.episodes, setting).set_index(EPISODE)["steps"]
                for records, setting, _ in runs.values()
            ],
        )
    )
    price, members = ms / steps, pareto(ms / steps, won)
    bounds = np.quantile(price[1:], [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    rows = [
        {
            "ms_step": Interval(price[0, i], *bounds[:, i].tolist(), confidence, "stratified percentile"),
            "success": rate_interval(int(solved[i].sum()), len(index), confidence=confidence),
            "pareto": bool(members[0, i]),
            "chance": float(members[1:, i].mean()),
        }
        for i in range(len(runs))
    ]
    table = pd.DataFrame(rows, pd.Index([*runs], name="setting", tupleize_cols=False))
    return table.iloc[np.argsort(price[0], kind="stable")]


def pareto(
    price: Float[np.ndarray, "draws settings"], success: Float[np.ndarray, "draws settings"]
) -> Bool[np.ndarray, "draws settings"]:
    """Which settings no other beats, in each draw."""
    beaten = np.zeros(price.shape, bool)
    for one in range(price.shape[1]):
        cheaper, better = price[:, [one]] - price, success[:, [one]] - success
        beaten |= (cheaper <= 0) & (better >= 0) & ((cheaper < 0) | (better > 0))
    return ~beaten


def within_margin(
    records: Mapping[str, Records],
    settings: Sequence[Setting],
    control: Setting,
    times: Mapping[str, Latency],
    margin: float = BUY,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """One row per setting, the cheapest first: does it lose less than `margin` to no reuse (`control`) in every suite?

    `records` by suite, `times` by machine. Columns, in two levels: (suite, `difference`), the paired Interval, and
    (suite, `loss`), its verdict by `margins.loss`; (machine, `of_control`), cost per control step over the control's,
    the mean of the suites; ("all", `inside`), whether the verdict is *inside* in every suite. Cost is ranked by the
    first machine. The choice among many settings favours lucky ones: it is to be confirmed on other episodes.
    ValueError as in `summary.difference` and `cost.cost`.
    """
    rows = {}
    for setting in settings:
        row = {}
        for suite, found in records.items():
            row[suite, "difference"] = lost = difference(found, setting, control, confidence)
            row[suite, "loss"] = loss(lost, margin)
        for machine, one in times.items():
            ratios = [cost(setting, found, one) / cost(control, found, one) for found in records.values()]
            row[machine, "of_control"] = float(np.mean(ratios))
        row["all", "inside"] = all(row[suite, "loss"] == INSIDE for suite in records)
        rows[setting] = row
    table = pd.DataFrame([*rows.values()], pd.Index(rows, name="setting", tupleize_cols=False))
    table.columns = pd.MultiIndex.from_tuples(table.columns)
    return table.sort_values((next(iter(times)), "of_control"), kind="stable")


def cheapest(bought: pd.DataFrame) -> Setting | None:
    """The cheapest setting of `within_margin` that is inside in every suite; None where there is none."""
    inside = bought.index[bought["all", "inside"].astype(bool)]
    return inside[0] if len(inside) else None
