"""Records small enough to count by hand and stage times that are easily added, for tests of the evidence."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from kvlab.evidence.stats import Interval
from kvlab.study.records import SETTING, Records
from kvlab.study.settings import Setting
from kvlab.study.times import STAGES, Latency

Episode = tuple[bool, int, Sequence[bool]]  # success, control steps, and of each replan whether it reuses


TIMES = Latency(
    "a machine",
    pd.DataFrame(
        {
            "none": [1, 10, 20, 40],
            "full when pixels >= -1": [2, 0, 0, 41],
            "full when vision >= -1": [3, 10, 0, 39],
            "prefix when pixels >= -1": [2, 0, 4, 40],
            "vision_only:splice when pixels >= -1": [2, 10, 20, 40],
        },
        index=STAGES,
    ).T,
)


def made(episodes: dict[Setting, Sequence[Episode]], suite: str = "libero_spatial") -> Records:
    """The n-th episode of every setting is task n mod 10, initial state n div 10."""
    rows, replans = [], []
    for setting, outcomes in episodes.items():
        for n, (success, steps, reuses) in enumerate(outcomes):
            who = {"suite": suite, "task": n % 10, "initial_state": n // 10, "seed": 0}
            who |= {name: getattr(setting, name) for name in SETTING}
            counts = {"steps": steps, "replans": len(reuses), "reused": sum(reuses)}
            rows.append(who | counts | {"success": success, "error": None})
            age = 0
            for k, reused in enumerate(reuses):
                age = age + 1 if reused else 0
                replans.append(who | {"replan": k, "step": 5 * k, "reused": reused, "age": age})
    table = pd.DataFrame(rows).astype({"success": "boolean", "error": "object", "denoising_steps": "Int64"})
    return Records(table, pd.DataFrame(replans))


def curves(rate: float) -> pd.DataFrame:
    """Distances as in data/mechanism, of ten episodes that grow by `rate` and a little differently in each."""
    steps, own = np.arange(1, 11), [rate + 0.001 * (episode - 4.5) for episode in range(10)]
    distances = pd.DataFrame([0.01 * np.expm1(one * steps) / one for one in own], columns=[f"step_{s}" for s in steps])
    table = distances.assign(age=1, phase="any", group="all", episode=range(10))
    return pd.concat([table.assign(mode=mode) for mode in ("full", "prefix")], ignore_index=True)


def gained(points: dict[Setting, tuple[float, float, float] | None], reuse=0.5) -> pd.DataFrame:
    """Gains and shares of reuse as `matching.matched` has them, by setting; None where the curve does not reach."""
    gains = [ends and Interval(*ends, 0.95, "made") for ends in points.values()]
    return pd.DataFrame({"reuse": reuse, "gain": pd.Series(gains, list(points), dtype=object)}, index=list(points))
