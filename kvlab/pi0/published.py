"""What published checkpoints of Pi0 and Pi0.5 say beside their weights: sizes, normalisation, prompt, frames.

Two formats. LeRobot (0.6): `config.json` with a `type`, and a pre- and a post-processor as JSON with safetensors files
of statistics. openpi (`examples/convert_jax_model_to_pytorch.py`): `config.json` with the sizes, and
`assets/*/norm_stats.json`; what its converter does not write may be added to `config.json` under openpi's own names:
`discrete_state_input` (false for `pi05_libero`), `extra_delta_transform` (true for `pi0_libero`) and `max_token_len`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from kvlab.pi0.config import PRESETS, Pi0Config
from kvlab.pi0.files import read_json
from kvlab.pi0.policy import Conventions

FULL_SIZE = PRESETS["base"]
STREAMS = {"gemma_2b": FULL_SIZE.prefix, "gemma_300m": FULL_SIZE.expert}  # variants, as both formats name them
PROMPT_TOKENS = {False: 48, True: 200}  # Pi0, Pi0.5
# A LIBERO camera of ours where the published name means one; other cameras keep their published names.
CAMERAS = {"image": "agentview", "base_0_rgb": "agentview", "image2": "wrist", "left_wrist_0_rgb": "wrist"}
STATE_PROMPT = "Task: {words}, State: {state};\nAction: "
# Normalisation modes: the two statistics that they are made of.
MODES = {
    "MEAN_STD": ("mean", "std"),
    "MIN_MAX": ("min", "max"),
    "QUANTILES": ("q01", "q99"),
    "QUANTILE10": ("q10", "q90"),
}
OPENPI_CAMERAS = ("agentview", "wrist")  # the third that openpi feeds is masked, which is the same as not there


@dataclass(frozen=True)
class Description:
    """All of a published folder but its weights and its tokenizer."""

    config: Pi0Config
    stats: dict[str, np.ndarray]  # `checkpoint.STAT_NAMES`, float64: any mode is a centre and a scale
    conventions: Conventions
    trained_on: dict[str, object]


def is_published(config: Mapping[str, object]) -> bool:
    """Whether this `config.json` is of a published format, of whatever policy."""
    return bool({"type", "model_type", "paligemma_variant"} & config.keys())


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
    what this model cannot do, or where widths do not fit each other.
    """
    where = folder / "config.json"
    kind = require_pi0(folder, config)
    try:
        described = _openpi(folder, config, pi05_weights) if kind == "openpi" else _lerobot(folder, config)
    except KeyError as error:
        raise ValueError(
            f"{folder}: its JSON files lack the entry {error}, which every {kind} checkpoint has"
        ) from error
    Pi0Config.from_json(described.config.to_json())  # sizes that are no sizes are said here
    if described.config.pi05 != pi05_weights:
        told = {False: "Pi0", True: "Pi0.5"}
        raise ValueError(
            f"{where} says {told[described.config.pi05]}, but the weights are those of {told[pi05_weights]}"
        )
    for what, most in (("state", described.config.state_dim), ("action", described.config.action_dim)):
        if (width := len(described.stats[f"{what}_mean"])) > most:
            raise ValueError(f"{folder} has statistics of {width} {what} numbers; its model takes at most {most}")
    return described


def _openpi(folder: Path, config: dict, pi05: bool) -> Description:
    found = sorted(folder.glob("assets/**/norm_stats.json"))
    if len(found) != 1:
        raise FileNotFoundError(
            f"{folder} should hold one assets/*/norm_stats.json with the normalisation statistics, it has {len(found)}"
        )
    norms = read_json(found[0]).get("norm_stats", {})
    mode = "QUANTILES" if pi05 else "MEAN_STD"
    stats = {}
    for ours, theirs in (("state", "state"), ("action", "actions")):
        stats |= _affine(ours, norms.get(theirs, {}), mode, lambda width: width + 1e-6, found[0])
    sizes = _sizes(folder, config, "action_horizon", pi05, config.get("max_token_len"), config.get("action_dim"))
    in_prompt = pi05 and config.get("discrete_state_input", True)
    relative = (*[True] * 6, False) if config.get("extra_delta_transform", False) else ()
    prompt = STATE_PROMPT if in_prompt else "{words}\n"
    facts = {"format": "openpi", "statistics": str(found[0].relative_to(folder))}
    return Description(
        replace(sizes, cameras=OPENPI_CAMERAS),
        stats,
        Conventions(prompt, resize="rounded", relative=relative),
        facts,
    )


def _sizes(
    folder: Path, config: dict, chunk: str, pi05: bool, max_tokens: int | None, action_dim: int | None
) -> Pi0Config:
    """The full-size model, with the streams that the config names."""
    streams = {}
    for part, key, default in (
        ("prefix", "paligemma_variant", "gemma_2b"),
        ("expert", "action_expert_variant", "gemma_300m"),
    ):
        if (variant := config.get(key, default)) not in STREAMS:
            raise ValueError(f"{folder / 'config.json'}: {key} should be one of {', '.join(STREAMS)}, got {variant!r}")
        streams[part] = STREAMS[variant]
    return replace(
        FULL_SIZE,
        **streams,
        chunk=config.get(chunk, FULL_SIZE.chunk),
        state_dim=config.get("max_state_dim", action_dim or FULL_SIZE.state_dim),
        action_dim=action_dim or FULL_SIZE.action_dim,
        max_tokens=max_tokens or PROMPT_TOKENS[pi05],
        pi05=pi05,
        time_dtype="float64",
    )


def _lerobot(folder: Path, config: dict) -> Description:
    pi05, where = config["type"] == "pi05", folder / "config.json"
    side = config.get("image_resolution", [FULL_SIZE.image_size] * 2)
    periods = (config.get("min_period", 4e-3), config.get("max_period", 4.0))
    if side[0] != side[1] or periods != (4e-3, 4.0):
        raise ValueError(
            f"{where}: frames should be square and the time's periods 0.004 to 4, got {side} and {periods}"
        )
    if (frames := config.get("normalization_mapping", {}).get("VISUAL", "IDENTITY")) != "IDENTITY":
        raise ValueError(f"{where}: frames should need no normalisation (IDENTITY), got {frames}")
    before, after = (Processor.read(folder, f"policy_{part}processor.json") for part in ("pre", "post"))
    stats = {}
    for ours, feature, key, kind, steps in (
        ("state", "observation.state", "input_features", "STATE", before.step("normalizer_processor")),
        ("action", "action", "output_features", "ACTION", after.step("unnormalizer_processor")),
    ):
        told = config.get(key, {}).get(feature)
        stats |= _lerobot_stats(folder, ours, feature, kind, steps)
        if told and (width := len(stats[f"{ours}_mean"])) != told["shape"][0]:
            raise ValueError(f"{where} says {feature} has {told['shape'][0]} numbers, its statistics have {width}")
    sizes = _sizes(folder, config, "chunk_size", pi05, config.get("tokenizer_max_length"), config.get("max_action_dim"))
    sizes = replace(
        sizes,
        cameras=_cameras(where, config),
        image_size=side[0],
        denoising_steps=config.get("num_inference_steps", FULL_SIZE.denoising_steps),
    )
    prompts = {"pi05_prepare_state_tokenizer_processor_step": STATE_PROMPT, "pi0_new_line_processor": "{task}\n"}
    prompt = next((p for name, p in prompts.items() if before.has(name)), "{task}")
    conventions = Conventions(prompt, resize="sampled", relative=before.relative(len(stats["action_mean"])))
    return Description(sizes, stats, conventions, {"format": "lerobot"})


def _cameras(where: Path, config: dict) -> tuple[str, ...]:
    """Cameras in LeRobot's order, less those that it feeds as masked, empty frames."""
    names = [
        key.removeprefix("observation.images.")
        for key, f in config.get("input_features", {}).items()
        if f["type"] == "VISUAL"
    ]
    cameras = tuple(CAMERAS.get(name, name) for name in names if not name.startswith("empty_camera"))
    if not cameras or len(set(cameras)) < len(cameras):
        raise ValueError(f"{where}: input_features should name cameras, each once, got {names}")
    return cameras


@dataclass(frozen=True)
class Processor:
    """A LeRobot processor: its steps' settings and statistics, by registry name."""

    path: Path
    steps: Mapping[str, dict]

    # What the steps do is done by `Policy` from the fields read above, or has nothing to do with numbers.
    KNOWN = frozenset(
        "rename_observations_processor to_batch_processor device_processor tokenizer_processor "
        "pi0_new_line_processor pi05_prepare_state_tokenizer_processor_step relative_actions_processor "
        "absolute_actions_processor normalizer_processor unnormalizer_processor".split()
    )

    @classmethod
    def read(cls, folder: Path, name: str) -> "Processor":
        if not (path := folder / name).is_file():
            raise FileNotFoundError(f"{folder} is a LeRobot checkpoint without {name}, which holds its normalisation")
        steps = {step.get("registry_name", step.get("class")): step for step in read_json(path).get("steps", [])}
        if unknown := sorted(str(name) for name in steps.keys() - cls.KNOWN):
            raise ValueError(f"{path} has steps that are not those of Pi0 or Pi0.5: {', '.join(unknown)}")
        return cls(path, steps)

    def has(self, name: str) -> bool:
        return name in self.steps

    def step(self, name: str) -> dict:
        if name not in self.steps:
            raise ValueError(f"{self.path} should have a step {name}, it has {', '.join(self.steps)}")
        return self.steps[name]

    def relative(self, action_dim: int) -> tuple[bool, ...]:
        """Which dimensions of an action are relative to the state (LeRobot, `RelativeActionsProcessorStep`)."""
        config = self.steps.get("relative_actions_processor", {}).get("config", {})
        if not config.get("enabled", False):
            return ()
        absolute = [name.lower() for name in config.get("exclude_joints") or []]
        names = [str(name).lower() for name in config.get("action_names") or []][:action_dim]
        return (*(not any(a in name for a in absolute) for name in names), *[True] * (action_dim - len(names)))


def _lerobot_stats(folder: Path, ours: str, feature: str, kind: str, step: dict) -> dict[str, np.ndarray]:
    mode = step["config"]["norm_map"].get(kind, "IDENTITY")
    if not (file := step.get("state_file")) or not (path := folder / file).is_file():
        raise FileNotFoundError(f"{folder} lacks the statistics of {feature}: {file or 'its processor names no file'}")
    try:
        numbers = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is truncated or not a safetensors file: {error}") from error
    numbers = {name.removeprefix(f"{feature}."): v for name, v in numbers.items() if name.startswith(f"{feature}.")}
    eps = step["config"].get("eps", 1e-8)

    def widened(width: np.ndarray) -> np.ndarray:
        if mode == "MEAN_STD":  # LeRobot adds it on the way in only
            return width + eps if ours == "state" else width
        return np.where(width == 0, eps, width)

    return _affine(ours, numbers, mode, widened, path)


def _affine(
    ours: str, numbers: Mapping[str, object], mode: str, widened: Callable[[np.ndarray], np.ndarray], path: Path
) -> dict[str, np.ndarray]:
    """A normalisation as a centre and a scale: normalised = (raw - centre) / scale."""
    if mode not in MODES:
        raise ValueError(f"{path}: the normalisation of {ours} should be one of {', '.join(MODES)}, got {mode}")
    low, high = MODES[mode]
    if missing := [name for name in (low, high) if name not in numbers]:
        raise ValueError(f"{path} lacks {' and '.join(missing)} of {ours}, which {mode} normalisation needs")
    low, high = (np.asarray(numbers[name], dtype=np.float64) for name in (low, high))
    if low.ndim != 1 or low.shape != high.shape or not np.isfinite([low, high]).all():
        raise ValueError(f"{path}: the statistics of {ours} should be finite numbers, as many of each kind")
    if mode == "MEAN_STD":
        return {f"{ours}_mean": low, f"{ours}_std": widened(high)}
    half = widened(high - low) / 2
    return {f"{ours}_mean": low + half, f"{ours}_std": half}
