"""What *Inside the engine* says of episodes whose policy ran on a GPU, beside the same on the CPU."""

from itertools import combinations
from math import ceil

import pandas as pd

from kvlab.book import text
from kvlab.evidence import margins, wording
from kvlab.evidence.stats import pair, paired_difference
from kvlab.study.records import EPISODE

PROGRAMS = {
    "cpu": "on a CPU",
    "cuda": "eagerly on a GPU",
    "engine": "by the engine",
    "engine-fp8": "by the engine in eight bits",
}
EIGHT = "engine-fp8"
Found = dict[str, dict[str, pd.Series]]  # success by the episode, by suite and device


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
    """What the devices' successes are, a sentence a suite, and how far apart they may be."""
    said, apart, excluded, close = [], 0.0, 0.0, True
    for suite, devices in found.items():
        (first, won), *others = devices.items()
        each = [f"{won.sum()} succeed {PROGRAMS[first]}", *(f"{won.sum()} {PROGRAMS[one]}" for one, won in others)]
        said.append(f"of {len(won)} episodes of `{suite}`, {text.listed(each)}")
        for one, other in combinations(devices.values(), 2):
            difference = paired_difference(pair(other, one), confidence)
            apart = max(apart, abs(difference.estimate))
            excluded = max(excluded, abs(difference.low), abs(difference.high))
            close &= margins.apart(difference, margins.BUY) == margins.INSIDE
    five = "" if close else f"; one of {100 * margins.BUY:.0f} points is not"
    return (
        f"**In closed loop no two programs are more than {100 * apart:.0f} points apart.** By the small policy of each "
        f"suite, {'; '.join(said)}. Differences of over {ceil(100 * excluded)} points are excluded{five}."
    )


def eight(found: Found, confidence: float) -> str:
    """How the engine in eight bits succeeds, compared with the engine and the eager model, as far as it is recorded."""
    there = {suite: devices for suite, devices in found.items() if EIGHT in devices}
    if not there:
        return "What eight bits do to success in closed loop is not recorded."
    said = []
    for suite, devices in there.items():
        won = devices[EIGHT]
        others = [other for other in ("engine", "cuda") if other in devices]
        each = [f"{devices[other].sum()} {PROGRAMS[other]}" for other in others]
        same = [_compared(won, devices[other], PROGRAMS[other], confidence) for other in others]
        which = text.listed([f"{won.sum()} succeed {PROGRAMS[EIGHT]}", *each])
        said.append(" ".join([f"Of {len(won)} episodes of `{suite}`, {which}.", *same]))
    lacking = text.listed([f"`{suite}`" for suite in found if suite not in there])
    rest = "" if len(there) == len(found) else f" In {lacking} it is not recorded."
    return f"In closed loop, by the small policies: {' '.join(said)}{rest}"


def _compared(won: pd.Series, other: pd.Series, program: str, confidence: float) -> str:
    difference = paired_difference(pair(won, other), confidence)
    words = margins.apart_words(difference, margins.BUY)
    return f"In eight bits that is {text.difference(difference, program)}: {words}."


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
                    "difference, points": wording.points(paired_difference(pairs, confidence), margins.MARGIN),
                    "only the first succeeds": pairs.setting_only,
                    "only the second": pairs.control_only,
                    "episodes": pairs.n,
                }
            )
    return pd.DataFrame(rows).set_index("suite").rename_axis(index=None, columns="suite")
