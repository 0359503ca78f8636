"""What every statistic here asks of its input; each breach is one sentence naming the value and the rule."""

from __future__ import annotations

import math
from numbers import Integral, Real

import numpy as np
from jaxtyping import Int


def check_counts(successes: int, episodes: int) -> tuple[int, int]:
    """Return both counts as `int`; ValueError unless 0 <= successes <= episodes and episodes >= 1."""
    for name, value in (("successes", successes), ("episodes", episodes)):
        if not isinstance(value, Integral) or isinstance(value, bool):
            raise ValueError(f"{name} = {value!r} must be a whole number.")
    if episodes < 1:
        raise ValueError(f"episodes = {episodes} is an empty group: a success rate needs at least one episode.")
    if not 0 <= successes <= episodes:
        raise ValueError(f"successes = {successes} must lie in 0..{episodes}, the number of episodes.")
    return int(successes), int(episodes)


def check_groups(
    successes: Int[np.ndarray, " groups"], episodes: Int[np.ndarray, " groups"]
) -> tuple[Int[np.ndarray, " groups"], Int[np.ndarray, " groups"]]:
    """Return both as int64 arrays; ValueError unless they are equally long and each pair passes `check_counts`."""
    pairs = [np.atleast_1d(np.asarray(counts)) for counts in (successes, episodes)]
    if pairs[0].shape != pairs[1].shape or pairs[0].ndim != 1 or not len(pairs[0]):
        shapes = f"successes {pairs[0].shape} and episodes {pairs[1].shape}"
        raise ValueError(f"{shapes} must be lists of equal length >= 1.")
    for k, n in zip(*pairs, strict=True):
        check_counts(k.item(), n.item())
    return pairs[0].astype(np.int64), pairs[1].astype(np.int64)


def check_open_unit(name: str, value: float) -> float:
    """Return `value`; ValueError unless it is a number strictly between 0 and 1 (confidence, alpha, power, margin)."""
    if not isinstance(value, Real) or not 0 < value < 1:
        raise ValueError(f"{name} = {value!r} must lie strictly between 0 and 1.")
    return float(value)


def check_probability(name: str, value: float) -> float:
    """Return `value`; ValueError unless it is a number from 0 to 1."""
    if not isinstance(value, Real) or math.isnan(value) or not 0 <= value <= 1:
        raise ValueError(f"{name} = {value!r} must lie in [0, 1].")
    return float(value)


def check_choice(name: str, value: str, known: tuple[str, ...]) -> str:
    """Return `value`; ValueError naming the known ones unless it is among them."""
    if value not in known:
        raise ValueError(f"{name} = {value!r} is not known; choose one of {', '.join(known)}.")
    return value


def check_whole(name: str, value: int, least: int) -> int:
    """Return `value` as `int`; ValueError unless it is a whole number of at least `least`."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} = {value!r} must be a whole number of at least {least}.")
    return int(value)
