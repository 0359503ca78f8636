"""Bootstrap of success rates and paired differences by resampling counts, never rows.

An outcome takes one of few values (0 or 1; -1, 0 or +1), so a resample is a multinomial draw of how often each occurs.
A million resamples of a study then cost a million small draws, and no array of episodes is ever built.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import norm

from kvlab.evidence.stats.checks import check_choice, check_groups, check_open_unit, check_whole
from kvlab.evidence.stats.interval import Interval
from kvlab.evidence.stats.one_sample import rate_interval

SCHEMES = ("episodes", "stratified", "cluster")
METHODS = ("percentile", "bca")


def bootstrap_rate(
    successes: Int[np.ndarray, " tasks"],
    episodes: Int[np.ndarray, " tasks"],
    scheme: str = "stratified",
    method: str = "percentile",
    confidence: float = 0.95,
    resamples: int = 100_000,
    seed: int = 0,
) -> Interval:
    """Bootstrap interval of the pooled success rate of a study, from its counts by task.

    `scheme` says which repetition is imagined: `episodes` draws episodes from the pool of all tasks; `stratified` draws
    episodes within each task (these tasks, new episodes); `cluster` draws whole tasks (new tasks of the same kind).
    `method`: `percentile`, or `bca` (bias-corrected and accelerated, Efron 1987, JASA 82:171).

    When the interval would have no width (every resample the same rate, as at 0/n and n/n) the bootstrap says nothing
    about the uncertainty; then the bounds are Clopper-Pearson's on the pooled counts and `collapsed` is True.

    ValueError: counts outside 0..n, an empty task, unknown scheme or method, confidence outside (0, 1), fewer than 100
    resamples, `cluster` with a single task.
    """
    k, n = check_groups(successes, episodes)
    counts = np.stack([n - k, k], axis=1)
    bounds = bootstrap_bounds(np.array([0.0, 1.0]), counts, scheme, method, confidence, resamples, seed)
    if bounds is None:
        exact = rate_interval(int(k.sum()), int(n.sum()), "clopper_pearson", confidence)
        return Interval(exact.estimate, exact.low, exact.high, confidence, exact.method, collapsed=True)
    return Interval(k.sum() / n.sum(), *bounds, confidence, f"{scheme} {method}")


def bootstrap_bounds(
    values: Float[np.ndarray, " outcomes"],
    counts: Int[np.ndarray, "groups outcomes"],
    scheme: str,
    method: str,
    confidence: float,
    resamples: int,
    seed: int,
) -> tuple[float, float] | None:
    """Bounds for the mean outcome over all episodes; None when they would have no width.

    `counts[g, o]` is how often group g showed the outcome `values[o]`. Errors as in `bootstrap_rate`.
    """
    check_choice("scheme", scheme, SCHEMES)
    check_choice("method", method, METHODS)
    check_open_unit("confidence", confidence)
    check_whole("resamples", resamples, least=100)
    if scheme == "cluster" and len(counts) < 2:
        raise ValueError(f"a cluster bootstrap needs at least 2 tasks to draw from, but there is {len(counts)}.")
    means = resampled_means(values, counts, scheme, resamples, np.random.default_rng(seed))
    # Equal means that were summed in different orders may differ in the last bit.
    if np.ptp(means) < 1e-12:
        return None
    tails = np.array([(1 - confidence) / 2, (1 + confidence) / 2])
    if method == "bca":
        tails = _bca_tails(tails, means, values, counts, scheme)
    low, high = np.quantile(means, tails)
    # At low confidence both tails can fall on one atom of a coarse distribution: no width is no interval either.
    return (float(low), float(high)) if high - low > 1e-12 else None


def resampled_means(
    values: Float[np.ndarray, " outcomes"],
    counts: Int[np.ndarray, "groups outcomes"],
    scheme: str,
    resamples: int,
    rng: np.random.Generator,
) -> Float[np.ndarray, " resamples"]:
    """The mean outcome in each of `resamples` bootstrap studies."""
    sizes = counts.sum(1)
    if scheme == "cluster":
        drawn = rng.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), size=resamples)
        return (drawn @ (counts @ values)) / (drawn @ sizes)
    groups = counts if scheme == "stratified" else counts.sum(0, keepdims=True)
    total = np.zeros(resamples)
    for group in groups:
        total += rng.multinomial(group.sum(), group / group.sum(), size=resamples) @ values
    return total / sizes.sum()


def _bca_tails(tails, means, values, counts, scheme):
    """Efron's corrected tail probabilities; ties with the estimate count half, as the means are discrete."""
    estimate = (counts @ values).sum() / counts.sum()
    below = np.mean(means < estimate - 1e-12) + 0.5 * np.mean(np.abs(means - estimate) <= 1e-12)
    # An estimate outside all resamples would send the correction to infinity; half a resample is as far as is known.
    bias = norm.ppf(np.clip(below, 0.5 / len(means), 1 - 0.5 / len(means)))
    shifted = bias + norm.ppf(tails)
    # Far in the tail the denominator can cross zero; the corrected tail has then reached the last resample.
    return norm.cdf(bias + shifted / np.maximum(1 - _acceleration(values, counts, scheme) * shifted, 1e-12))


def _acceleration(values, counts, scheme) -> float:
    """Sixth of the skewness of the influence values, here the residuals from the mean (Efron 1987, eq. 4.4)."""
    if scheme == "cluster":
        sums, sizes = counts @ values, counts.sum(1)
        residuals, weights = sums - sizes * sums.sum() / sizes.sum(), np.ones(len(counts))
    else:
        groups = counts if scheme == "stratified" else counts.sum(0, keepdims=True)
        residuals = values - (groups @ values / groups.sum(1))[:, None]
        weights = groups
    return float((weights * residuals**3).sum() / (6 * (weights * residuals**2).sum() ** 1.5))
