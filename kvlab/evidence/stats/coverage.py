"""How often does each interval hold the true rate? Simulated studies with known truth.

`python -m kvlab.evidence.stats.coverage` makes `data/coverage/`, which *3 or 100 episodes* draws.

Success rates of tasks are drawn from a Beta with mean `rate` and intraclass correlation `icc`: 0 gives equal tasks,
and two episodes of one task are correlated by `icc` otherwise. A study can be asked two things. Of *these tasks*: the
mean of the rates that were drawn, so that only episodes are random. Of *new tasks*: the mean `rate`, so that tasks are
random too.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import product
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from jaxtyping import Float, Int
from scipy.stats import binom
from tqdm import tqdm

from kvlab.evidence.stats.bootstrap import bootstrap_bounds
from kvlab.evidence.stats.checks import check_probability, check_whole
from kvlab.evidence.stats.one_sample import rate_interval
from kvlab.evidence.stats.paired import Pairs, paired_difference
from kvlab.paths import DATA

CONFIDENCE = 0.95
EXACT = ("clopper_pearson", "wilson", "jeffreys")
BOOTSTRAPS = ("percentile", "bca", "stratified", "stratified bca", "cluster", "cluster bca")
_RATE, _DIFFERENCE = np.array([0.0, 1.0]), np.array([-1.0, 0.0, 1.0])
Bounds = tuple[float, float]


def rate_bounds(counts: Int[np.ndarray, "tasks 2"], method: str, resamples: int, seed: int) -> Bounds:
    """Bounds of `method` for a study's counts of failures and successes by task, as the method's definition has them.

    A collapsed bootstrap is then a single point, unlike in `bootstrap_rate`: this is what the simulation is to show.
    """
    if method in (*EXACT, "percentile", "bca"):
        failures, successes = counts.sum(0).tolist()
        return _pooled_bounds(successes, failures + successes, method, resamples)
    return _bootstrap(_RATE, counts, method, resamples, seed)


def difference_bounds(counts: Int[np.ndarray, "tasks 3"], method: str, resamples: int, seed: int) -> Bounds:
    """The same for counts of the paired differences -1, 0 and +1 by task; `method` is `tango` or a bootstrap."""
    if method == "tango":
        lost, alike, won = counts.sum(0).tolist()
        return _tango_bounds(won, lost, alike)
    return _bootstrap(_DIFFERENCE, counts, method, resamples, seed)


def exact_coverage(
    method: str, episodes: int, rates: Float[np.ndarray, " rates"], resamples: int = 10_000
) -> np.ndarray:
    """Coverage of the interval of one rate from `episodes` independent episodes, summed over all their outcomes."""
    k = np.arange(episodes + 1)
    low, high = np.array([_pooled_bounds(int(i), episodes, method, resamples) for i in k]).T
    holds = (low - 1e-12 <= rates[:, None]) & (rates[:, None] <= high + 1e-12)
    return (binom.pmf(k, episodes, rates[:, None]) * holds).sum(1)


def simulate_rates(
    tasks: int, trials: int, rate: float, icc: float, studies: int, resamples: int, seed: int
) -> pd.DataFrame:
    """Coverage and mean width of every interval of a success rate, over `studies` of `tasks` x `trials` episodes.

    ValueError: a rate or icc outside [0, 1), no task, trial or study.
    """
    rng = np.random.default_rng(seed)
    truths = _task_rates(rate, icc, (studies, tasks), rng)
    successes = rng.binomial(trials, truths)
    outcomes = np.stack([trials - successes, successes], axis=2)
    methods = (*EXACT, *BOOTSTRAPS) if tasks > 1 else (*EXACT, "percentile", "bca")
    setting = {"tasks": tasks, "trials": trials, "rate": rate, "icc": icc}
    targets = {"these tasks": truths.mean(1), "new tasks": np.full(studies, rate)}
    return _score(outcomes, rate_bounds, methods, targets, setting, resamples, rng)


def simulate_differences(
    tasks: int, trials: int, rate: float, icc: float, drop: float, studies: int, resamples: int, seed: int
) -> pd.DataFrame:
    """The same for paired differences: the control succeeds with `rate`, the setting then fails with chance `drop`.

    Where the control fails the setting succeeds with chance 0.05, so that pairs differ by luck too.
    """
    check_probability("drop", drop)
    rng = np.random.default_rng(seed)
    truths = _task_rates(rate, icc, (studies, tasks), rng)
    lost, won = truths * drop, (1 - truths) * 0.05
    outcomes = rng.multinomial(trials, np.stack([lost, 1 - lost - won, won], axis=2))
    methods = ("tango", "percentile", "bca", "stratified", "cluster") if tasks > 1 else ("tango", "percentile", "bca")
    setting = {"tasks": tasks, "trials": trials, "rate": rate, "icc": icc, "drop": drop}
    targets = {"these tasks": (won - lost).mean(1), "new tasks": np.full(studies, (1 - rate) * 0.05 - rate * drop)}
    return _score(outcomes, difference_bounds, methods, targets, setting, resamples, rng)


def _task_rates(rate, icc, shape, rng) -> Float[np.ndarray, "studies tasks"]:
    check_whole("tasks", shape[1], least=1)
    check_whole("studies", shape[0], least=1)
    check_probability("rate", rate)
    if not 0 <= icc < 1:
        raise ValueError(f"icc = {icc} must lie in [0, 1): 0 for equal tasks.")
    if icc == 0:
        return np.full(shape, rate)
    total = 1 / icc - 1
    return rng.beta(rate * total, (1 - rate) * total, size=shape)


def _score(
    outcomes: Int[np.ndarray, "studies tasks outcomes"],
    bounds_of: Callable[..., Bounds],
    methods: tuple[str, ...],
    targets: dict[str, Float[np.ndarray, " studies"]],
    setting: dict[str, float],
    resamples: int,
    rng: np.random.Generator,
) -> pd.DataFrame:
    seeds = rng.integers(2**32, size=len(outcomes)).tolist()
    rows = []
    for method in methods:
        bounds = [bounds_of(counts, method, resamples, seed) for counts, seed in zip(outcomes, seeds, strict=True)]
        low, high = np.array(bounds).T
        for target, truth in targets.items():
            covered = float(np.mean((low - 1e-12 <= truth) & (truth <= high + 1e-12)))
            rows.append(
                {
                    **setting,
                    "target": target,
                    "method": method,
                    "studies": len(outcomes),
                    "coverage": covered,
                    "width": float(np.mean(high - low)),
                    "collapsed": float(np.mean(high - low < 1e-12)),
                }
            )
    return pd.DataFrame(rows)


def _bootstrap(values, counts, method, resamples, seed) -> Bounds:
    scheme, _, kind = method.partition(" ")
    if scheme in ("percentile", "bca"):
        scheme, kind = "episodes", scheme
    bounds = bootstrap_bounds(values, counts, scheme, kind or "percentile", CONFIDENCE, resamples, seed)
    estimate = float((counts @ values).sum() / counts.sum())
    return bounds or (estimate, estimate)


@cache
def _pooled_bounds(successes: int, episodes: int, method: str, resamples: int) -> Bounds:
    """Bounds that depend on the pooled counts alone, so that a simulation computes each once."""
    if method in EXACT:
        interval = rate_interval(successes, episodes, method, CONFIDENCE)
        return interval.low, interval.high
    counts = np.array([[episodes - successes, successes]])
    return _bootstrap(_RATE, counts, method, resamples, seed=0)


@cache
def _tango_bounds(won: int, lost: int, alike: int) -> Bounds:
    interval = paired_difference(Pairs(alike, won, lost, 0), CONFIDENCE)
    return interval.low, interval.high


def main(
    out: Annotated[Path, typer.Option(help="Folder for rates.csv and differences.csv.")] = DATA / "coverage",
    studies: Annotated[int, typer.Option(help="Simulated studies per setting.")] = 3000,
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples per study.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the whole simulation.")] = 2026,
) -> None:
    """Simulate studies of 3 and of 10 x 10 episodes and write how often each 95 % interval held the truth."""
    three = [(1, 3, rate, 0.0) for rate in (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)]
    hundred = [(10, 10, rate, icc) for rate, icc in product((0.5, 0.7, 0.9, 0.95), (0.0, 0.1, 0.3, 0.5))]
    drops = (0.0, 0.1, 0.3)
    pairs = [(1, 3, 0.9, 0.0, drop) for drop in drops]
    pairs += [(10, 10, rate, icc, drop) for rate, icc, drop in product((0.5, 0.9), (0.0, 0.3), drops)]
    frames = {"rates": [], "differences": []}
    jobs = [("rates", simulate_rates, job) for job in three + hundred]
    jobs += [("differences", simulate_differences, job) for job in pairs]
    for number, (name, simulate, setting) in enumerate(tqdm(jobs, desc="settings")):
        frames[name].append(simulate(*setting, studies=studies, resamples=resamples, seed=seed + number))
    out.mkdir(parents=True, exist_ok=True)
    for name, parts in frames.items():
        pd.concat(parts).to_csv(out / f"{name}.csv", index=False, float_format="%.6g", lineterminator="\n")


if __name__ == "__main__":
    typer.run(main)
