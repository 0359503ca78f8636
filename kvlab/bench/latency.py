"""Latency of inference by stage: recorded observations replayed in one process, all settings taking turns."""

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.stats import bootstrap
from tqdm import tqdm

from kvlab.pi0 import Pi0Config, Policy
from kvlab.reuse import CachedPolicy, Replan
from kvlab.reuse.gates import REFERENCES, SIGNALS
from kvlab.study.settings import Setting

if TYPE_CHECKING:  # a GPU is measured where there is no simulator and no statistics, too
    from kvlab.evidence.stats import Interval
    from kvlab.study.observations import Episode

STAGES = ("gate", "vision", "prefill", "denoise", "total")
MOMENT = ["repeat", "episode", "replan"]  # what identifies an observation among the replays
CONTROL = Setting("none")
OPEN = "pixels >= -1"  # always open, and yet the frames are compared: what a gate on pixels costs is in the time
WATCHED = " & ".join(f"{signal}@{reference} >= 1" for signal in SIGNALS for reference in REFERENCES)
VERIFIED, SETTLED = "verify <= 1000", "settled <= 1000"  # always open
TOKENS = ("tokens:skip", "tokens[1:]:skip", "tokens:splice", "tokens:fuse")
QUIET = 0.5  # load average above which other work slows what is measured


def settings(config: Pi0Config) -> tuple[Setting, ...]:
    """The control; each mode with a gate that is always open; and two with a gate that stays shut.

    `full` when WATCHED computes every similarity, as a study logs them, and reuses nothing: what watching costs.
    `text_fixed` never computes the words again, even where its gate is shut. VERIFIED asks the expert at every replan,
    SETTLED what the chunk before has told already. Pi0.5 has no setting that names the state.
    """
    upper = f"layer_wise[{config.prefix.depth // 2}:]:skip"
    partial = ("prefix", "vision_only:skip", "vision_only:splice", "state_only:skip", upper, "text_fixed:skip")
    every = (
        CONTROL,
        Setting("full", OPEN),
        Setting("full", "vision >= -1"),
        Setting("full", VERIFIED),
        Setting("full", SETTLED),
        *(Setting(mode, OPEN) for mode in (*partial, *TOKENS)),
        Setting("text_fixed:skip", "never"),
        Setting("full", WATCHED),
    )
    return tuple(setting for setting in every if not (config.pi05 and "state" in str(setting)))


def replay(policy: Policy, episodes: Sequence["Episode"], settings: Sequence[Setting], repeats: int) -> pd.DataFrame:
    """One row per setting and moment, as `take_turns` gives them. Similarities that no gate reads are not computed."""
    execute = policy.conventions.execute
    return take_turns({str(s): s.on(policy, execute, log_signals=False) for s in settings}, episodes, repeats)


def take_turns(policies: dict[str, CachedPolicy], episodes: Sequence["Episode"], repeats: int) -> pd.DataFrame:
    """One row per policy and moment: setting (its name), `MOMENT`, reused, and ms_* by stage (milliseconds).

    At every moment all policies take their turn, each time with another one first, so that whatever else happens on the
    machine happens to all alike. Left out: a first pass over one episode, which warms up, and the first replan of
    every episode, at which there is nothing to reuse yet.
    """
    _pass(policies, episodes[0])
    rows = []
    with tqdm(total=repeats * len(episodes), desc="replaying", unit="episode") as bar:
        for repeat in range(repeats):
            for number, episode in enumerate(episodes):
                for setting, replan, made in _pass(policies, episode):
                    if replan > 0:
                        stages = {f"ms_{stage}": getattr(made, f"ms_{stage}") for stage in STAGES}
                        moment = {"repeat": repeat, "episode": number, "replan": replan}
                        rows.append({"setting": setting, **moment, "reused": made.reused, **stages})
                bar.update()
    return pd.DataFrame(rows)


def _pass(policies: dict[str, CachedPolicy], episode: "Episode") -> list[tuple[str, int, Replan]]:
    for policy in policies.values():
        policy.reset(episode.instruction, seed=(0,))
    turns, records = deque(policies), []
    for replan, seen in enumerate(episode.seen):
        made = {setting: policies[setting].act(seen.images, seen.state)[1] for setting in turns}
        records += [(setting, replan, made[setting]) for setting in policies]
        turns.rotate(1)
    return records


def by_stage(samples: pd.DataFrame) -> pd.DataFrame:
    """One row per setting of a replay: n, the p50 and p95 of every stage (ms), and `speedup`.

    `speedup` is the median, over moments, of the control's total time over the setting's at the same moment.
    """
    totals = samples.pivot(index=MOMENT, columns="setting", values="ms_total")
    rows = {}
    for setting, of_setting in samples.groupby("setting", sort=False):
        row = {"n": len(of_setting)}
        for stage in STAGES:
            row[f"{stage}_p50"], row[f"{stage}_p95"] = of_setting[f"ms_{stage}"].quantile([0.5, 0.95])
        rows[setting] = row | {"speedup": (totals[str(CONTROL)] / totals[setting]).median()}
    return pd.DataFrame.from_dict(rows, orient="index").astype({"n": int})


def ratio(samples: pd.DataFrame, setting: str, to: str = str(CONTROL), confidence: float = 0.95) -> "Interval":
    """How many times as long `setting` takes as `to`: the median over moments, paired, with a percentile bootstrap of
    them.

    ValueError where either setting is not among the samples.
    """
    from kvlab.evidence.stats import Interval

    totals = samples.pivot(index=MOMENT, columns="setting", values="ms_total")
    if missing := [name for name in (setting, to) if name not in totals]:
        raise ValueError(f"no setting {missing[0]!r} among those measured: {', '.join(totals)}")
    ratios = (totals[setting] / totals[to]).to_numpy()
    drawn = bootstrap(
        (ratios,), np.median, confidence_level=confidence, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    return Interval(float(np.median(ratios)), float(drawn.low), float(drawn.high), confidence, "percentile")


def without_reuse(policy: Policy) -> CachedPolicy:
    """A policy that computes all at every replan, and logs no similarities."""
    return CONTROL.on(policy, policy.conventions.execute, log_signals=False)


def compared(samples: pd.DataFrame, to: str) -> list[dict]:
    """One row per policy of `take_turns`: `setting` (its name), `n` moments, the median of each stage (ms), and `ratio`
    of total times to the policy `to`, with its interval (`low`, `high`).
    """
    rows = []
    for name, mine in samples.groupby("setting", sort=False):
        medians, found = mine[[f"ms_{stage}" for stage in STAGES]].median().to_dict(), ratio(samples, name, to)
        between = {"ratio": found.estimate, "low": found.low, "high": found.high}
        rows.append({"setting": name, "n": len(mine)} | medians | between)
    return rows


def table(summary: pd.DataFrame) -> str:
    """`by_stage` as text: p50 (p95) in milliseconds."""
    shown = pd.DataFrame(index=summary.index)
    for stage in STAGES:
        pairs = zip(summary[f"{stage}_p50"], summary[f"{stage}_p95"], strict=True)
        shown[stage] = [f"{p50:.1f} ({p95:.1f})" for p50, p95 in pairs]
    shown["speed-up"] = summary["speedup"].map("{:.2f}".format)
    shown["n"] = summary["n"]
    return f"p50 (p95) in ms\n{shown.to_string()}"
