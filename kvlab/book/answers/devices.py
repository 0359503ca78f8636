"""What *Inside the engine* says of episodes whose policy ran on a GPU, beside the same on the CPU."""

from itertools import combinations
from math import ceil

import pandas as pd

from kvlab.book import text
from kvlab.evidence import margins, wording
from kvlab.evidence.stats import Interval, pair, paired_difference
from kvlab.paths import CHECKPOINTS, DATA
from kvlab.pi0.checkpoint import checkpoint_digest
from kvlab.study.recordings import all_episodes
from kvlab.study.records import EPISODE

PROGRAMS = {
    "cpu": "on a CPU",
    "cuda": "eagerly on a GPU",
    "engine": "by the engine",
    "engine-fp8": "by the engine in eight bits",
}
Found = dict[str, dict[str, pd.Series]]  # success by the episode, by suite and device


def on_gpu() -> Found:
    """`no_reuse` of the recorded episodes whose policy ran on a GPU."""
    digests = {suite: checkpoint_digest(path) for suite, path in CHECKPOINTS.items()}
    return no_reuse(all_episodes(DATA / "devices"), digests)


def engine_loss(found: Found, confidence: float = 0.95) -> str:
    """Whether the engine may lose `margins.BUY` to the eager model on the same GPU, in a clause: `a loss of 5 points is
    not excluded`.
    """
    lost = {
        suite: paired_difference(pair(devices["engine"], devices["cuda"]), confidence)
        for suite, devices in found.items()
        if {"engine", "cuda"} <= devices.keys()
    }
    five = f"a loss of {100 * margins.BUY:.0f} points"
    if shown := [f"`{suite}`" for suite, one in lost.items() if one.high < 0]:
        return f"a loss is shown in {text.listed(shown)}"
    verdicts = {margins.loss(one, margins.BUY) for one in lost.values()}
    return f"{five} is excluded" if verdicts == {margins.INSIDE} else f"{five} is not excluded"


def no_reuse(episodes: pd.DataFrame, checkpoints: dict[str, str]) -> Found:
    """Success of the episodes without reuse that all devices ran, by suite and device, indexed by the episode.

    `episodes` is of `recordings.all_episodes`, `checkpoints` the digest of each suite's policy. A device with fewer
    episodes than another GPU program is still being recorded, and is left out.
    """
    plain = episodes["mode"].eq("none") & episodes["seeing"].eq("live") & episodes["delays"].eq("")
    plain &= episodes[["denoising_steps", "execute", "error"]].isna().all(axis=1)
    plain &= episodes["checkpoint"].eq(episodes["suite"].map(checkpoints))
    found = {}
    for suite, rows in episodes[plain].groupby("suite", sort=False):
        table = rows.set_index([*EPISODE, "device"])["success"].unstack()
        ran = table.drop(columns="cpu", errors="ignore").count()
        table = table.drop(columns=ran.index[ran < ran.max()]).dropna()
        found[suite] = {device: table[device].astype(bool) for device in PROGRAMS if device in table}
    return found


def finding(found: Found, confidence: float) -> str:
    """How far apart two programs may be, by how many episodes."""
    differences = [
        paired_difference(pair(b, a), confidence)
        for devices in found.values()
        for a, b in combinations(devices.values(), 2)
    ]
    many = sorted({len(won) for devices in found.values() for won in devices.values()})
    return (
        f"**In closed loop {_apart(differences)}.** Each ran {text.listed(many, 'or')} episodes of a suite without "
        "reuse, by its small policy."
    )


def _apart(differences: list[Interval]) -> str:
    """How many pairs of programs are shown to differ, and how large a difference all of them exclude."""
    excluded = max(max(-one.low, one.high) for one in differences)
    shown, pairs = sum(0 not in one for one in differences), text.count(len(differences), "pair")
    lead = f"{shown} of {pairs} of programs {'differs' if shown == 1 else 'differ'}" if shown else ""
    close = sum(margins.apart(one, margins.BUY) == margins.INSIDE for one in differences)
    five = "" if close == len(differences) else f", one of {100 * margins.BUY:.0f} in {close or 'none'} of {pairs}"
    return (
        f"{lead or 'no two programs are shown to differ'}: differences of over {ceil(100 * excluded)} points are "
        f"excluded{five}"
    )


def table(found: Found, confidence: float) -> pd.DataFrame:
    """Each two programs on the same episodes: the difference in points with its interval, and how many pairs differ."""
    rows = []
    for suite, devices in found.items():
        for other, one in combinations(devices, 2):
            pairs = pair(devices[one], devices[other])
            rows.append(
                {
                    "suite": suite,
                    "program": PROGRAMS[one],
                    "compared with": PROGRAMS[other],
                    "successes": f"{devices[one].sum()} and {devices[other].sum()} of {pairs.n}",
                    "difference, points": wording.points(paired_difference(pairs, confidence), margins.MARGIN),
                    "only the first succeeds": pairs.setting_only,
                    "only the second": pairs.control_only,
                }
            )
    return pd.DataFrame(rows).set_index("suite").rename_axis(index=None, columns="suite")
