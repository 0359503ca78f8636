"""How long a replan takes on a stated machine, in any setting: the medians by stage of `data/latency`, added up."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kvlab.paths import DATA
from kvlab.reuse import Gate, parse_gate, parse_mode
from kvlab.reuse.modes import Mode
from kvlab.study.settings import Setting

if TYPE_CHECKING:  # workers, which ask for no times, start without it
    import pandas as pd

MEASURED_STEPS = 10  # denoising steps of the recorded times
ALLOWED = "pixels >= -1"  # the gate of the timed modes: it always allows reuse, and needs no image encoder
STAGES = ["gate", "vision", "prefill", "denoise"]
# name: (how a sentence calls it, table in data/latency)
MACHINES = {
    "cpu": ("`mini` on two CPU cores", "inference"),
    "h100": ("`base` on one H100", "gpu_base"),
}


@dataclass(frozen=True)
class Latency:
    """Median ms of each stage (columns `STAGES`) on one machine, by the setting (text) that was timed."""

    name: str
    stages: "pd.DataFrame"

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
        looks = any(signal.startswith("vision") for signal in gate.reads)
        gate_ms, none = self._gate(gate), self.stages.loc["none"]
        if "verify" in gate.reads:  # the state token and one look of the expert
            gate_ms += self._mode(parse_mode("prefix"))["prefill"] + none["denoise"] / MEASURED_STEPS
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

    def _mode(self, mode: Mode) -> "pd.Series":
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
    """The recorded times of one of MACHINES, or those of a table that `kvlab bench --out` wrote (a path, `*.csv`; of a
    GPU, the engine's). ValueError: another name; OSError: no such table.
    """
    if machine.endswith(".csv"):
        name, path = f"`{Path(machine).name}`", Path(machine)
    elif machine in MACHINES:
        name, path = MACHINES[machine][0], DATA / "latency" / f"{MACHINES[machine][1]}.csv"
    else:
        raise ValueError(
            f"no machine is called {machine!r}; times are recorded of {', '.join(MACHINES)}, and a table that `kvlab "
            "bench --out` wrote is named by its path"
        )
    import pandas as pd

    samples = pd.read_csv(path)
    if "implementation" in samples:
        samples = samples[samples["implementation"] == "engine"]
    if lacking := {"setting", *(f"ms_{stage}" for stage in STAGES)}.difference(samples):
        raise ValueError(f"{path} is no table of `kvlab bench --out`: it lacks {', '.join(sorted(lacking))}")
    stages = samples.groupby("setting")[[f"ms_{stage}" for stage in STAGES]].median()
    return Latency(name, stages.set_axis(STAGES, axis=1))
