"""Scripted experts: they read the simulator's state and act through the same 7 numbers as a policy.

One state machine, reach - close - carry - release, is enough for all of `libero_spatial`; the tasks of `libero_10` are
composed of primitives in `long_tasks`. Lengths are in metres, in the world frame; a step is 1/20 s.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from kvlab.sim.clearance import crowding, obstacles
from kvlab.sim.env import LiberoEnv
from kvlab.sim.hand import CLOSED, DOWN, OPEN, SLEW, funnel, inside, servo, turn_to
from kvlab.sim.long_tasks import LongExpert

SUITES = ("libero_spatial", "libero_10")


def check_suite(suite: str) -> None:
    """ValueError, naming those that have one, for a suite without an expert."""
    if suite not in SUITES:
        raise ValueError(f"No expert for suite {suite!r}: there is one for {', '.join(SUITES)}.")


def expert_for(env: LiberoEnv) -> "BowlExpert | LongExpert":
    """An attempt at the environment's task: `act()` gives the next action until `done`.

    ValueError for a suite without an expert.
    """
    check_suite(env.task.suite)
    return LongExpert(env) if env.task.suite == "libero_10" else BowlExpert(env)


@dataclass(frozen=True)
class Grasp:
    """Where to hold a bowl's rim: distance from its axis and height above its origin; how far to lift it first."""

    radius: float = 0.047
    height: float = 0.027
    lift: float = 0.07
    clear: float = 0.04  # no sideways motion before this much of the lift


TABLE, DRAWER = Grasp(), Grasp(radius=0.036, height=0.036, lift=0.10, clear=0.075)


class BowlExpert:
    """Picks up the task's bowl by its rim and puts it on the task's plate. One instance is one attempt."""

    def __init__(self, env: LiberoEnv, aside: Float[np.ndarray, "2"] | None = None):
        """`env` with an open or empty hand; `aside` (m) puts the bowl that far from the plate's middle.

        ValueError for a suite other than `libero_spatial`.
        """
        if env.task.suite != "libero_spatial":
            raise ValueError(f"BowlExpert knows the tasks of libero_spatial, not those of {env.task.suite}.")
        (goal,) = env.libero.parsed_problem["goal_state"]
        self.env, self.bowl, self.plate = env, env.libero.obj_body_id[goal[1]], env.libero.obj_body_id[goal[2]]
        self.aside = np.zeros(2) if aside is None else aside
        self.base = env.data.body(env.libero.robots[0].robot_model.root_body).xpos.copy()
        self.site = env.libero.robots[0].eef_site_id
        self.fingers = env.libero.robots[0]._ref_gripper_joint_pos_indexes
        self.last = np.zeros(6)
        self._begin()

    def _begin(self) -> None:
        self.phase, self.waited, self.width = "reach", 0, self._opening()
        raised = self.env.data.xpos[self.bowl][2] - self.env.data.xpos[self.plate][2] > 0.10
        self.grasp = DRAWER if raised and "drawer" in self.env.task.name else TABLE
        self.offset = rim_point(self.env, self.bowl, self.plate, self.grasp, self.site, self.base)

    @property
    def done(self) -> bool:
        """The bowl is released and the hand has withdrawn."""
        return self.phase == "done"

    def act(self) -> Float[np.ndarray, "7"]:
        """The action for the present state, each component in [-1, 1]."""
        action = getattr(self, f"_{self.phase}")() if not self.done else servo(np.zeros(3), np.zeros(3), 0.0, OPEN)
        action[:6] = np.clip(action[:6], self.last - SLEW, self.last + SLEW)
        self.last = action[:6].copy()
        return action

    def _reach(self) -> np.ndarray:
        goal = self._rim()
        error = goal - self._hand()
        turn = self._turn()
        far = max(np.linalg.norm(error[:2]), 0.08 * np.linalg.norm(turn))
        if far < 0.007 and abs(error[2]) < 0.006:
            self.phase, self.waited = "close", 0
        error[2] += funnel(far, slope=1.5)
        return servo(error, turn, 0.45 if far < 0.03 else 0.9, OPEN)

    def _close(self) -> np.ndarray:
        before, self.width = self.width, self._opening()
        self.waited += 1
        if self.waited >= 15 or (self.waited >= 8 and abs(before - self.width) < 0.0006):
            self.phase, self.floor = "lift", self._hand()[2]
        return servo(self._rim() - self._hand(), self._turn(), 0.2, CLOSED)

    def _lift(self) -> np.ndarray:
        up = self.floor + self.grasp.lift - self._hand()[2]
        if self._lost():
            self._begin()
        elif up < self.grasp.lift - self.grasp.clear:
            self.phase = "carry"
        return servo(np.array([0.0, 0.0, up]), self._turn(), 0.9, CLOSED)

    def _carry(self) -> np.ndarray:
        if self._lost():
            self._begin()
        data, hand = self.env.data, self._hand()
        error = data.xpos[self.plate] - data.xpos[self.bowl]
        error[:2] += self.aside
        error[2] += 0.006  # a bowl at rest on the plate
        distance = np.linalg.norm(error[:2])
        if distance < 0.016 and abs(error[2]) < 0.014:
            self.phase, self.waited = "release", 0
        ceiling = max(self.floor + self.grasp.lift - hand[2], error[2] + 0.10)
        error[2] = min(error[2] + max(0.0, 1.3 * (distance - 0.01)), ceiling)
        error[:2] = inside(self.base, hand, error[:2])
        return servo(error, self._turn(), 0.45 if distance < 0.03 else 0.9, CLOSED)

    def _release(self) -> np.ndarray:
        self.waited += 1
        if self.waited >= 12:
            self.phase = "done"
        rise = np.array([0.0, 0.0, 0.03 if self.waited > 6 else 0.0])
        return servo(rise, np.zeros(3), 0.45, OPEN)

    def _hand(self) -> np.ndarray:
        return self.env.data.site_xpos[self.site].copy()

    def _lost(self) -> bool:
        away = np.linalg.norm(self.env.data.xpos[self.bowl] - self._hand())
        return self._opening() < 0.003 or away > 0.10

    def _opening(self) -> float:
        return float(np.ptp(self.env.data.qpos[self.fingers]))

    def _rim(self) -> np.ndarray:
        return self.env.data.xpos[self.bowl] + self.offset + [0.0, 0.0, self.grasp.height]

    def _turn(self) -> np.ndarray:
        """Rotation vector to a vertical hand with its finger axis along the rim's radius, whichever way is nearer."""
        return turn_to(self.env.data.site_xmat[self.site].reshape(3, 3), self.offset)


def rim_point(
    env: LiberoEnv, bowl: int, plate: int, grasp: Grasp, site: int, base: Float[np.ndarray, "3"]
) -> Float[np.ndarray, "3"]:
    """Where to hold the bowl: horizontal offset (m) from its axis, the best of 24 directions by turn, room and reach.

    Where the outer finger would meet a wall, it may also be a little nearer to the axis.
    """
    boxes = obstacles(env, bowl)
    hand = env.data.site_xmat[site].reshape(3, 3)
    centre = env.data.xpos[bowl] + [0.0, 0.0, grasp.height]

    def cost(offset: np.ndarray) -> float:
        axis = offset / np.linalg.norm(offset)
        frame = np.column_stack([axis, np.cross(DOWN, axis), DOWN])
        crowded = crowding(centre + offset, frame, boxes)
        ends = np.stack([centre, env.data.xpos[plate]]) + offset - base
        stretch = np.maximum(0.0, np.linalg.norm(ends[:, :2], axis=1) - 0.72).sum()
        inward = 20 * (grasp.radius - np.linalg.norm(offset))
        return np.linalg.norm(turn_to(hand, axis)) / 3 + crowded + inward + 8 * stretch

    angles = np.deg2rad(np.arange(0, 360, 15))
    around = np.column_stack([np.cos(angles), np.sin(angles), np.zeros(24)])
    return min((radius * axis for radius in grasp.radius - np.array([0.0, 0.004, 0.008]) for axis in around), key=cost)
