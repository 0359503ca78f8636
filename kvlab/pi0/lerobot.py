"""What a folder in LeRobot's format says beside its weights: `config.json`, and a pre- and a post-processor as JSON.

Settings are those of LeRobot 0.4 to 0.6 (`policies/pi0`, `policies/pi05`, `processor/`). LeRobot does not write which
release trained a checkpoint; where that matters and nothing else tells it, the entry `lerobot_version` has to.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from packaging.version import InvalidVersion, Version
from pydantic import Field, PositiveInt
from safetensors.torch import load_file

from kvlab.pi0.entries import Entries, Told
from kvlab.pi0.files import damage_is_named, inside, read_json
from kvlab.pi0.normalisation import DATASET, affine
from kvlab.pi0.policy import STATE_PROMPT, Conventions

IMAGES = "observation.images."
# A LIBERO camera of ours where the published name means one: LeRobot's environment, openpi's slots, openpi's data.
CAMERAS = {
    "image": "agentview",
    "image2": "wrist",
    "base_0_rgb": "agentview",
    "left_wrist_0_rgb": "wrist",
    "wrist_image": "wrist",
}
EMPTY = ("empty_camera_", "right_wrist_0_rgb")  # how names of slots begin that LIBERO leaves empty
PADDED_UNTIL = Version("0.5")  # releases before put the state into Pi0.5's prompt padded to the model's width
PROMPTS = {"pi05_prepare_state_tokenizer_processor_step": STATE_PROMPT, "pi0_new_line_processor": "{task}\n"}
EXECUTED = 50  # actions of each chunk, where `n_action_steps` is not said

Kind = TypeVar("Kind", bound=Entries)


class Feature(Entries):
    type: str
    shape: list[PositiveInt] = Field(min_length=1)


class Config(Entries):
    """Of `config.json`, what inference depends on. What only training reads is not listed, and may be anything."""

    type: Literal["pi0", "pi05"]
    paligemma_variant: str | None = None
    action_expert_variant: str | None = None
    n_obs_steps: Literal[1] = 1
    chunk_size: PositiveInt | None = None
    n_action_steps: PositiveInt | None = None
    max_state_dim: PositiveInt | None = None
    max_action_dim: PositiveInt | None = None
    num_inference_steps: PositiveInt | None = None
    tokenizer_max_length: PositiveInt | None = None
    image_resolution: list[PositiveInt] | None = Field(None, min_length=2, max_length=2)
    min_period: float = 4e-3
    max_period: float = 4.0
    input_features: dict[str, Feature] | None = None
    output_features: dict[str, Feature] | None = None
    normalization_mapping: dict[str, str] | None = None
    use_relative_actions: bool | None = None
    use_peft: Literal[False] | None = None
    use_visual_memory: Literal[False] | None = None
    use_proprioceptive_memory: Literal[False] | None = None
    # Not LeRobot's entries of this file: what its commands take, or what its releases differ in.
    rename_map: dict[str, str] | None = None
    norm_stats: dict[str, dict] | None = None
    lerobot_version: str | None = None


class Step(Entries):
    registry_name: str | None = None
    class_: str | None = Field(None, alias="class")
    config: dict = {}
    state_file: str | None = None


class Steps(Entries):
    steps: list[Step]


class Normalizer(Entries):
    norm_map: dict[str, str]
    eps: float = Field(1e-8, ge=0, allow_inf_nan=False)
    normalize_observation_keys: list[str] | None = None


class Relative(Entries):
    enabled: bool = False
    exclude_joints: list[str] | None = None
    action_names: list | None = None


class Rename(Entries):
    rename_map: dict[str, str] = {}


def read(folder: Path, data: dict) -> Told:
    """Raises FileNotFoundError that names a file which is missing, and ValueError where an entry is wrong."""
    where = folder / "config.json"
    config = Config.read(data, where)
    side = config.image_resolution or [None, None]
    periods = (config.min_period, config.max_period)
    if side[0] != side[1] or periods != (4e-3, 4.0):
        raise ValueError(
            f"{where}: frames should be square and the time's periods 0.004 to 4, got {side} and {periods}"
        )
    if (frames := (config.normalization_mapping or {}).get("VISUAL", "IDENTITY")) != "IDENTITY":
        raise ValueError(f"{where}: frames should need no normalisation (IDENTITY), got {frames}")
    before, after = (Processor.read(folder, f"policy_{part}processor.json") for part in ("pre", "post"))
    stats = _stats(folder, "state", "STATE", before, config.input_features, config.norm_stats)
    stats |= _stats(folder, "action", "ACTION", after, config.output_features, config.norm_stats)
    prompt = next((text for name, text in PROMPTS.items() if name in before.steps), "{task}")
    return Told(
        variants=(config.paligemma_variant, config.action_expert_variant),
        sizes={
            "chunk": config.chunk_size,
            "state_dim": config.max_state_dim,
            "action_dim": config.max_action_dim,
            "max_tokens": config.tokenizer_max_length,
            "pi05": config.type == "pi05",
            "cameras": _cameras(where, config, before.settings("rename_observations_processor", Rename)),
            "image_size": side[0],
            "denoising_steps": config.num_inference_steps,
        },
        stats=stats,
        conventions=Conventions(
            prompt,
            resize="sampled",
            relative=_relative(before, after, len(stats["action_mean"])),
            padded_state=prompt == STATE_PROMPT and _padded(where, config),
            execute=config.n_action_steps or min(EXECUTED, config.chunk_size or EXECUTED),
        ),
        facts={"format": "lerobot"},
    )


def _padded(where: Path, config: Config) -> bool:
    """Whether the state in the prompt is padded. Releases from 0.5.1 on write `use_relative_actions`."""
    try:
        if config.lerobot_version is not None:
            return Version(config.lerobot_version) < PADDED_UNTIL
    except InvalidVersion:
        raise ValueError(f"{where}: lerobot_version should be like 0.4.4, got {config.lerobot_version!r}") from None
    if "use_relative_actions" in config.model_fields_set:
        return False
    raise ValueError(
        f"{where} does not tell which LeRobot trained it, and the prompt depends on that: up to 0.4.4 (February 2026) "
        "it holds the state padded to 32 numbers, from 0.5.0 on the state's own numbers alone: add lerobot_version to "
        "config.json, or give it as --config lerobot_version=0.4.4"
    )


def _cameras(where: Path, config: Config, saved: Rename) -> tuple[str, ...]:
    """Cameras in LeRobot's order, less the slots that it feeds with masked, empty frames.

    LeRobot masks whatever its environment does not supply once a `rename_map` is given, or where both of LIBERO's
    cameras are supplied (`validate_visual_features_consistency`). Else a name that is unknown is kept.
    """
    features = (config.input_features or {}).items()
    names = [key.removeprefix(IMAGES) for key, feature in features if feature.type == "VISUAL"]
    renamed = saved.rename_map if config.rename_map is None else config.rename_map
    pairs = {new.removeprefix(IMAGES): old.removeprefix(IMAGES) for old, new in renamed.items()}
    if config.rename_map and not pairs.keys() & {*names}:
        raise ValueError(
            f"{where}: rename_map should lead to cameras that the policy has: {', '.join(names)}; got {renamed}"
        )
    fed = {name: CAMERAS.get(pairs.get(name, name), CAMERAS.get(name)) for name in names}
    found = [camera for camera in fed.values() if camera]
    complete = pairs.keys() & {*names} or len({*found}) == 2
    cameras = tuple(
        camera or name for name, camera in fed.items() if camera or not (complete or name.startswith(EMPTY))
    )
    if not cameras or len({*cameras}) < len(cameras):
        raise ValueError(
            f"{where}: input_features should name cameras, each once, got {names}, here {cameras}; "
            'say which is which as --config \'rename_map={"observation.images.image": "observation.images.NAME"}\''
        )
    return cameras


@dataclass(frozen=True)
class Processor:
    """A LeRobot processor: its steps by registry name."""

    path: Path
    steps: dict[str, Step]

    # What the steps do is done by `Policy` from the fields read above, or has nothing to do with numbers.
    KNOWN = frozenset(
        "rename_observations_processor to_batch_processor device_processor tokenizer_processor "
        "pi0_new_line_processor pi05_prepare_state_tokenizer_processor_step relative_actions_processor "
        "absolute_actions_processor normalizer_processor unnormalizer_processor".split()
    )
    RENAMED = {"delta_actions_processor": "relative_actions_processor"}  # in 0.5.1

    @classmethod
    def read(cls, folder: Path, name: str) -> "Processor":
        if not (path := folder / name).is_file():
            raise FileNotFoundError(
                f"{folder} is a LeRobot checkpoint without {name}, which holds its normalisation; one of before 0.4 is "
                "brought up to date by LeRobot's processor/migrate_policy_normalization.py"
            )
        found = [(step.registry_name or str(step.class_), step) for step in Steps.read(read_json(path), path).steps]
        rows = [(cls.RENAMED.get(name, name), step) for name, step in found]
        steps = dict(rows)
        if unknown := sorted(steps.keys() - cls.KNOWN):
            raise ValueError(f"{path} has steps that are not those of Pi0 or Pi0.5: {', '.join(unknown)}")
        if len(steps) < len(rows):
            raise ValueError(f"{path} should have each step once, got {', '.join(name for name, _ in rows)}")
        return cls(path, steps)

    def settings(self, name: str, kind: type[Kind]) -> Kind:
        """Of a step, or the defaults where there is none."""
        step = self.steps.get(name)
        return kind.read(step.config if step else {}, f"{self.path}: {name}")


def _relative(before: Processor, after: Processor, action_dim: int) -> tuple[bool, ...]:
    """Which dimensions of an action are relative to the state (LeRobot, `RelativeActionsProcessorStep`)."""
    config = before.settings("relative_actions_processor", Relative)
    if config.enabled != after.settings("absolute_actions_processor", Relative).enabled:
        raise ValueError(f"{before.path} and {after.path} should both make actions relative, or neither of them")
    if not config.enabled:
        return ()
    absolute = [name.lower() for name in config.exclude_joints or [] if name]
    names = [str(name).lower() for name in config.action_names or []][:action_dim]
    return (*(not any(a in name for a in absolute) for name in names), *[True] * (action_dim - len(names)))


def _stats(
    folder: Path,
    ours: str,
    kind: str,
    processor: Processor,
    features: dict[str, Feature] | None,
    given: dict[str, dict] | None,
) -> dict:
    """Of the state or the action, out of the folder or, if there are any, out of those that are `given`."""
    name, theirs = ("normalizer_processor", "state") if ours == "state" else ("unnormalizer_processor", "actions")
    if name not in processor.steps:
        raise ValueError(f"{processor.path} should have a step {name}, it has {', '.join(processor.steps)}")
    feature, file = DATASET[theirs], processor.steps[name].state_file
    config = processor.settings(name, Normalizer)
    keys = config.normalize_observation_keys
    mode = config.norm_map.get(kind, "IDENTITY") if ours == "action" or keys is None or feature in keys else "IDENTITY"
    told = (features or {}).get(feature)
    if given:  # openpi's may be padded to the model's width
        path = folder / "config.json"
        width = told.shape[0] if told else None
        stats = {kind: values[:width] for kind, values in given.get(theirs, {}).items()}
    else:
        path, stats = _stored(folder, feature, file)

    def widened(width):
        if mode == "MEAN_STD":  # LeRobot adds it on the way in only
            return width + config.eps if ours == "state" else width
        return np.where(width == 0, config.eps, width)

    found = affine(ours, stats, mode, widened, path)
    if told and (width := len(found[f"{ours}_mean"])) != told.shape[0]:
        raise ValueError(
            f"{folder / 'config.json'} says {feature} has {told.shape[0]} numbers, its statistics have {width}"
        )
    return found


def _stored(folder: Path, feature: str, file: str | None) -> tuple[Path, dict[str, list]]:
    """The processor's file, and the statistics of a feature in it."""
    if not file or not (path := inside(folder, file)).is_file():
        raise FileNotFoundError(
            f"{folder} lacks the statistics of {feature}: {file or 'its processor names no file'}; --statistics names "
            "openpi's norm_stats.json or a dataset's meta/stats.json in their place"
        )
    with damage_is_named(path):
        tensors = load_file(path)
    return path, {k.removeprefix(f"{feature}."): v.tolist() for k, v in tensors.items() if k.startswith(f"{feature}.")}
