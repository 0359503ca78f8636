"""Demonstrations as training batches: all frames in memory, on the training device, augmented there."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from safetensors import SafetensorError, safe_open
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Whitespace
from torch import Tensor
from tqdm import tqdm

from kvlab.pi0.weights import free_memory


@dataclass(frozen=True)
class Demonstrations:
    """Every step of many episodes, one after another. `last` is the index of the final step of each step's episode."""

    frames: UInt8[Tensor, "cameras steps size size 3"]
    states: Float[Tensor, "steps state"]
    actions: Float[Tensor, "steps action"]
    task: Int[Tensor, " steps"]  # index into `languages`
    last: Int[Tensor, " steps"]
    languages: tuple[str, ...]
    facts: dict[str, str]  # what all files agree on: render profile, frame size

    def __len__(self) -> int:
        return len(self.states)


@dataclass(frozen=True)
class Batch:
    """One training batch, normalised."""

    images: Float[Tensor, "cameras batch 3 size size"]
    tokens: Int[Tensor, "batch tokens"]
    tokens_valid: Bool[Tensor, "batch tokens"]
    state: Float[Tensor, "batch state"]
    actions: Float[Tensor, "batch chunk action"]
    actions_valid: Bool[Tensor, "batch chunk"]


def read(files: list[Path], cameras: tuple[str, ...], device: str) -> Demonstrations:
    """Read demonstration files (safetensors with one uint8 tensor per camera, `state` and `action`).

    Frames go from each file to their place on `device` and are never in memory twice. Raises ValueError where there are
    no files, where one is damaged or lacks a part, or where they were drawn in different ways; MemoryError where the
    frames do not fit on `device`.
    """
    if not files:
        raise ValueError("no demonstration files (*.safetensors) there; `kvlab demos` makes them")
    heads = [_head(path, cameras) for path in files]
    facts = {k: heads[0][1][k] for k in ("render", "size")}
    for path, (_, metadata) in zip(files, heads, strict=True):
        if (drawn := {k: metadata[k] for k in facts}) != facts:
            raise ValueError(f"{path} was drawn with {drawn}, the files before it with {facts}")
    lengths = torch.tensor([shape[0] for shape, _ in heads])
    frames, rest = _room((len(cameras), int(lengths.sum()), *heads[0][0][1:]), device), []
    parts = zip(files, frames.split(lengths.tolist(), dim=1), strict=True)
    for path, part in tqdm(parts, desc="reading demonstrations", unit="demo", total=len(files)):
        with safe_open(path, framework="pt") as file:
            for view, camera in zip(part, cameras, strict=True):
                view.copy_(file.get_tensor(camera))
            rest.append((file.get_tensor("state"), file.get_tensor("action")))
    spoken = [metadata["language"] for _, metadata in heads]
    languages = tuple(dict.fromkeys(spoken))
    states, actions = (torch.cat(values).to(device) for values in zip(*rest, strict=True))
    return Demonstrations(
        frames=frames,
        states=states,
        actions=actions,
        task=torch.tensor([languages.index(one) for one in spoken]).repeat_interleave(lengths).to(device),
        last=(lengths.cumsum(0) - 1).repeat_interleave(lengths).to(device),
        languages=languages,
        facts=facts,
    )


def _head(path: Path, cameras: tuple[str, ...]) -> tuple[tuple[int, ...], dict[str, str]]:
    """Shape of a camera's frames (steps first), and metadata, of one file."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            needed = {*cameras, "state", "action", "language", "render", "size"}
            if missing := needed - {*file.keys(), *metadata}:
                raise ValueError(f"{path} is not a demonstration: it lacks {sorted(missing)}")
            return tuple(file.get_slice(cameras[0]).get_shape()), metadata
    except SafetensorError as error:
        raise ValueError(f"{path} is truncated or not a safetensors file: {error}") from error


def _room(shape: tuple[int, ...], device: str) -> UInt8[Tensor, "cameras steps size size 3"]:
    if (takes := math.prod(shape)) > (free := free_memory(device)):
        raise MemoryError(
            f"the frames of {shape[1]} steps take {takes / 1e9:.1f} GB, but {device} has {free / 1e9:.1f} GB of memory "
            "free: train on fewer demonstrations"
        )
    return torch.empty(shape, dtype=torch.uint8, device=device)


def word_tokenizer(texts: tuple[str, ...]) -> Tokenizer:
    """A tokenizer whose vocabulary is the words of `texts`, with [PAD] = 0 and [UNK] = 1."""
    normalizer, splitter = Lowercase(), Whitespace()
    words = {w for text in texts for w, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text))}
    vocabulary = {w: i for i, w in enumerate(["[PAD]", "[UNK]", *sorted(words)])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, splitter
    return tokenizer


def padded_tokens(
    tokenizer: Tokenizer, texts: tuple[str, ...], length: int, device: str
) -> Int[Tensor, "texts length"]:
    ids = [tokenizer.encode(text).ids for text in texts]
    if (longest := max(map(len, ids))) > length:
        raise ValueError(f"the longest instruction has {longest} tokens; the model takes {length}")
    return torch.tensor([row + [0] * (length - len(row)) for row in ids], device=device)


def statistics(demos: Demonstrations) -> dict[str, np.ndarray]:
    """Mean and deviation of states and actions; deviations are kept above 1e-3 so that constants stay finite."""
    values = {"state": demos.states, "action": demos.actions}
    mean = {f"{k}_mean": v.mean(0).cpu().numpy() for k, v in values.items()}
    return mean | {f"{k}_std": v.std(0).clamp_min(1e-3).cpu().numpy() for k, v in values.items()}


def sample(
    demos: Demonstrations,
    steps: Int[Tensor, " batch"],
    tokens: Int[Tensor, "texts length"],
    stats: dict[str, Tensor],
    chunk: int,
    augment: bool,
) -> Batch:
    """The batch of these step indices. Augmented: images shifted, brightness and contrast changed, state disturbed."""
    ahead = steps[:, None] + torch.arange(chunk, device=steps.device)
    last = demos.last[steps][:, None]
    actions = (demos.actions[torch.minimum(ahead, last)] - stats["action_mean"]) / stats["action_std"]
    state = (demos.states[steps] - stats["state_mean"]) / stats["state_std"]
    images = demos.frames[:, steps].permute(0, 1, 4, 2, 3).float() / 127.5 - 1
    if augment:
        images = torch.stack([_shake(camera) for camera in images])
        state = state + 0.05 * torch.randn_like(state)
    prompt = tokens[demos.task[steps]]
    return Batch(images, prompt, prompt != 0, state, actions, ahead <= last)


def _shake(images: Float[Tensor, "batch 3 size size"], pixels: float = 5.0) -> Float[Tensor, "batch 3 size size"]:
    """Shift by up to `pixels`, then change contrast by up to 20 % and brightness by up to 0.1 of the range's half."""
    n, size = len(images), images.shape[-1]
    theta = torch.eye(2, 3, device=images.device).repeat(n, 1, 1)
    theta[:, :, 2] = (torch.rand(n, 2, device=images.device) * 2 - 1) * 2 * pixels / size
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    shifted = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    gain = 1 + 0.2 * (torch.rand(n, 1, 1, 1, device=images.device) * 2 - 1)
    bias = 0.1 * (torch.rand(n, 1, 1, 1, device=images.device) * 2 - 1)
    return (shifted * gain + bias).clamp(-1, 1)
