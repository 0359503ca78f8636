"""What *Inside the engine* says of episodes whose policy ran on a GPU, beside the same on the CPU."""

from itertools import combinations

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


def no_reuse(episodes: pd.DataFrame, checkpoints: dict[str, str]) -> dict[str, dict[str, pd.Series]]:
    """Success of the episodes without reuse that all devices ran, by suite and device, indexed by the episode.

    `episodes` is of `recordings.all_episodes`, `checkpoints` the digest of each suite's policy.
    """
    plain = episodes["mode"].eq("none") & episodes["seeing"].eq("live") & episodes["delays"].eq("")
    plain &= episodes[["denoising_steps", "execute", "error"]].isna().all(axis=1)
    plain &= episodes["checkpoint"].eq(episodes["suite"].map(checkpoints))
    found = {}
    for suite, rows in episodes[plain].groupby("suite", sort=False):
        table = rows.set_index([*EPISODE, "device"])["success"].unstack().dropna()
        found[suite] = {device: table[device].astype(bool) for device in PROGRAMS if device in table}
    return found


def finding(found: dict[str, dict[str, pd.Series]]) -> str:
    """What the devices' successes are, a sentence a suite."""
    said, apart = [], 0.0
    for suite, devices in found.items():
        (first, won), *others = devices.items()
        each = [f"{won.sum()} succeed {PROGRAMS[first]}", *(f"{won.sum()} {PROGRAMS[one]}" for one, won in others)]
        said.append(f"Of {len(won)} episodes of `{suite}`, {text.listed(each)}.")
        apart = max(apart, *(abs(one.mean() - other.mean()) for one, other in combinations(devices.values(), 2)))
    near = f"No two of these are more than {100 * apart:.0f} points apart; intervals stand in the table."
    return f"{' '.join(said)} That is the small policy of each suite. {near}"


def table(found: dict[str, dict[str, pd.Series]], confidence: float) -> pd.DataFrame:
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
