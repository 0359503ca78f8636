"""What a setting's inference costs: milliseconds per control step on a stated machine, at the share of reuse in use.

The times are medians by stage of `data/latency`, measured in one quiet process; how often each kind of replan occurs,
and how many control steps one serves, comes from the recorded episodes. So a setting that reuses every second replan is
charged for both, one that executes ten actions is charged half, and never is a reused replan alone called the saving.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from kvlab.evidence.control_steps import mean_ratio
from kvlab.evidence.rows import check_shared, of_setting, successes
from kvlab.evidence.share import reuse_share
from kvlab.evidence.stats import Interval
from kvlab.paths import DATA
from kvlab.reuse import Gate, parse_gate, parse_mode
from kvlab.reuse.modes import Mode
from kvlab.study.records import EPISODE, Records
from kvlab.study.settings import Setting

CONTROL_STEP_MS = 50.0  # LIBERO's control runs at 20 Hz: what inference may take per control step, if it must keep up
MEASURED_STEPS = 10  # denoising steps of the recorded times
ALLOWED = "pixels >= -1"  # the gate of the timed modes: it always allows reuse, and needs no image encoder
STAGES = ["gate", "vision", "prefill", "denoise"]
# name: (how a sentence calls it, table in data/latency, implementation where the table holds several)
MACHINES = {
    "cpu": ("`mini` on two CPU cores", "inference", None),
    "h100": ("`base` on one H100", "gpu_base", "engine"),
}


@dataclass(frozen=True)
class Latency:
    """Median ms of each stage (columns `STAGES`) on one machine, by the setting (text) that was timed."""

    name: str
    stages: pd.DataFrame

    def replan_ms(self, setting: Setting, allowed: bool) -> float:
        """Milliseconds of one replan at which the setting's gate allowed reuse, or refused it.

        Stages add up: the gate's own signals, the image encoder unless everything it serves is kept and no signal needs
        it, the prefill of the mode, and the denoising steps in proportion to `MEASURED_STEPS`.
        ValueError: a mode or a gate of which there is no time.
        """
        mode, gate = parse_mode(setting.mode), parse_gate(setting.gate)
        steps = getattr(setting, "denoising_steps", None) or MEASURED_STEPS
        if "spread" in gate.phases:
            raise ValueError(f"`{setting}` denoises further chunks to measure their spread, of which there is no time")
        if mode.name == "none":
            gate = parse_gate("never")
        looks = any(signal.startswith("vision") for signal in gate.reads)
        gate_ms, none = self._gate(gate), self.stages.loc["none"]
        if mode.name == "chunk" and allowed:
            return (gate_ms if gate.reads else 0.0) + (none["vision"] if looks else 0.0)
        denoise = none["denoise"] * steps / MEASURED_STEPS
        row = self._mode(mode) if allowed else none
        vision = max(row["vision"], none["vision"] if looks else 0.0)
        return float(gate_ms + vision + row["prefill"] + denoise)

    def _gate(self, gate: Gate) -> float:
        """What preparing the inputs and computing the signals takes."""
        signals = {signal.split("_")[0] for signal in gate.reads}
        timed = "full when vision >= -1" if "vision" in signals else f"full when {ALLOWED}" if signals else "none"
        return self.stages.loc[timed, "gate"]

    def _mode(self, mode: Mode) -> pd.Series:
        """The stages of a replan that reuses by this mode behind a gate that needs no image encoder."""
        if mode.name == "none" or mode.splice:  # everything is computed, and slices are then overwritten
            return self.stages.loc["none"]
        timed = {}
        for text in self.stages.index:
            name, _, gate = text.partition(" when ")
            if gate == ALLOWED and not parse_mode(name).splice:
                timed[parse_mode(name).name] = text
        if mode.name not in timed:
            raise ValueError(f"no time of the mode `{mode}` on {self.name}; timed are {', '.join(timed)}")
        return self.stages.loc[timed[mode.name]]


def latency(machine: str) -> Latency:
    """The recorded times of `cpu` or `h100`. ValueError: another name."""
    if machine not in MACHINES:
        raise ValueError(f"no machine is called {machine!r}; times are recorded of {', '.join(MACHINES)}")
    name, table, implementation = MACHINES[machine]
    samples = pd.read_csv(DATA / "latency" / f"{table}.csv")
    if implementation:
        samples = samples[samples["implementation"] == implementation]
    stages = samples.groupby("setting")[[f"ms_{stage}" for stage in STAGES]].median()
    return Latency(name, stages.set_axis(STAGES, axis=1))


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


def lerobot(facts: Mapping[str, object]) -> pd.Series:
    """Median ms of a chunk by LeRobot's own model, out of the facts beside a table of GPU times.

    Indexed by a name that says whether it was compiled: `LeRobot 0.6.1, not compiled`. What was not measured is absent.
    """
    ways = {"lerobot": "not compiled", "lerobot_tf32": "not compiled, TF32", "lerobot_compiled": "compiled"}
    found = {way: facts.get(f"{key}_ms") for key, way in ways.items()}
    return pd.Series(
        {f"LeRobot {facts['lerobot']}, {way}": float(np.median(ms)) for way, ms in found.items() if ms}, dtype=float
    )


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
