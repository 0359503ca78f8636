"""What a faster program saves, without reuse: out of `recorded`, one row a program (`ways`)."""

import json
from pathlib import Path

import pandas as pd

from kvlab.bench import peers
from kvlab.paths import DATA

ENGINE, ONE_GRAPH, COMPILED, EAGER = "engine", "eager, one CUDA graph", "compiled, one CUDA graph", "eager"


def recorded(folder: Path = DATA / "latency") -> pd.DataFrame:
    """`peers.implementations` of `gpu_base`, each with the `date` of its run; LeRobot is named with its version.

    LeRobot's times are of `gpu_lerobot.json`, unless the run of `gpu_base` had LeRobot too.
    """
    theirs, facts = (json.loads((folder / f"gpu_{name}.json").read_text()) for name in ("lerobot", "base"))
    theirs |= facts if "lerobot" in facts else {}
    samples, machines = (pd.read_csv(folder / f"gpu_base{kind}.csv") for kind in ("", "_machines"))
    ways = peers.implementations(samples, theirs, machines)
    is_theirs = ways.index.str.startswith("LeRobot")
    named = ways.index.str.replace("LeRobot", f"LeRobot {theirs['lerobot']}")
    dates = pd.Series(is_theirs, ways.index).map({True: theirs["date"][:10], False: facts["date"][:10]})
    return ways.assign(date=dates).set_axis(named)


def finding(ways: pd.DataFrame) -> str:
    """The engine first against what a user would do, then against what the processor bounds."""
    ms, lead = ways["ms"], "How the policy is run may matter more than what it keeps"
    said = [f"A full-size Pi0 (random weights) without reuse takes {ms[ENGINE]:.1f} ms by the engine on one H100."]
    if ONE_GRAPH in ms:
        lead = "Run the policy by a faster program first"
        compiled = f", and compiled by torch.compile as well {ms[COMPILED]:.1f} ms" if COMPILED in ms else ""
        said.append(
            f"PyTorch as it comes (eager), with one call that starts all its kernels (a CUDA graph), takes "
            f"{ms[ONE_GRAPH]:.1f} ms{compiled}, in the same run."
        )
    said += [f"{name} takes {ms[name]:.0f} ms." for name in ways.index if name.startswith("LeRobot") and _fast(name)]
    if slow := [f"{name} {spread(ways.loc[name])}" for name in ways.index if not _fast(name)]:
        said.append(f"Where the processor starts every kernel, the time is the processor's: {'; '.join(slow)}.")
    if ONE_GRAPH not in ms:
        said.append("What torch.compile alone gives, or a CUDA graph (one call starts all kernels), was not measured.")
    return f"**{lead}.** {' '.join(said)}"


def table(ways: pd.DataFrame) -> pd.DataFrame:
    """`recorded` for readers."""
    shown = {
        "ms": ways.ms.map("{:.1f}".format),
        "from": ways.low.map("{:.1f}".format),
        "to": ways.high.map("{:.1f}".format),
        "runs": ways.of,
        "date": ways.date,
    }
    return pd.DataFrame(shown).rename_axis(index=None, columns="program")


def spread(way: pd.Series) -> str:
    """From the least to the largest time of a program, and of what: `113 to 138 ms (the medians of 3 runs)`."""
    if way.low == way.high:
        return f"{way.low:.0f} ms (the median of another run)"
    where = f"the medians of {way.of:.0f} runs" if way.of > 1 else "5th to 95th percentile of one run"
    return f"{way.low:.0f} to {way.high:.0f} ms ({where})"


def _fast(name: str) -> bool:
    """Whether kernels are started otherwise than one by one by the processor."""
    return name != EAGER and not name.endswith(", not compiled")
