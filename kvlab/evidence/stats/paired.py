"""Two settings on the same episodes: the paired difference, its interval, exact McNemar."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
import pandas as pd
from jaxtyping import Int
from scipy.optimize import brentq
from scipy.stats import norm
from statsmodels.stats.contingency_tables import mcnemar as _mcnemar

from kvlab.evidence.stats.bootstrap import bootstrap_bounds
from kvlab.evidence.stats.checks import check_open_unit, check_whole
from kvlab.evidence.stats.interval import Interval


@dataclass(frozen=True)
class Pairs:
    """Episodes run by two settings, counted by how they ended; every difference here is setting minus control.

    `by_task[t]` holds the counts of the differences -1, 0 and +1 in task t (one row when tasks are not known).
    ValueError: a negative count, or no pair at all.
    """

    both: int
    setting_only: int
    control_only: int
    neither: int
    by_task: Int[np.ndarray, "tasks 3"] | None = None

    def __post_init__(self):
        for name in ("both", "setting_only", "control_only", "neither"):
            check_whole(name, getattr(self, name), least=0)
        if self.n == 0:
            raise ValueError("no pairs: a paired comparison needs at least one episode that both settings ran.")
        if self.by_task is None:
            agree = self.both + self.neither
            object.__setattr__(self, "by_task", np.array([[self.control_only, agree, self.setting_only]]))

    @property
    def n(self) -> int:
        """Number of pairs."""
        return self.both + self.setting_only + self.control_only + self.neither

    @property
    def difference(self) -> float:
        """Success rate of the setting minus that of the control."""
        return (self.setting_only - self.control_only) / self.n


def pair(setting: pd.Series, control: pd.Series) -> Pairs:
    """Match two settings' outcomes episode by episode.

    Both series hold success (bool or 0/1) and are indexed by what makes an episode the same one: suite, task, initial
    state, seed. The order of rows does not matter. An index level named `task` groups the pairs for the bootstrap.

    ValueError: an episode in one setting only, an episode twice in a setting, an outcome that is not 0 or 1 (a
    simulator error is not a failure: decide about it before), no episode.
    """
    for name, outcomes in (("setting", setting), ("control", control)):
        if outcomes.index.has_duplicates:
            twice = outcomes.index[outcomes.index.duplicated()][0]
            raise ValueError(f"the {name} has the episode {twice} more than once; a pair needs it exactly once.")
        odd = outcomes[~outcomes.isin([0, 1])]
        if len(odd):
            raise ValueError(f"the {name}'s outcome {odd.iloc[0]!r} of episode {odd.index[0]} must be 0 or 1.")
    unmatched = setting.index.symmetric_difference(control.index, sort=False)
    if len(unmatched):
        one = ", ".join(map(str, np.atleast_1d(unmatched[0])))  # without the types of numpy
        raise ValueError(
            f"{len(unmatched)} episodes are not in both settings, ({one}) for one: a paired test needs the same "
            "episodes in both; compare settings that ran different episodes with `unpaired_difference` and "
            "`unpaired_p`."
        )
    a = setting.astype(bool).to_numpy()
    b = control.reindex(setting.index).astype(bool).to_numpy()
    difference = a.astype(int) - b.astype(int)
    tasks = setting.index.get_level_values("task") if "task" in setting.index.names else np.zeros(len(setting), int)
    by_task = pd.crosstab(tasks, difference).reindex(columns=[-1, 0, 1], fill_value=0).to_numpy()
    cells = [np.sum(a & b), np.sum(a & ~b), np.sum(~a & b), np.sum(~a & ~b)]
    return Pairs(*map(int, cells), by_task=by_task)


def paired_difference(pairs: Pairs, confidence: float = 0.95) -> Interval:
    """Success rate of the setting minus the control's with Tango's score interval.

    It has positive width whatever the counts, also when no pair differs and when both settings are at 0/n or n/n, where
    Wald's and Newcombe's shrink to nothing. Tango (1998), Statistics in Medicine 17:891, equations 24 to 26. Neither
    scipy 1.17 nor statsmodels 0.15 has it.

    ValueError: confidence outside (0, 1).
    """
    z = norm.isf((1 - check_open_unit("confidence", confidence)) / 2)
    low = _tango_limit(pairs.setting_only, pairs.control_only, pairs.n, z)
    # Exchanging the settings mirrors the problem, so one limit serves for both.
    high = -_tango_limit(pairs.control_only, pairs.setting_only, pairs.n, z)
    return Interval(pairs.difference, low, high, confidence, "tango")


def paired_bootstrap(
    pairs: Pairs,
    scheme: str = "stratified",
    method: str = "percentile",
    confidence: float = 0.95,
    resamples: int = 100_000,
    seed: int = 0,
) -> Interval:
    """The same difference with a bootstrap interval over pairs; schemes, methods and errors as in `bootstrap_rate`.

    Where the bootstrap has no width the bounds are Tango's and `collapsed` is True.
    """
    bounds = bootstrap_bounds(np.array([-1.0, 0.0, 1.0]), pairs.by_task, scheme, method, confidence, resamples, seed)
    if bounds is None:
        score = paired_difference(pairs, confidence)
        return Interval(score.estimate, score.low, score.high, confidence, score.method, collapsed=True)
    return Interval(pairs.difference, *bounds, confidence, f"{scheme} {method}")


def mcnemar_p(pairs: Pairs) -> float:
    """Two-sided p-value of the exact McNemar test; 1 when no pair differs."""
    if pairs.setting_only + pairs.control_only == 0:
        return 1.0
    table = [[pairs.both, pairs.setting_only], [pairs.control_only, pairs.neither]]
    return float(_mcnemar(table, exact=True).pvalue)


def tango_score(delta: float, b: int, c: int, n: int) -> float:
    """Standardised distance of (b - c) / n from `delta`, the variance at the cell rate of c most likely under it."""
    if b - c == n * delta:
        return 0.0
    linear = -b - c + (2 * n - b + c) * delta
    q = (sqrt(linear**2 + 8 * n * c * delta * (1 - delta)) - linear) / (4 * n)
    return (b - c - n * delta) / sqrt(n * (2 * q + delta * (1 - delta)))


def _tango_limit(b: int, c: int, n: int, z: float) -> float:
    """The difference below (b - c) / n whose score is `z`; -1 where the difference itself is -1."""
    if c == n:
        return -1.0
    return float(brentq(lambda delta: tango_score(delta, b, c, n) - z, -1 + 1e-12, (b - c) / n, xtol=1e-12))
