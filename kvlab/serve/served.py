"""What a server serves: a policy in a setting, and the observations that this policy takes over the wire."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, UInt8

import kvlab
from kvlab.pi0 import Policy
from kvlab.pi0.checkpoint import checkpoint_digest
from kvlab.pi0.files import local_folder
from kvlab.reuse import CachedPolicy
from kvlab.reuse.execution import Execution, parse_execution
from kvlab.serve.wire import Picture
from kvlab.study.loading import load_policy
from kvlab.study.settings import Setting

CAMERAS = {"agentview": "image", "wrist": "wrist_image"}  # ours: openpi's names of LIBERO's; others keep their own
LIBERO_STATE = 8
SMALLEST, LARGEST = 8, 4096  # pixels along a side of a frame
LONGEST = 2000  # characters of a prompt


@dataclass(frozen=True)
class Served:
    """A policy in a setting, as every connection of a server gets it, each with a cache of its own.

    With `log_signals` every similarity is computed at every replan, as `kvlab run` does, and not only what the gate
    reads. Raises ValueError where the policy cannot do what the setting says.
    """

    name: str
    digest: str
    policy: Policy
    setting: Setting
    device: str = "cpu"
    log_signals: bool = False

    @classmethod
    def load(
        cls, checkpoint: Path | str, setting: Setting, device: str = "cpu", log_signals: bool = False, **options
    ) -> "Served":
        """Of a checkpoint; `options` are those of `load_policy`, as which it raises."""
        folder = local_folder(checkpoint)
        policy = load_policy(folder, device, **options)
        return cls(str(checkpoint), checkpoint_digest(folder), policy, setting, device, log_signals)

    def __post_init__(self) -> None:
        if self.setting.seeing != "live":
            raise ValueError(f"a server shows its policy what is there: leave `seeing {self.setting.seeing}` out")
        self.cached()

    @cached_property
    def execute(self) -> Execution:
        """How many actions of a chunk a client is expected to execute, unless it says otherwise."""
        return parse_execution(self.setting.execute or self.policy.conventions.execute)

    @cached_property
    def is_libero(self) -> bool:
        """Whether a state begins with the hand's position in metres."""
        return {*self.policy.config.cameras} <= CAMERAS.keys() and self.policy.state_dim == LIBERO_STATE

    def cached(self) -> CachedPolicy:
        """One connection's policy."""
        return self.setting.on(self.policy, str(self.execute), log_signals=self.log_signals)

    @property
    def keys(self) -> dict[str, str]:
        """Where in openpi's observations the frame of each camera is."""
        return {camera: f"observation/{CAMERAS.get(camera, camera)}" for camera in self.policy.config.cameras}

    def metadata(self) -> dict[str, object]:
        """What is served, as plain values."""
        policy = self.policy
        turned = " (LIBERO's frames turned by 180 degrees, as openpi's client sends them)" if self.is_libero else ""
        state = " (hand's position in m, axis-angle in rad, two finger joints in m)" if self.is_libero else ""
        return {
            "server": f"kvlab {kvlab.__version__}",
            "model": "pi05" if policy.config.pi05 else "pi0",
            "checkpoint": self.name,
            "digest": self.digest,
            "setting": str(self.setting),
            "mode": self.setting.mode,
            "gate": self.setting.gate,
            "denoising_steps": self.setting.denoising_steps or policy.config.denoising_steps,
            "device": self.device,
            "chunk": policy.config.chunk,
            "execute": str(self.execute),
            "action_dim": policy.action_dim,
            "observation": {key: f"uint8 (height, width, 3) RGB{turned}" for key in self.keys.values()}
            | {"observation/state": f"({policy.state_dim},){state}", "prompt": "text"},
        }

    def frames(self, given: Mapping[str, object]) -> dict[str, UInt8[np.ndarray, "h w 3"]]:
        """The policy's frames out of what was sent for each of its cameras. ValueError where one is no such frame."""
        return {camera: self._frame(given[camera], camera) for camera in self.policy.config.cameras}

    def _frame(self, sent: object, camera: str) -> UInt8[np.ndarray, "h w 3"]:
        frame = sent.decoded() if isinstance(sent, Picture) else sent
        right = isinstance(frame, np.ndarray) and frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[2] == 3
        if not right or not all(SMALLEST <= side <= LARGEST for side in frame.shape[:2]):
            raise ValueError(
                f"the frame of the camera {camera} should be uint8 of shape (height, width, 3), {SMALLEST} to "
                f"{LARGEST} pixels a side; got {_said(frame)}"
            )
        return mirrored(frame) if self._is_own else frame

    def state(self, sent: object) -> Float32[np.ndarray, " state"]:
        """The policy's state out of what was sent. ValueError where that is not as many finite numbers."""
        width = self.policy.state_dim
        if not isinstance(sent, np.ndarray) or sent.shape != (width,) or sent.dtype.kind not in "iuf":
            raise ValueError(f"the state should be an array of {width} numbers, got {_said(sent)}")
        state = sent.astype(np.float32)
        if not np.isfinite(state).all():
            raise ValueError(f"the state should be finite, but number {np.flatnonzero(~np.isfinite(state))[0]} is not")
        if self._is_own:
            state[3:6] = shorter_turn(state[3:6])
        return state

    @cached_property
    def _is_own(self) -> bool:
        """kvlab's own checkpoints see frames upright, not mirrored as openpi's client has them."""
        return self.is_libero and "format" not in self.policy.trained_on


def prompt_of(sent: object) -> str:
    """The instruction. ValueError where it is no text, or longer than any."""
    if not isinstance(sent, str) or not sent.strip() or len(sent) > LONGEST:
        raise ValueError(f"the prompt should be text of 1 to {LONGEST} characters, got {_said(sent)}")
    return sent


def mirrored(frame: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """Left and right exchanged; a pixel at a time, which numpy does in half the time."""
    return np.ascontiguousarray(np.ascontiguousarray(frame).view("V3")[:, ::-1]).view(np.uint8)


def shorter_turn(turn: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3"]:
    """The rotation vector (rad) of at most half a turn that ends where this one does, itself if it is one.

    openpi's client sends up to a whole turn (`_quat2axisangle` in `examples/libero/main.py`).
    """
    angle = float(np.linalg.norm(turn))
    return turn * (1 - 2 * np.pi / angle) if np.pi < angle <= 2 * np.pi else turn


def _said(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} of shape {value.shape}"
    return f"{len(value)} characters" if isinstance(value, str) else type(value).__name__
