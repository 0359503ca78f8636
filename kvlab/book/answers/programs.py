"""What a faster program saves, without reuse: out of `recorded`, one row a program (`ways`)."""

import json
from pathlib import Path

import pandas as pd

from kvlab.bench import peers
from kvlab.paths import DATA

ENGINE, COMPILED, EAGER = "engine", "compiled, one CUDA graph", "eager"


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
    others = " (compiled in one CUDA graph it was not measured)"
    if COMPILED in ms:
        lead = "Run the policy by a faster program first"
        others = f" and {ms[COMPILED]:.1f} ms {COMPILED.replace(',', ' in')}"
    return (
        f"**{lead}.** On one H100 a full-size Pi0 without reuse takes {ms[ENGINE]:.1f} ms by the engine{others}. "
        f"Where the processor starts every kernel (eager) it takes {spread(ways.loc[EAGER])}."
    )


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
