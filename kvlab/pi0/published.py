"""Published checkpoints of Pi0 and Pi0.5: which format a folder is of, and the model that it describes."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from kvlab.pi0 import lerobot, openpi
from kvlab.pi0.config import PRESETS, Pi0Config
from kvlab.pi0.entries import Told
from kvlab.pi0.policy import Conventions

FULL_SIZE = PRESETS["base"]
STREAMS = {"gemma_2b": FULL_SIZE.prefix, "gemma_300m": FULL_SIZE.expert}  # variants, as both formats name them
PROMPT_TOKENS = {False: 48, True: 200}  # Pi0, Pi0.5
OPENPI = {"paligemma_variant", "action_expert_variant", "action_horizon"}  # one of them tells its `config.json`


@dataclass(frozen=True)
class Description:
    """All of a published folder but its weights and its tokenizer."""

    config: Pi0Config
    stats: dict[str, np.ndarray]  # `checkpoint.STAT_NAMES`, float64
    conventions: Conventions
    trained_on: dict[str, object]


def is_published(config: Mapping[str, object]) -> bool:
    """Whether this `config.json` is of a published format, of whatever policy."""
    return bool(({"type", "model_type"} | OPENPI) & config.keys())


def require_pi0(folder: Path, config: Mapping[str, object]) -> str:
    """The policy's kind: pi0 or pi05 (LeRobot's), or openpi. ValueError where it is another policy."""
    kind = config.get("type") or config.get("model_type") or "openpi"
    if kind not in ("pi0", "pi05", "openpi"):
        raise ValueError(
            f"{folder / 'config.json'} is that of the policy {kind!r}; only Pi0 and Pi0.5 (pi0, pi05) can be loaded"
        )
    return kind


def describe(folder: Path, config: dict, pi05_weights: bool) -> Description:
    """Read a published folder. `pi05_weights`: its weights are those of a Pi0.5.

    Raises FileNotFoundError naming a file that is missing, and ValueError where the folder holds another policy, says
    what this model cannot do, does not say what decides, or where widths do not fit each other.
    """
    is_openpi = require_pi0(folder, config) == "openpi"
    told = openpi.read(folder, config, pi05_weights) if is_openpi else lerobot.read(folder, config)
    size = _size(folder / "config.json", told)
    if size.pi05 != pi05_weights:
        names = {False: "Pi0", True: "Pi0.5"}
        raise ValueError(
            f"{folder / 'config.json'} says {names[size.pi05]}, but the weights are those of {names[pi05_weights]}"
        )
    for what, most in (("state", size.state_dim), ("action", size.action_dim)):
        if (width := len(told.stats[f"{what}_mean"])) > most:
            raise ValueError(f"{folder} has statistics of {width} {what} numbers; its model takes at most {most}")
    if (many := told.conventions.execute) > size.chunk:
        raise ValueError(f"{folder / 'config.json'} executes {many} actions of a chunk of {size.chunk}")
    return Description(size, told.stats, told.conventions, told.facts)


def _size(where: Path, told: Told) -> Pi0Config:
    """The full-size model, with what the folder says of it."""
    streams = {}
    for part, key, variant, default in zip(
        ("prefix", "expert"), ("paligemma_variant", "action_expert_variant"), told.variants, STREAMS, strict=True
    ):
        if (variant or default) not in STREAMS:
            raise ValueError(f"{where}: {key} should be one of {', '.join(STREAMS)}, got {variant!r}")
        streams[part] = STREAMS[variant or default]
    sizes = {"max_tokens": PROMPT_TOKENS[told.sizes["pi05"]], "time_dtype": "float64"}
    sizes |= {name: size for name, size in told.sizes.items() if size is not None}
    return replace(FULL_SIZE, **streams, **sizes)
