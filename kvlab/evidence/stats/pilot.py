"""Does a small pilot agree with the full run of the same configuration, and would it have ranked two of them so?"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

import numpy as np
from scipy.stats import betabinom, hypergeom

from kvlab.evidence.stats.checks import check_counts, check_whole
from kvlab.evidence.stats.paired import Pairs


@dataclass(frozen=True)
class PilotCheck:
    """How surprising one run's count is, given the other's.

    `expected`: successes expected; `at_most` and `at_least`: chance of as few, as many or more extreme ones;
    `two_sided`: chance of any count that is no more probable than the one seen (as in Fisher's exact test).
    """

    expected: float
    at_most: float
    at_least: float
    two_sided: float


@dataclass(frozen=True)
class PilotRanking:
    """Chances, adding to 1, that a pilot's episodes put the setting ahead of the control, level with it, or behind."""

    ahead: float
    level: float
    behind: float


def pilot_hypergeometric(pilot_k: int, pilot_n: int, full_k: int, full_n: int) -> PilotCheck:
    """Chance of the pilot's successes if its episodes were a random draw from the full run's, without replacement.

    ValueError: counts outside 0..n, an empty run, a pilot larger than the full run.
    """
    (pilot_k, pilot_n), (full_k, full_n) = check_counts(pilot_k, pilot_n), check_counts(full_k, full_n)
    if pilot_n > full_n:
        raise ValueError(f"the pilot's {pilot_n} episodes must not outnumber the full run's {full_n}.")
    return _check(pilot_k, hypergeom(full_n, full_k, pilot_n), pilot_n)


def pilot_predictive(pilot_k: int, pilot_n: int, full_k: int, full_n: int) -> PilotCheck:
    """Chance of the full run's successes as the pilot predicts them, for new episodes at the pilot's unknown rate.

    The prediction is the Beta-binomial of a Jeffreys posterior: wide after a small pilot, so that disagreement found in
    spite of it is strong. Errors as in `check_counts`: counts outside 0..n, an empty run.
    """
    (pilot_k, pilot_n), (full_k, full_n) = check_counts(pilot_k, pilot_n), check_counts(full_k, full_n)
    return _check(full_k, betabinom(full_n, pilot_k + 0.5, pilot_n - pilot_k + 0.5), full_n)


def pilot_ranking(pairs: Pairs, episodes: int) -> PilotRanking:
    """How a pilot of `episodes` of these pairs, drawn at random without replacement, ranks the setting and the control.

    Exact: of all pilots, those with x pairs that the setting alone wins and y that the control alone wins are counted
    (multivariate hypergeometric). ValueError: fewer than one episode, or more than there are pairs.
    """
    if check_whole("episodes", episodes, least=1) > pairs.n:
        raise ValueError(f"the pilot's {episodes} episodes must not outnumber the {pairs.n} pairs it is drawn from.")
    b, c = pairs.setting_only, pairs.control_only

    def pilots(x: int, y: int) -> int:
        return comb(b, x) * comb(c, y) * comb(pairs.n - b - c, episodes - x - y)

    splits = [(x, y) for x in range(episodes + 1) for y in range(episodes + 1 - x)]
    ahead = sum(pilots(x, y) for x, y in splits if x > y)
    level = sum(pilots(x, y) for x, y in splits if x == y)
    total = comb(pairs.n, episodes)
    return PilotRanking(ahead / total, level / total, (total - ahead - level) / total)


def _check(seen: int, distribution, n: int) -> PilotCheck:
    counts = np.arange(n + 1)
    chances = distribution.pmf(counts)
    # Equal probabilities that differ by rounding count as equal.
    as_rare = chances[chances <= chances[seen] * (1 + 1e-7)].sum()
    return PilotCheck(
        float(chances @ counts),  # scipy's mean divides by zero where the pilot is the whole run
        float(min(1, chances[: seen + 1].sum())),
        float(min(1, chances[seen:].sum())),
        float(min(1, as_rare)),
    )
