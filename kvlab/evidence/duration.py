"""How long it takes to record everything from nothing, by what the rows say of when and how long they ran."""

import numpy as np
import pandas as pd

ENOUGH = 20  # episodes of a suite whose mean time is taken for all of them


def from_nothing(episodes: pd.DataFrame) -> pd.DataFrame:
    """How long all of `episodes` (of `recordings.all_episodes`) would take on each processor that recorded some.

    One row per processor, the most episodes first. `episodes`: its own; `processes`: how many of them were under way in
    the middle of its median episode; `hours`: for all episodes of all suites by that many processes that never wait,
    each as long as the processor's own of its suite on average. Missing where it has fewer than ENOUGH of a suite.
    """
    many = episodes.groupby("suite").size()
    found = {processor: _of(rows, many) for processor, rows in episodes.groupby("processor", sort=False)}
    return pd.DataFrame.from_dict(found, orient="index").sort_values("episodes", ascending=False)


def _of(rows: pd.DataFrame, many: pd.Series) -> dict[str, float]:
    processes, suites = under_way(rows), rows.groupby("suite")["wall_s"]
    each = suites.mean().where(suites.size() >= ENOUGH).reindex(many.index)
    return {
        "episodes": len(rows),
        "processes": processes,
        "hours": (many * each).sum(skipna=False) / processes / 3600,
    }


def under_way(rows: pd.DataFrame) -> float:
    """How many episodes were under way at once: the median over the middles of all."""
    end = pd.to_datetime(rows["recorded"])
    length = pd.to_timedelta(rows["wall_s"], "s")
    middle = end - length / 2
    return float(np.median((end - length).sort_values().searchsorted(middle) - end.sort_values().searchsorted(middle)))
