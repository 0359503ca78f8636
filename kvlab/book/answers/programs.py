"""What a faster program saves, without reuse: out of `peers.implementations` (`ways`) and LeRobot's version."""

import pandas as pd

ENGINE, ONE_GRAPH, COMPILED = "engine", "eager, one CUDA graph", "compiled, one CUDA graph"
LEROBOT = ("LeRobot, compiled", "LeRobot, not compiled")


def finding(ways: pd.DataFrame, version: str) -> str:
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
    if LEROBOT[0] in ms:
        said.append(f"LeRobot {version}, compiled, takes {ms[LEROBOT[0]]:.0f} ms.")
    slow = [f"{_named(name, version)} {_range(ways.loc[name])}" for name in ("eager", LEROBOT[1]) if name in ways.index]
    if slow:
        said.append(f"Where the processor starts every kernel, the time is the processor's: {'; '.join(slow)}.")
    if ONE_GRAPH not in ms:
        said.append("What torch.compile alone gives, or a CUDA graph (one call starts all kernels), was not measured.")
    return f"**{lead}.** {' '.join(said)}"


def table(ways: pd.DataFrame, version: str) -> pd.DataFrame:
    """`peers.implementations` for readers."""
    shown = {
        "ms": ways.ms.map("{:.1f}".format),
        "from": ways.low.map("{:.1f}".format),
        "to": ways.high.map("{:.1f}".format),
        "machines": ways.of,
    }
    named = [_named(name, version) for name in ways.index]
    return pd.DataFrame(shown).set_axis(named).rename_axis(index=None, columns="program")


def _range(way: pd.Series) -> str:
    if way.low == way.high:
        return f"{way.low:.0f} ms (the median on another machine)"
    where = f"the medians of {way.of:.0f} machines" if way.of > 1 else "5th to 95th percentile of one run"
    return f"{way.low:.0f} to {way.high:.0f} ms ({where})"


def _named(name: str, version: str) -> str:
    return name.replace("LeRobot", f"LeRobot {version}".strip())
