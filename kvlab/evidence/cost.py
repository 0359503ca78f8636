"""What a setting's inference costs: milliseconds per control step on a stated machine, at the share of reuse in use.

The times are medians by stage of `data/latency`, measured in one quiet process; how often each kind of replan occurs,
and how many control steps one serves, comes from the recorded episodes. So a setting that reuses every second replan is
charged for both, one that executes ten actions is charged half, and never is a reused replan alone called the saving.
"""

from collections.abc import Sequence

import pandas as pd

from kvlab.evidence.control_steps import mean_ratio
from kvlab.evidence.rows import check_shared, of_setting, successes
from kvlab.evidence.share import reuse_share
from kvlab.evidence.stats import Interval
from kvlab.study.records import EPISODE, Records
from kvlab.study.settings import Setting
from kvlab.study.times import Latency

CONTROL_STEP_MS = 50.0  # LIBERO's control runs at 20 Hz: what inference may take per control step, if it must keep up


def episodes_ms(setting: Setting, records: Records, times: Latency) -> pd.Series:
    """Milliseconds of inference in each episode of a setting, indexed by the episode."""
    rows = of_setting(records.episodes, setting).set_index(EPISODE)
    computed = times.replan_ms(setting, allowed=False)
    reused = times.replan_ms(setting, allowed=True) if rows["reused"].any() else computed
    return (rows["replans"] - rows["reused"]) * computed + rows["reused"] * reused


def cost(setting: Setting, records: Records, times: Latency) -> float:
    """Milliseconds of inference per control step: all of a setting's inference over all control steps of its episodes.

    An episode's last chunk counts in full although success may cut it short, as it was computed in full.
    """
    steps = of_setting(records.episodes, setting)["steps"].sum()
    return float(episodes_ms(setting, records, times).sum() / steps)


def inference_ratio(
    records: Records, setting: Setting, other: Setting, times: Latency, confidence: float = 0.95
) -> Interval | None:
    """How many times as much inference `setting` needs as `other` to solve an episode that both solve.

    What is saved per control step and what is lost by taking more of them, in one number, paired; as
    `control_steps.steps_ratio`, also in its errors.
    """
    check_shared(records, [setting, other])
    both = successes(records, setting) & successes(records, other)
    if both.sum() < 2:
        return None
    return mean_ratio((episodes_ms(setting, records, times) / episodes_ms(other, records, times))[both], confidence)


def savings(records: Records, settings: Sequence[Setting], control: Setting, times: Latency) -> pd.DataFrame:
    """One row per setting: what it saves of no reuse's (`control`) inference at the share of reuse that it has.

    `reuse`, the share of replans that reuse; `ms_replan` and `ms_step`, mean milliseconds per replan and per control
    step; `of_control`, the latter over the control's (1 is no saving); `of_budget`, over `CONTROL_STEP_MS`.
    ValueError: no settings, settings that do not share their episodes, one of which there is no time.
    """
    check_shared(records, [*settings, control] if settings else settings)
    reference, rows = cost(control, records, times), []
    for setting in settings:
        replans = of_setting(records.episodes, setting)["replans"].sum()
        row = {"setting": setting, "reuse": reuse_share(records, setting), "ms_step": cost(setting, records, times)}
        rows.append(row | {"ms_replan": episodes_ms(setting, records, times).sum() / replans})
    table = pd.DataFrame(rows).set_index("setting")
    return table.assign(of_control=table["ms_step"] / reference, of_budget=table["ms_step"] / CONTROL_STEP_MS)
