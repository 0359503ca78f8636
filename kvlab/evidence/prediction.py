"""How often a gate that was never run would reuse, from the signals that other settings recorded.

Closed loop sets the limit of all of these: what a gate does changes what there is to see.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from kvlab.evidence.rows import check_shared, of_setting
from kvlab.evidence.share import allowed_share, reuse_interval
from kvlab.evidence.stats.checks import check_open_unit
from kvlab.reuse import Gate, parse_gate
from kvlab.reuse.gates import SIMILARITIES
from kvlab.reuse.phase import PHASES
from kvlab.study.records import EPISODE, Records
from kvlab.study.settings import Setting


def from_control(records: Records, control: Setting, gate: str) -> float:
    """Reuse rate of `gate` from the control's replans alone, in [0, 1]: each as likely to reuse as they are to open it.

    In the control the anchor is always one replan old. So an anchor is taken to stay as good as it was, and the robot
    to move as it does without reuse; an age limit is counted with.
    """
    rule = parse_gate(gate)
    opens = float(np.mean([rule.opens(row | {"age": 1}) for row in _log(records, control)]))
    limits = [term.bound for term in rule.terms if term.signal == "age"]
    if not limits:
        return opens
    kept = sum(opens**age for age in range(1, int(min(limits))))
    return kept / (1 + kept)


def threshold(records: Records, control: Setting, share: float, signal: str = "vision_anchor") -> float:
    """The threshold of `signal` that `share` of the control's replans reach, in (0, 1): what `from_control` turned
    round. The first replan of an episode, which has nothing to be similar to, reaches none.

    ValueError: a share outside (0, 1), or one that more replans would have to reach than have the signal.
    """
    values = of_setting(records.replans, control)[signal].sort_values(ascending=False, na_position="last").to_numpy()
    reached = values[max(round(check_open_unit("share", share) * len(values)), 1) - 1]
    if np.isnan(reached):
        raise ValueError(f"no threshold is reached by {share:.0%} of replans: the first of an episode has no signal")
    return float(reached)


def from_looser(records: Records, setting: Setting, gate: str) -> float:
    """Reuse rate of `gate` replayed on the rows of a setting that opens whenever it does, in [0, 1].

    After each computed replan the setting kept its cache for a while and logged how far the view moved from it. `gate`
    would have kept the same cache for the first of these replans, until it first closes. Each cache is taken to be one
    that it would have computed too, so that the rate is kept over kept and computed (renewal reward: Ross, Stochastic
    Processes, 1996, section 3.6). For the setting's own gate it is the recorded rate.

    ValueError: `gate` would have kept a cache that the setting did not keep, so that what came then is not recorded.
    """
    rate = _replayed(_log(records, setting), parse_gate(gate))
    if rate is None:
        raise ValueError(
            f"`{setting}` computed at replans at which `{gate}` would still reuse; replay it on a looser setting"
        )
    return rate


def _log(records: Records, setting: Setting) -> list[dict]:
    """What a gate reads and what became of it, replan after replan, episode after episode."""
    rows = of_setting(records.replans, setting).sort_values([*EPISODE, "replan"])
    return rows[[*SIMILARITIES, *PHASES, "replan", "reused"]].to_dict("records")


def _replayed(log: list[dict], gate: Gate) -> float | None:
    kept, computed, age, held = 0, 0, 0, False
    for row in log:
        held = held and row["replan"] > 0 and gate.opens(row | {"age": age + 1})
        if row["reused"]:
            kept, age = kept + held, age + 1
        elif held:
            return None
        else:
            computed, age, held = computed + 1, 0, True
    return kept / (kept + computed)


def leave_one_out(records: Records, settings: Sequence[Setting], control: Setting) -> pd.DataFrame:
    """Each setting's measured reuse rate beside what the rows of the control and of the other settings predict.

    Index: the settings. Columns, rates in [0, 1]: `measured`, an Interval; `control`, by `from_control`; `looser`, by
    `from_looser` on that other setting which can be replayed and reuses least; `source`, that setting. The last two are
    missing where no other setting can be replayed. ValueError: no settings, or settings that do not share their
    episodes.
    """
    check_shared(records, [*settings, control] if settings else settings)
    logs = {
        setting: _log(records, setting)
        for setting in sorted(settings, key=lambda setting: allowed_share(records, setting))
    }
    rows = []
    for setting in settings:
        gate = parse_gate(setting.gate)
        replays = ((source, _replayed(log, gate)) for source, log in logs.items() if source != setting)
        source, rate = next(((s, rate) for s, rate in replays if rate is not None), (None, np.nan))
        row = {
            "setting": setting,
            "measured": reuse_interval(records, setting),
            "control": from_control(records, control, setting.gate),
        }
        rows.append(row | {"looser": rate, "source": source})
    return pd.DataFrame(rows).set_index("setting")
