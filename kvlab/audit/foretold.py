"""How well the error of a replay foretells success, over every setting that was recorded with both.

python -m kvlab.audit.foretold SUITE DATASET     replays DATASET in every recorded setting, writes data/audit/SUITE.csv
"""

from itertools import combinations, permutations
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from scipy.stats import bootstrap, spearmanr

from kvlab.audit.dataset import Dataset
from kvlab.audit.replay import NO_REUSE, Replay, by_setting
from kvlab.evidence.stats import Interval
from kvlab.paths import CHECKPOINTS, DATA, INSTALLATION
from kvlab.pi0.checkpoint import checkpoint_digest
from kvlab.serve import Served
from kvlab.study.recordings import all_episodes
from kvlab.study.records import SETTING
from kvlab.study.settings import Setting

MEASURED = INSTALLATION / "data" / "audit"  # comes with the program, whatever KVLAB_ROOT says
SEED = 0  # of the episodes that all settings share
APART = 0.15  # of success, about what 100 episodes a setting tell apart
ALIKE = 0.05  # errors that differ by less than this share of the larger


def recorded(suite: str) -> pd.DataFrame:
    """Settings of the suite's policy recorded in full, in a world that waits, of which a replay can tell the error.

    Index `setting`; columns `episodes` and `successes`. Left out: what is shown other inputs than live ones, and what
    executes as many actions as had settled.
    """
    rows = all_episodes(DATA / "runs" / suite)
    rows = rows[rows["checkpoint"].eq(checkpoint_digest(CHECKPOINTS[suite]))]
    rows = rows[rows["device"].eq("cpu") & rows["delays"].eq("") & rows["seeing"].eq("live") & rows["seed"].eq(SEED)]
    rows = rows[~rows["execute"].fillna("").str.contains("settled")]
    plain = rows.astype({name: object for name in SETTING})
    named = [str(Setting(**row)) for row in plain[SETTING].where(plain[SETTING].notna(), None).to_dict("records")]
    found = rows.assign(setting=named).groupby("setting")["success"].agg(episodes="count", successes="sum")
    return found[found["episodes"] >= 100].astype(int)


def rank_correlation(error: pd.Series, success: pd.Series) -> Interval:
    """Spearman's, with a percentile bootstrap over settings, which takes them for independent."""

    def statistic(x: np.ndarray, y: np.ndarray) -> float:
        return spearmanr(x, y).statistic

    options = {"paired": True, "vectorized": False, "n_resamples": 2000, "method": "percentile"}
    drawn = bootstrap((error, success), statistic, rng=np.random.default_rng(0), **options).confidence_interval
    return Interval(float(statistic(error, success)), float(drawn.low), float(drawn.high), 0.95, "percentile")


def in_order(error: pd.Series, success: pd.Series, apart: float = APART) -> tuple[int, int]:
    """Of the pairs of settings whose successes are `apart` or more, in how many the smaller error succeeds more often;
    and how many such pairs there are."""
    told = [
        (success[a] - success[b]) * (error[b] - error[a]) > 0
        for a, b in combinations(error.index, 2)
        if abs(success[a] - success[b]) >= apart
    ]
    return int(sum(told)), len(told)


def farthest_alike(error: pd.Series, success: pd.Series, alike: float = ALIKE) -> tuple[str, str]:
    """The two settings, the better one first, that succeed most differently though their errors above 0 are `alike`."""
    near = [
        (a, b)
        for a, b in permutations(error.index[error > 0], 2)
        if abs(error[a] - error[b]) <= alike * max(error[a], error[b])
    ]
    return max(near, key=lambda two: success[two[0]] - success[two[1]])


def main(
    suite: Annotated[str, typer.Argument(help="libero_spatial or libero_10.")],
    dataset: Annotated[Path, typer.Argument(help="LeRobot dataset of demonstrations of that suite.")],
) -> None:
    """Replays every episode of the dataset and writes the table with one row per recorded setting."""
    outcomes = recorded(suite)
    served = Served.load(CHECKPOINTS[suite], NO_REUSE)
    replay = Replay.of(Dataset.open(dataset), served, list(outcomes.index), episodes=10_000)
    typer.echo(replay.plan())
    told = by_setting(replay.run())[["replans", "reused", "error", "executed"]]
    MEASURED.mkdir(exist_ok=True)
    outcomes.join(told).to_csv(MEASURED / f"{suite}.csv", float_format="%.5g")


if __name__ == "__main__":
    typer.run(main)
