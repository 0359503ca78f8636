"""How long a replan takes on a stated machine, in any setting: the medians by stage of `data/latency`, added up."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kvlab.paths import DATA
from kvlab.reuse import Gate, parse_gate, parse_mode
from kvlab.reuse.modes import CHUNKS, Mode
from kvlab.study.settings import Setting

if TYPE_CHECKING:  # workers, which ask for no times, start without it
    import pandas as pd

MEASURED_STEPS = 10  # denoising steps of the recorded times, but for those whose setting says another number
ALLOWED = "pixels >= -1"  # the gate of the timed modes: it always allows reuse, and needs no image encoder
VERIFIED = "full when verify <= 1000"  # likewise: what asking the expert takes is in its gate's time
STAGES = ["gate", "vision", "prefill", "denoise"]
OTHERS = DATA / "latency" / "checkpoints.csv"  # other policies, each beside the recorded one of its suite
# name: (how a sentence calls it, tables in data/latency); of a later table counts what the ones before it lack
MACHINES = {
    "cpu": ("`mini` on two CPU cores", ("inference", "second/inference")),
    "h100": ("`base` on one H100", ("gpu_base",)),
}


@dataclass(frozen=True)
class Latency:
    """Median ms of each stage (columns `STAGES`) on one machine, by the setting (text) that was timed."""

    name: str
    stages: "pd.DataFrame"

    def replan_ms(self, setting: Setting, allowed: bool) -> float:
        """Milliseconds of one replan at which the setting's gate allowed reuse, or refused it.

        Stages add up: the gate's own signals, the image encoder unless everything it serves is kept and no signal needs
        it, the prefill of the mode, and the denoising of no reuse. Where no replan of so many steps was timed, that is
        in proportion to `MEASURED_STEPS`. Single tokens that are kept take what VLA-Cache's do, whatever the rule by
        which they are chosen.
        ValueError: a mode or a gate of which there is no time.
        """
        return self._at(setting.denoising_steps or MEASURED_STEPS)._added(setting, allowed)

    @property
    def timed_steps(self) -> list[int]:
        """The numbers of denoising steps besides `MEASURED_STEPS` of which replans were timed, the largest first."""
        steps = self.stages.index.str.extract(r"^none steps=(\d+)$", expand=False).dropna()
        return sorted(map(int, steps), reverse=True)

    def _at(self, steps: int) -> "Latency":
        """The times of replans of so many steps, by the setting without its steps."""
        if steps in self.timed_steps:
            ending = f" steps={steps}"
            timed = self.stages[self.stages.index.str.endswith(ending)]
            return Latency(self.name, timed.rename(lambda text: text.removesuffix(ending)))
        own = self.stages[~self.stages.index.str.contains(" steps=", regex=False)]
        return Latency(self.name, own.assign(denoise=own["denoise"] * steps / MEASURED_STEPS))

    def _added(self, setting: Setting, allowed: bool) -> float:
        """The stages of a replan, added, where all of these times are of the setting's number of steps."""
        mode, gate, steps = parse_mode(setting.mode), parse_gate(setting.gate), setting.denoising_steps
        if "spread" in gate.phases:
            raise ValueError(f"`{setting}` denoises further chunks to measure their spread, of which there is no time")
        looks = any(signal.startswith("vision") for signal in gate.reads)
        gate_ms, none = self._gate(gate, steps or MEASURED_STEPS), self.stages.loc["none"]
        if mode.name in CHUNKS and allowed:
            return (gate_ms if gate.reads else 0.0) + (none["vision"] if looks else 0.0)
        row = self._mode(mode) if allowed else none
        vision = max(row["vision"], none["vision"] if looks else 0.0)
        return float(gate_ms + vision + row["prefill"] + none["denoise"])

    def _gate(self, gate: Gate, steps: int) -> float:
        """What preparing the inputs and computing the signals takes."""
        signals = {signal.split("_")[0] for signal in gate.reads} - {"settled", "distance"}  # known without a look
        if "verify" in signals:
            if VERIFIED in self.stages.index:
                return self.stages.loc[VERIFIED, "gate"]
            # Until it is timed: the state token and one look of the expert.
            look = self._mode(parse_mode("prefix"))["prefill"] + self.stages.loc["none", "denoise"] / steps
            return self.stages.loc["none", "gate"] + look
        timed = "full when vision >= -1" if "vision" in signals else f"full when {ALLOWED}" if signals else "none"
        return self.stages.loc[timed, "gate"]

    def _mode(self, mode: Mode) -> "pd.Series":
        """The stages of a replan that reuses by this mode behind a gate that needs no image encoder."""
        if mode.name == "none" or (mode.splice and not mode.selection):  # all is computed, then slices are overwritten
            return self.stages.loc["none"]
        timed = {}
        for text in self.stages.index:
            name, _, gate = text.partition(" when ")
            if gate == ALLOWED and (one := parse_mode(name)).splice <= bool(one.selection):
                timed[_kind(one)] = text
        if _kind(mode) not in timed:
            raise ValueError(f"no time of the mode `{mode}` on {self.name}; timed are {', '.join(timed)}")
        return self.stages.loc[timed[_kind(mode)]]


def _kind(mode: Mode) -> str:
    """Modes of one kind take as long: those of single tokens by their way, and whether there is a schedule."""
    if mode.selection is None:
        return mode.name
    scheduled = mode.selection.way != "skip" or mode.selection.start is None
    return f"tokens{'' if scheduled else '[k:]'}:{mode.selection.way}"


def latency(machine: str) -> Latency:
    """The recorded times of one of MACHINES, or those of a table that `kvlab bench --out` wrote (a path, `*.csv`; of a
    GPU, the engine's). Replans of fewer denoising steps are in the table `*_steps.csv` beside it, where there is one.
    ValueError: another name; OSError: no such table.
    """
    if machine.endswith(".csv"):
        name, paths = f"`{Path(machine).name}`", [Path(machine)]
    elif machine in MACHINES:
        name, tables = MACHINES[machine]
        paths = [DATA / "latency" / f"{table}.csv" for table in tables]
    else:
        raise ValueError(
            f"no machine is called {machine!r}; times are recorded of {', '.join(MACHINES)}, and a table that `kvlab "
            "bench --out` wrote is named by its path"
        )
    first, *further = map(_with_fewer_steps, paths)
    for other in further:
        first = _joined(first, other)
    return Latency(name, first)


def of_checkpoints(base: Latency, path: Path = OTHERS) -> dict[tuple[str, str], Latency]:
    """Times without reuse, by suite and policy, of those that `kvlab.bench.checkpoints` measured; none without a table.

    Each stage takes as many times as long as in `base`, those of the first policy of its suite in the table, as it did
    beside that policy.
    """
    import pandas as pd

    if not path.is_file():
        return {}
    measured = pd.read_csv(path).set_index(["suite", "policy"])
    stages = measured[[f"ms_{stage}" for stage in STAGES]].set_axis(STAGES, axis=1)
    ratios = stages / stages.groupby(level="suite").transform("first")
    return {key: Latency(base.name, base.stages.loc[["none"]] * ratios.loc[[key]].to_numpy()) for key in ratios.index}


def _joined(first: "pd.DataFrame", other: "pd.DataFrame") -> "pd.DataFrame":
    """The first, and of the other what it lacks, in proportion to what no reuse took in both."""
    import pandas as pd

    faster = first.loc["none"].sum() / other.loc["none"].sum()
    return pd.concat([first, faster * other.loc[other.index.difference(first.index, sort=False)]])


def _with_fewer_steps(path: Path) -> "pd.DataFrame":
    """The table at `path`, and what was timed at fewer steps, as it was measured."""
    import pandas as pd

    fewer = path.with_name(f"{path.stem}_steps.csv")
    return pd.concat([_stages(path), _stages(fewer)]) if fewer.exists() else _stages(path)


def _stages(path: Path) -> "pd.DataFrame":
    """Medians by setting and stage. ValueError: another table."""
    import pandas as pd

    samples = pd.read_csv(path)
    if "implementation" in samples:
        samples = samples[samples["implementation"] == "engine"]
    if lacking := {"setting", *(f"ms_{stage}" for stage in STAGES)}.difference(samples):
        raise ValueError(f"{path} is no table of `kvlab bench --out`: it lacks {', '.join(sorted(lacking))}")
    stages = samples.groupby("setting")[[f"ms_{stage}" for stage in STAGES]].median()
    return stages.set_axis(STAGES, axis=1)
