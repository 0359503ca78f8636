"""Recorded episodes run again, now or on another machine, and laid beside what was recorded."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from kvlab.sim.workers import by_task
from kvlab.study.records import EPISODE, SETTING
from kvlab.study.settings import Setting
from kvlab.study.study import Study
from kvlab.study.trial import run_trial


def run_again(study: Study, trials: Sequence[tuple[int, int]], workers: int = 2) -> pd.DataFrame:
    """Run every setting of the study on these (task, initial state) again, without writing; one row per episode.

    `success`, `steps` and `replans` as "recorded / now" where they differ; `decisions`: replans whose decision came out
    as recorded, of all; `action_difference`: the largest difference of any replan's first action, as far as both go;
    `agrees`: outcome and decisions are equal, and no error of the simulator's; `machine`: what differs between the
    machines, empty if nothing. Raises ValueError where an episode was not recorded, or where none is named.
    """
    recorded = study.recorded()
    if not trials:
        raise ValueError("no episode is named that could be run again")
    for setting, found in recorded.items():  # said before any is run
        if lacking := [trial for trial in trials if trial not in found]:
            raise ValueError(
                f"task {lacking[0][0]}, initial state {lacking[0][1]} of `{setting}` is not recorded; run the study"
            )
    jobs = [
        (t, (study.checkpoint, study.protocol, t, s, study.seed, tuple(enumerate(study.settings)))) for t, s in trials
    ]
    rows = []
    for trial in by_task(run_trial, jobs, workers, "run again", "episode", numerics=study.protocol.numerics):
        for setting, now in trial:
            rows.append(beside(setting, recorded[setting][now["task"], now["initial_state"]], now))
    return pd.DataFrame(rows).sort_values(["task", "initial_state", "setting"], ignore_index=True)


def beside(setting: Setting, then: dict, now: dict) -> dict:
    """One row of `run_again`: a recorded episode and the same one now, both as rows of a cell."""
    old, new = then["replan_rows"], now["replan_rows"]
    pairs = list(zip(old, new, strict=False))
    same = sum(a["reused"] == b["reused"] for a, b in pairs)
    apart = max((np.abs(np.subtract(a["first_action"], b["first_action"])).max() for a, b in pairs), default=np.nan)
    outcome = {c: then[c] if then[c] == now[c] else f"{then[c]} / {now[c]}" for c in ("success", "steps", "replans")}
    agrees = now["error"] is None and all(then[c] == now[c] for c in outcome) and same == len(old)
    facts = zip(then["machine"].split("; "), now["machine"].split("; "), strict=True)
    return {
        "setting": str(setting),
        "task": now["task"],
        "initial_state": now["initial_state"],
        **outcome,
        "decisions": f"{same} of {len(old)}",
        "action_difference": apart,
        "agrees": agrees,
        "machine": ", ".join(f"{a} / {b}" for a, b in facts if a != b),
        "error": now["error"] or "",
    }


def on_another_machine(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """Episodes of `records.all_episodes` that two machines recorded, counted by suite and setting.

    A machine is a processor with what draws and what computes on it, as its rows name it. `episodes`, and how many of
    them the `first` and the `second` solved; `only first` and `only second`, those that the other one did not; `same
    steps`, those that took as many control steps on both. Without a row where there are none.
    """
    both = first.merge(second, on=[*EPISODE, *SETTING], suffixes=("", "_second"))
    both = both[(both.machine != both.machine_second) & both.error.isna() & both.error_second.isna()]
    one, other = both.success.astype(bool), both.success_second.astype(bool)
    counted = {
        "episodes": True,
        "first": one,
        "second": other,
        "only first": one & ~other,
        "only second": other & ~one,
        "same steps": both.steps == both.steps_second,
    }
    by = ["suite", *SETTING]
    return both[by].assign(**counted).groupby(by, sort=False).sum()
