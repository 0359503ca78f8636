"""Statistics of states and actions, checked: finite, as many of each kind, in order, and nothing divides by zero."""

import reprlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from kvlab.pi0.files import read_json

# Normalisation modes, by LeRobot's names: the two statistics that they are made of.
MODES = {
    "MEAN_STD": ("mean", "std"),
    "MIN_MAX": ("min", "max"),
    "QUANTILES": ("q01", "q99"),
    "QUANTILE10": ("q10", "q90"),
}
NORM_STATS = "norm_stats"  # the entry of statistics, in openpi's file and, where they are given, of a `config.json`
# Of the state and of actions, by openpi's names: theirs in the statistics of a LeRobot dataset (`meta/stats.json`).
DATASET = {"state": "observation.state", "actions": "action"}
LARGEST = float(np.finfo(np.float32).max)  # a model's numbers are no larger


def read_statistics(path: Path | str) -> dict[str, dict[str, list]]:
    """Statistics of state and actions in openpi's `norm_stats.json`, or in a LeRobot dataset's `meta/stats.json`.

    Raises FileNotFoundError where there is no such file, ValueError where it is neither.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"there is no file of statistics {path}")
    found = read_json(path)
    found = {ours: found[theirs] for ours, theirs in DATASET.items() if theirs in found} or found.get(NORM_STATS)
    if not isinstance(found, dict) or not all(isinstance(found.get(name), dict) for name in DATASET):
        raise ValueError(
            f"{path} should be openpi's norm_stats.json or a LeRobot dataset's meta/stats.json, with statistics of the "
            "state and of actions"
        )
    kinds = {name for pair in MODES.values() for name in pair}
    return {name: {kind: found[name][kind] for kind in sorted(kinds & found[name].keys())} for name in DATASET}


def numbers(values: object, what: str, width: int | None = None) -> Float64[np.ndarray, " width"]:
    """A list's numbers. ValueError, led by `what`, unless it holds finite numbers alone: `width` of them, or any."""
    right = isinstance(values, list) and values and all(_is_number(value) for value in values)
    if not right or width not in (None, len(values)):
        raise ValueError(f"{what} should be {width or 'a list of'} finite numbers, got {reprlib.repr(values)}")
    return np.array(values, dtype=np.float64)


def _is_number(value: object) -> bool:
    """True and false are none in JSON; NaN and infinity, which Python reads there, are not finite."""
    return type(value) in (int, float) and abs(value) <= LARGEST


def affine(
    ours: str, stats: Mapping[str, object], mode: str, widened: Callable[[np.ndarray], np.ndarray], where: object
) -> dict[str, Float64[np.ndarray, " width"]]:
    """The normalisation of `ours` (state or action) as a centre and a scale: normalised = (raw - centre) / scale.

    `stats` holds lists by their published names, `widened` is how the format keeps a width above 0, `where` leads every
    error. ValueError where statistics are missing or no numbers, are not as many of each kind, are exchanged, or where
    the state's would divide by 0.
    """
    if mode not in MODES:
        raise ValueError(f"{where}: the normalisation of {ours} should be one of {', '.join(MODES)}, got {mode}")
    if missing := [name for name in MODES[mode] if name not in stats]:
        raise ValueError(f"{where} lacks {' and '.join(missing)} of {ours}, which {mode} normalisation needs")
    first, second = MODES[mode]
    low, high = (numbers(stats[name], f"{where}: {name} of {ours}") for name in MODES[mode])
    if low.shape != high.shape:
        raise ValueError(f"{where}: {ours} has {len(low)} numbers of {first} and {len(high)} of {second}")
    width = high if mode == "MEAN_STD" else high - low
    if (wrong := np.flatnonzero(width < 0)).size:
        rule = f"{second} should not be negative" if mode == "MEAN_STD" else f"{first} should not be above {second}"
        raise ValueError(f"{where}: {rule}, but is so in number {', '.join(map(str, wrong))} of {ours}")
    width = widened(width)
    if ours == "state" and (wrong := np.flatnonzero(width == 0)).size:
        raise ValueError(f"{where}: {second} of state is 0 in number {', '.join(map(str, wrong))}, and divides there")
    if mode == "MEAN_STD":
        return {f"{ours}_mean": low, f"{ours}_std": width}
    return {f"{ours}_mean": low + width / 2, f"{ours}_std": width / 2}
