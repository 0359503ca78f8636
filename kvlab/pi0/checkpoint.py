"""A checkpoint is a folder: weights (safetensors), config, normalisation statistics and tokenizer (JSON).

Nothing in it is executed on load. `Policy` is the model together with what turns observations into its inputs.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, Int, UInt8
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor

from kvlab.pi0.config import Pi0Config
from kvlab.pi0.model import Pi0

WEIGHTS, CONFIG, STATS, TOKENIZER = "model.safetensors", "config.json", "stats.json", "tokenizer.json"
STAT_NAMES = ("state_mean", "state_std", "action_mean", "action_std")


@dataclass(frozen=True)
class Policy:
    """A model and its normalisation: raw observations in, raw actions out. One observation at a time."""

    model: Pi0
    stats: Mapping[str, np.ndarray]  # STAT_NAMES, float32
    tokenizer: Tokenizer
    trained_on: Mapping[str, object]  # suites, render profile, steps: what the training wrote down

    @property
    def config(self) -> Pi0Config:
        return self.model.config

    @property
    def device(self) -> torch.device:
        return self.model.action_out.weight.device

    def images(self, images: Mapping[str, UInt8[np.ndarray, "h w 3"]]) -> Float[Tensor, "cameras 3 size size"]:
        """Frames in camera order, padded to a square, resized, in [-1, 1]. KeyError names a missing camera."""
        if missing := [c for c in self.config.cameras if c not in images]:
            raise KeyError(f"the observation has no camera {missing}; it has {sorted(images)}")
        frames = [resize_with_pad(images[c], self.config.image_size) for c in self.config.cameras]
        return torch.stack(frames).to(self.device, self.model.action_out.weight.dtype)

    def state(self, state: Float32[np.ndarray, " state"]) -> Float[Tensor, "1 state"]:
        """Normalised proprioception. ValueError if its width is not the model's."""
        if state.shape != (self.config.state_dim,):
            raise ValueError(f"the model takes a state of {self.config.state_dim} numbers, got shape {state.shape}")
        scaled = (state - self.stats["state_mean"]) / self.stats["state_std"]
        return torch.from_numpy(scaled[None].astype(np.float32)).to(self.device, self.model.action_out.weight.dtype)

    def tokens(self, instruction: str) -> Int[Tensor, "1 tokens"]:
        """The prompt's token ids, without padding. ValueError if it is longer than the model's prompt."""
        ids = self.tokenizer.encode(instruction).ids
        if len(ids) > self.config.max_tokens:
            raise ValueError(
                f"{instruction!r} has {len(ids)} tokens; this model takes at most {self.config.max_tokens}"
            )
        return torch.tensor([ids], device=self.device)

    def actions(self, chunk: Float[Tensor, "1 chunk action"]) -> Float32[np.ndarray, "chunk action"]:
        """A predicted chunk in the units of the environment."""
        return chunk[0].float().cpu().numpy() * self.stats["action_std"] + self.stats["action_mean"]


def resize_with_pad(frame: UInt8[np.ndarray, "h w 3"], size: int) -> Float[Tensor, "3 size size"]:
    """A frame in [-1, 1], scaled to fit and padded with black (openpi, `image_tools.resize_with_pad`)."""
    pixels = torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1).float() / 127.5 - 1
    height, width = pixels.shape[1:]
    if height == width == size:
        return pixels
    scale = size / max(height, width)
    shape = (max(1, round(height * scale)), max(1, round(width * scale)))
    pixels = F.interpolate(pixels[None], shape, mode="bilinear", antialias=True, align_corners=False)[0].clamp(-1, 1)
    left, top = (size - shape[1]) // 2, (size - shape[0]) // 2
    return F.pad(pixels, (left, size - shape[1] - left, top, size - shape[0] - top), value=-1.0)


def save(policy: Policy, folder: Path | str, dtype: torch.dtype = torch.bfloat16) -> None:
    """Write a checkpoint folder, each file under a temporary name and then moved."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    stats = {name: np.asarray(policy.stats[name], dtype=np.float64).tolist() for name in STAT_NAMES}
    config = {"model": policy.config.to_json(), "trained_on": dict(policy.trained_on)}
    texts = {
        CONFIG: json.dumps(config, indent=2) + "\n",
        STATS: json.dumps(stats, indent=2) + "\n",
        TOKENIZER: policy.tokenizer.to_str(pretty=True),
    }
    for name, text in texts.items():
        (folder / f"{name}.part").write_text(text)
        os.replace(folder / f"{name}.part", folder / name)
    weights = {k: v.detach().to("cpu", dtype).contiguous() for k, v in policy.model.state_dict().items()}
    save_file(weights, folder / f"{WEIGHTS}.part")
    os.replace(folder / f"{WEIGHTS}.part", folder / WEIGHTS)


def load(folder: Path | str, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Policy:
    """Read a checkpoint folder.

    Raises FileNotFoundError naming the files that are missing, and ValueError where a file is damaged or where tensors
    are missing, unexpected or of another shape (all are named). A model is never left with random weights.
    """
    folder = Path(folder)
    if absent := [n for n in (CONFIG, STATS, TOKENIZER, WEIGHTS) if not (folder / n).is_file()]:
        raise FileNotFoundError(f"{folder} is not a kvlab checkpoint: it lacks {', '.join(absent)}")
    config = _json(folder / CONFIG)
    if missing := {"model", "trained_on"} - config.keys():
        raise ValueError(f"{folder / CONFIG} is not a kvlab config: it lacks {sorted(missing)}")
    with torch.device("meta"):
        model = Pi0(Pi0Config.from_json(config["model"]))
    model.load_state_dict(_weights(folder / WEIGHTS, model, device, dtype), assign=True)
    try:
        tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
    except Exception as error:  # the library raises bare Exception
        raise ValueError(f"{folder / TOKENIZER} is not a readable tokenizer: {error}") from error
    if (words := tokenizer.get_vocab_size()) > (rows := model.config.vocab_size):
        raise ValueError(f"{folder / TOKENIZER} has {words} tokens; the model has embeddings for {rows}")
    stats = _stats(folder / STATS, model.config)
    return Policy(model.eval().requires_grad_(False), stats, tokenizer, config["trained_on"])


def _json(path: Path) -> dict:
    try:
        data = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not readable JSON: {error}") from error
    if not isinstance(data, dict):
        raise ValueError(f"{path} should hold a JSON object, got {type(data).__name__}")
    return data


def _stats(path: Path, config: Pi0Config) -> dict[str, np.ndarray]:
    data = _json(path)
    if data.keys() != set(STAT_NAMES):
        raise ValueError(f"{path} should hold {sorted(STAT_NAMES)}, got {sorted(data)}")
    for name, values in data.items():
        width = config.state_dim if name.startswith("state") else config.action_dim
        numbers = isinstance(values, list) and all(isinstance(v, int | float) and np.isfinite(v) for v in values)
        if not numbers or len(values) != width or (name.endswith("std") and min(values) <= 0):
            raise ValueError(f"{path}: {name} should be {width} finite numbers (deviations above 0), got {values}")
    return {name: np.asarray(values, dtype=np.float32) for name, values in data.items()}


def _weights(path: Path, model: Pi0, device: str, dtype: torch.dtype) -> dict[str, Tensor]:
    expected = {k: tuple(v.shape) for k, v in model.state_dict().items()}
    try:
        with safe_open(path, framework="pt", device=device) as file:
            found = {k: tuple(file.get_slice(k).get_shape()) for k in file.keys()}  # noqa: SIM118 (not a dict)
            problems = {
                "missing": sorted(expected.keys() - found.keys()),
                "unexpected": sorted(found.keys() - expected.keys()),
                "of another shape": [
                    f"{k} {found[k]} instead of {expected[k]}"
                    for k in sorted(expected.keys() & found.keys())
                    if found[k] != expected[k]
                ],
            }
            if any(problems.values()):
                told = "; ".join(f"{what}: {_shorten(names)}" for what, names in problems.items() if names)
                raise ValueError(f"{path} does not fit its config: {told}")
            return {k: file.get_tensor(k).to(dtype) for k in expected}
    except SafetensorError as error:
        raise ValueError(f"{path} is truncated or not a safetensors file: {error}") from error


def _shorten(names: list[str], most: int = 8) -> str:
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
