"""`Policy`: a model together with what turns observations into its inputs and its outputs into actions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from textwrap import shorten

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, Float64, Int, Shaped, UInt8
from tokenizers import Tokenizer
from torch import Tensor

from kvlab.pi0.config import Pi0Config
from kvlab.pi0.model import Pi0
from kvlab.pi0.rotation import RAW, without_jumps

# Of Pi0.5, in both published formats.
STATE_PROMPT = "Task: {words}, State: {state};\nAction: "


@dataclass(frozen=True)
class Conventions:
    """What a checkpoint's makers agreed on besides the model. The defaults are those of kvlab's own checkpoints."""

    # `{task}` is the instruction as given, `{words}` the same on one line with spaces for underscores, `{state}` the
    # normalised state in 256 bins over [-1, 1].
    prompt: str = "{task}"
    first_token: int | None = None  # put before every prompt
    # How frames shrink: "smooth" (antialiased, in floats), "rounded" (antialiased, to whole numbers: PIL's way, which
    # openpi takes) or "sampled" (bilinear without antialiasing: LeRobot's way).
    resize: str = "smooth"
    relative: tuple[bool, ...] = ()  # the first dimensions of an action that are predicted relative to the state
    padded_state: bool = False  # the state in the prompt is padded to the model's width, as in LeRobot before 0.5
    execute: int = 5  # actions executed of each chunk in its makers' evaluation (openpi, `examples/libero/main.py`)


@dataclass(frozen=True)
class Policy:
    """A model and its normalisation: raw observations in, raw actions out. One observation at a time."""

    model: Pi0
    stats: Mapping[str, np.ndarray]  # `checkpoint.STAT_NAMES`: centre and scale of the state's and the actions' numbers
    tokenizer: Tokenizer
    trained_on: Mapping[str, object]  # suites, render profile, steps: what the training wrote down
    conventions: Conventions = field(default_factory=Conventions)

    @property
    def config(self) -> Pi0Config:
        return self.model.config

    @property
    def device(self) -> torch.device:
        return self.model.action_out.weight.device

    @property
    def state_dim(self) -> int:
        """Numbers of a raw state; the model's may be padded with zeros to more."""
        return RAW if self.config.rotation == "6d" else len(self.stats["state_mean"])

    @property
    def action_dim(self) -> int:
        """Numbers of a raw action; the model's may be more."""
        return len(self.stats["action_mean"])

    def images(self, images: Mapping[str, UInt8[np.ndarray, "h w 3"]]) -> Float[Tensor, "cameras 3 size size"]:
        """Frames in camera order, padded to a square, resized, in [-1, 1]. KeyError names a missing camera."""
        if missing := [c for c in self.config.cameras if c not in images]:
            raise KeyError(f"the observation has no camera {missing}; it has {sorted(images)}")
        frames = [images[c] for c in self.config.cameras]
        alike = len({frame.shape for frame in frames}) == 1  # then all at once: each operation takes as long for one
        batches = [frames] if alike else [[frame] for frame in frames]
        return torch.cat([self._shrunk(_on_device(batch, self.device)) for batch in batches])

    def _shrunk(self, raw: UInt8[Tensor, "n h w 3"]) -> Float[Tensor, "n 3 size size"]:
        pixels = _resize_with_pad(raw, self.config.image_size, self.conventions.resize)
        return pixels.contiguous().to(self.model.action_out.weight.dtype)

    def state(self, state: Float32[np.ndarray, " state"]) -> Float[Tensor, "1 state"]:
        """Normalised proprioception, padded to the model's width. ValueError if it is of another width."""
        return to_device(self.state_here(state), self.device)

    def state_here(self, state: Float32[np.ndarray, " state"]) -> Float[Tensor, "1 state"]:
        """As `state`, in main memory: to compare it there waits for no GPU."""
        scaled = torch.from_numpy(self._scaled(state)[None])
        padded = F.pad(scaled, (0, self.config.state_dim - scaled.shape[1]))
        return padded.to(self.model.action_out.weight.dtype)

    def _scaled(self, state: np.ndarray) -> Float32[np.ndarray, " state"]:
        if state.shape != (self.state_dim,):
            raise ValueError(f"the model takes a state of {self.state_dim} numbers, got shape {state.shape}")
        if self.config.rotation == "6d":
            state = without_jumps(state)
        return ((state - self.stats["state_mean"]) / self.stats["state_std"]).astype(np.float32)

    def _prompt_state(self, state: np.ndarray) -> Float32[np.ndarray, " numbers"]:
        padding = self.config.state_dim - self.state_dim if self.conventions.padded_state else 0
        return np.pad(self._scaled(state), (0, padding))

    @property
    def prompt_has_state(self) -> bool:
        """True if `tokens` needs the state, so that the prompt is another at every replan."""
        return "{state}" in self.conventions.prompt

    def tokens(self, instruction: str, state: Float32[np.ndarray, " state"] | None = None) -> Int[Tensor, "1 tokens"]:
        """The prompt's token ids, without padding. `state` is raw, and read only where the prompt holds it.

        ValueError if the prompt is longer than the model's, needs a state, or has a token that the model does not know.
        """
        c, config = self.conventions, self.config
        if self.prompt_has_state and state is None:
            raise ValueError("this model's prompt holds the state: give tokens() the state of this replan too")
        bins = bin_numbers(self._prompt_state(state)) if self.prompt_has_state else ()
        words = instruction.strip().replace("_", " ").replace("\n", " ")
        text = c.prompt.format(task=instruction, words=words, state=" ".join(map(str, bins)))
        if c.first_token is None:
            ids = self.tokenizer.encode(text).ids
        else:
            ids = [c.first_token, *self.tokenizer.encode(text, add_special_tokens=False).ids]
        if len(ids) > config.max_tokens:
            shown = shorten(text, 200, placeholder=" ...")
            raise ValueError(f"{shown!r} has {len(ids)} tokens; this model takes at most {config.max_tokens}")
        if max(ids, default=0) >= config.vocab_size:
            raise ValueError(f"{text!r} has token {max(ids)}; the model has embeddings for {config.vocab_size}")
        return to_device(torch.tensor([ids]), self.device)

    def actions(
        self, chunk: Float[Tensor, "1 chunk action"], state: Float32[np.ndarray, " state"] | None = None
    ) -> Float32[np.ndarray, "chunk action"]:
        """A predicted chunk in the units of the environment. `state` is raw, and added where actions are relative.

        ValueError if they are and no state is given.
        """
        scaled = chunk[0, :, : self.action_dim].float().cpu().numpy()
        actions = (scaled * self.stats["action_std"] + self.stats["action_mean"]).astype(np.float32, copy=False)
        if any(self.conventions.relative):
            if state is None:
                raise ValueError("this model predicts actions relative to the state: give actions() that state too")
            relative = np.flatnonzero(self.conventions.relative)
            actions[:, relative] += state[relative]
        return actions


def to_device(x: Tensor, device: torch.device) -> Tensor:
    """`x` from main memory there. The copy to a GPU is queued, and not waited for: it reads pinned memory."""
    return x.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else x.to(device)


def bin_numbers(state: Float32[np.ndarray, " state"]) -> Int[np.ndarray, " state"]:
    """Bin of each number among 256 over [-1, 1]: 255 above, -1 below (openpi, `PaligemmaTokenizer.tokenize`)."""
    return np.digitize(state, np.linspace(-1, 1, 257)[:-1]) - 1


def resize_with_pad(
    frames: UInt8[np.ndarray, "n h w 3"], size: int, resize: str = "smooth", device: torch.device | str = "cpu"
) -> Float[Tensor, "n 3 size size"]:
    """Frames in [-1, 1], scaled to fit and padded with black, in one of the ways of `Conventions.resize`.

    They go to `device` as bytes, and shrink there. Sources: openpi, `image_tools.resize_with_pad`; LeRobot,
    `resize_with_pad_torch`.
    """
    return _resize_with_pad(_on_device(frames, torch.device(device)), size, resize)


def _on_device(frames: Sequence[UInt8[np.ndarray, "h w 3"]], device: torch.device) -> UInt8[Tensor, "n h w 3"]:
    """As `to_device`, stacked. NumPy copies so little in one thread; torch's many take longer to meet."""
    raw = torch.empty((len(frames), *frames[0].shape), dtype=torch.uint8, pin_memory=device.type == "cuda")
    np.stack(frames, out=raw.numpy())
    return raw.to(device, non_blocking=True)


def _resize_with_pad(frames: UInt8[Tensor, "n h w 3"], size: int, resize: str) -> Float[Tensor, "n 3 size size"]:
    raw = frames.permute(0, 3, 1, 2)
    height, width = raw.shape[2:]
    if height == width == size:
        return _scaled_pixels(raw)
    scale, whole = size / max(height, width), round if resize == "smooth" else int
    shape = (max(1, whole(height * scale)), max(1, whole(width * scale)))
    if resize == "rounded":
        on_cpu = raw.device.type == "cpu"  # there torch has PIL's way, to a level of 255 and faster than products
        small = F.interpolate(raw, shape, mode="bilinear", antialias=True) if on_cpu else shrink_as_pil(raw, shape)
        pixels = _scaled_pixels(small)
    else:
        smooth = resize == "smooth"
        pixels = _scaled_pixels(raw)
        pixels = F.interpolate(pixels, shape, mode="bilinear", antialias=smooth, align_corners=False)
        pixels = pixels.clamp(-1, 1)
    left, top = (size - shape[1]) // 2, (size - shape[0]) // 2
    return F.pad(pixels, (left, size - shape[1] - left, top, size - shape[0] - top), value=-1.0)


def shrink_as_pil(raw: UInt8[Tensor, "n 3 h w"], shape: tuple[int, int]) -> Float64[Tensor, "n 3 small_h small_w"]:
    """What PIL's bilinear `resize` gives, to the bit: across, then down, each in whole numbers.

    Its sums are exact in float64, since its weights are multiples of 2**-22 (Pillow, `Resample.c`).
    """
    down, across = (_weights(old, new, raw.device) for old, new in zip(raw.shape[2:], shape, strict=True))
    wide = (raw.double() @ across.T + 0.5).floor()
    return (down @ wide + 0.5).floor()


@cache
def _weights(old: int, new: int, device: torch.device) -> Float64[Tensor, "new old"]:
    """Of each of `old` pixels in each of `new`."""
    each = torch.eye(old, dtype=torch.float64)[None, None]
    exact = F.interpolate(each, (new, old), mode="bilinear", antialias=True)[0, 0]
    return ((exact * 2**22 + 0.5).floor() / 2**22).to(device)


def _scaled_pixels(raw: Shaped[Tensor, "n 3 h w"]) -> Float[Tensor, "n 3 h w"]:
    return raw.float() / 127.5 - 1
