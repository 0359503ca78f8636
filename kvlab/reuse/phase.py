"""Where in the task the robot is, as far as a policy itself can tell: near a grasp or a release, or on its way.

gripper     how far the gripper's command changes within the last two chunks, in the environment's units (0 to 2)
curvature   turn of the hand's path at the replan before, in radians (0 straight on, pi back)
spread      deviation of the last computed chunk over samples of the noise, in normalised units
"""

import math
from collections import deque

import numpy as np
from jaxtyping import Float

PHASES = ("gripper", "curvature", "spread")
SAMPLES = 4  # chunks drawn for the spread


class Phase:
    """Follows an episode. Values are NaN as long as there is too little to tell."""

    def __init__(self):
        self._chunks, self._hands, self._spread = deque(maxlen=2), deque(maxlen=3), float("nan")

    def see(self, hand: Float[np.ndarray, "3"]) -> None:
        """The hand's position (m) at this replan."""
        self._hands.append(np.asarray(hand, float))

    def plan(self, chunk: Float[np.ndarray, "chunk action"]) -> None:
        """What was answered at this replan; the gripper's command is the last component."""
        self._chunks.append(chunk)

    def sample(self, chunks: Float[np.ndarray, "samples chunk action"]) -> None:
        """Chunks (normalised) for other noise, from a cache that was just computed."""
        self._spread = float(np.sqrt(chunks.var(axis=0).mean()))

    def values(self) -> dict[str, float]:
        """All of PHASES."""
        return {"gripper": self._gripper(), "curvature": self._curvature(), "spread": self._spread}

    def _gripper(self) -> float:
        if not self._chunks:
            return float("nan")
        commands = np.concatenate([chunk[:, -1] for chunk in self._chunks])
        return float(np.ptp(commands))

    def _curvature(self) -> float:
        if len(self._hands) < 3:
            return float("nan")
        a, b = np.diff(self._hands, axis=0)
        lengths = math.hypot(*a) * math.hypot(*b)
        return math.acos(min(max((a * b).sum() / lengths, -1.0), 1.0)) if lengths > 0 else 0.0
