"""The chunk that the robot is in: what is left of it, how settled that is, and whether the expert still agrees.

FLASH (2605.13778) answers most replans from a draft that its action expert checks in one call: the draft, noised to an
intermediate time, is denoised with the kept prefix and the fresh state, and an action is accepted that comes out where
it was, within a root mean square of tau over the arm's numbers. Its draft comes from a trained head and is checked at
two times; here the draft is what is left of the last chunk, its last action repeated, checked at the larger, `TIME`.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from kvlab.pi0 import KVCache, Pi0

TIME = 0.1  # of denoising, to which a draft is noised


@dataclass(frozen=True)
class Plan:
    """A computed chunk and how far the robot is in it."""

    actions: Float32[np.ndarray, "chunk action"]  # in the environment's units
    scaled: Float[Tensor, "1 chunk width"]  # as the model answered
    spreads: Float[np.ndarray, " chunk"]  # of each action's end points (`execution.end_point_spread`)
    position: int = 0  # actions that the robot has passed

    def left(self) -> Float32[np.ndarray, "left action"]:
        return self.actions[self.position :]

    def left_spreads(self) -> Float[np.ndarray, " left"]:
        return self.spreads[self.position :]

    def settled(self, actions: int) -> float:
        """The largest spread among the next `actions`, or what is left of them; NaN where nothing is, or known."""
        return float(self.left_spreads()[:actions].max(initial=-np.inf)) if len(self.left()) else float("nan")

    def verify(self, model: Pi0, cache: KVCache, noise: Float[Tensor, "1 chunk width"], actions: int) -> float:
        """How far the expert moves the next `actions` by one look at the draft: the largest of their distances.

        A distance is the root mean square over an action's numbers but the last, the gripper's, in normalised units;
        NaN where nothing is left. `cache` is what to answer from, `noise` what to noise the draft with.
        """
        left = self.scaled[:, self.position :]
        if not left.shape[1]:
            return float("nan")
        draft = torch.cat([left, left[:, -1:].expand(-1, self.position, -1)], dim=1)
        answer = model.denoise(cache, TIME * noise + (1 - TIME) * draft, steps=1, start=TIME)
        arm = self.actions.shape[1] - 1
        moved = (answer - draft)[0, : min(actions, left.shape[1]), :arm].double()
        return float(moved.square().mean(-1).sqrt().max())
