"""Scripted experts: they read the simulator's state and act through the same 7 numbers as a policy.

One state machine, reach - close - carry - release, is enough for all of `libero_spatial`. Its parts (`servo`, `funnel`,
`rim_point`) know nothing of that suite. Lengths are in metres, in the world frame; a step is 1/20 s.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from kvlab.sim.env import LiberoEnv

SUITES = ("libero_spatial",)
OPEN, CLOSED = -1.0, 1.0
SLEW = 0.3  # largest change of an action's component from step to step


def _grid(*axes: tuple[float, ...]) -> Float[np.ndarray, "n 3"]:
    return np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 3)


# Points of the palm and of one open finger in the grip site's frame (x: finger axis, z: down).
PALM = _grid((-0.105, -0.07, -0.035, 0.0, 0.035, 0.07, 0.105), (-0.033, 0.0, 0.033), (-0.045, -0.075, -0.105))
FINGER = _grid((0.037, 0.043, 0.050, 0.057, 0.063), (-0.012, 0.0, 0.012), (-0.045, -0.02, 0.011))


def check_suite(suite: str) -> None:
    """ValueError, naming those that have one, for a suite without an expert."""
    if suite not in SUITES:
        raise ValueError(f"No expert for suite {suite!r}: there is one for {', '.join(SUITES)}.")


@dataclass(frozen=True)
class Grasp:
    """Where to hold a bowl's rim: distance from its axis and height above its origin; how far to lift it first."""

    radius: float = 0.047
    height: float = 0.027
    lift: float = 0.07
    clear: float = 0.04  # no sideways motion before this much of the lift


TABLE, DRAWER = Grasp(), Grasp(radius=0.036, height=0.036, lift=0.10, clear=0.075)


def servo(
    error: Float[np.ndarray, "3"], turn: Float[np.ndarray, "3"], speed: float, gripper: float
) -> Float[np.ndarray, "7"]:
    """Proportional control of the hand: `error` (m) and `turn` (rotation vector, rad) to go, in the world frame.

    Sideways and vertical motion are limited apart, so that a long way sideways does not flatten the descent.
    """
    move = 1.3 * error / 0.05
    sideways = np.linalg.norm(move[:2])
    move[:2] *= min(1.0, speed / max(sideways, 1e-9))
    fall = 0.45 if abs(error[2]) < 0.03 else 0.9
    move[2] = np.clip(move[2], -fall, fall)
    rotate = turn / 0.5
    rotate *= min(1.0, 0.6 / max(np.linalg.norm(rotate), 1e-9))
    return np.concatenate([move, rotate, [gripper]])


def funnel(distance: float, slope: float) -> float:
    """Height to keep above the goal while still `distance` away sideways: down a cone, at most 10 cm up."""
    return float(np.clip(slope * (distance - 0.01), 0.0, 0.10))


class BowlExpert:
    """Picks up the task's bowl by its rim and puts it on the task's plate. One instance is one attempt."""

    def __init__(self, env: LiberoEnv, aside: Float[np.ndarray, "2"] | None = None):
        """`env` with an open or empty hand; `aside` (m) puts the bowl that far from the plate's middle.

        ValueError for a suite without an expert.
        """
        check_suite(env.task.suite)
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


def turn_to(hand: Float[np.ndarray, "3 3"], axis: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3"]:
    """Rotation vector from the present grip site to one that points down, its x axis along +-`axis` (horizontal)."""
    x = axis / np.linalg.norm(axis) * np.sign(hand[:, 0] @ axis or 1.0)
    down = np.array([0.0, 0.0, -1.0])
    wanted = np.column_stack([x, np.cross(down, x), down])
    return Rotation.from_matrix(wanted @ hand.T).as_rotvec()


def inside(
    base: Float[np.ndarray, "3"], hand: Float[np.ndarray, "3"], way: Float[np.ndarray, "2"], radius: float = 0.70
) -> Float[np.ndarray, "2"]:
    """Bend a long way sideways inwards while the hand is beyond `radius` of the base: stretched out, it would stick."""
    out = hand[:2] - base[:2]
    reach = np.linalg.norm(out)
    if reach > radius and np.linalg.norm(way) > 0.10:
        return way - out / reach * max(0.0, way @ out / reach + reach - radius)
    return way


def rim_point(
    env: LiberoEnv, bowl: int, plate: int, grasp: Grasp, site: int, base: Float[np.ndarray, "3"]
) -> Float[np.ndarray, "3"]:
    """Where to hold the bowl: horizontal offset (m) from its axis, the best of 24 directions by turn, room and reach.

    Where the outer finger would meet a wall, it may also be a little nearer to the axis.
    """
    boxes = _obstacles(env, bowl)
    hand = env.data.site_xmat[site].reshape(3, 3)
    centre = env.data.xpos[bowl] + [0.0, 0.0, grasp.height]
    down = np.array([0.0, 0.0, -1.0])

    def cost(offset: np.ndarray) -> float:
        axis = offset / np.linalg.norm(offset)
        frame = np.column_stack([axis, np.cross(down, axis), down])
        finger = _clearance(centre + offset + FINGER @ frame.T, boxes)
        palm = _clearance(centre + offset + PALM @ frame.T, boxes)
        ends = np.stack([centre, env.data.xpos[plate]]) + offset - base
        stretch = np.maximum(0.0, np.linalg.norm(ends[:, :2], axis=1) - 0.72).sum()
        crowded = 40 * max(0.0, 0.02 - finger) + 40 * max(0.0, 0.02 - palm)
        inward = 20 * (grasp.radius - np.linalg.norm(offset))
        return np.linalg.norm(turn_to(hand, axis)) / 3 + crowded + inward + 8 * stretch

    angles = np.deg2rad(np.arange(0, 360, 15))
    around = np.column_stack([np.cos(angles), np.sin(angles), np.zeros(24)])
    return min((radius * axis for radius in grasp.radius - np.array([0.0, 0.004, 0.008]) for axis in around), key=cost)


def _obstacles(env: LiberoEnv, bowl: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes (centres, axes, half sizes) around what can be hit near the bowl: not the robot, the table or itself."""
    model, data, boxes = env.model, env.data, []
    for geom in range(model.ngeom):
        body = model.geom_bodyid[geom]
        name = model.body(body).name
        ours = body == bowl or name.startswith(("robot", "gripper", "mount")) or name in ("world", "table")
        near = np.linalg.norm(data.geom_xpos[geom] - data.xpos[bowl]) < model.geom_rbound[geom] + 0.5
        if model.geom_group[geom] == 0 and near and not ours:
            axes = data.geom_xmat[geom].reshape(3, 3)
            boxes.append((data.geom_xpos[geom] + axes @ model.geom_aabb[geom][:3], axes, model.geom_aabb[geom][3:]))
    centres, axes, halves = zip(*boxes, strict=True)
    return np.stack(centres), np.stack(axes), np.stack(halves)


def _clearance(points: Float[np.ndarray, "n 3"], boxes: tuple[np.ndarray, np.ndarray, np.ndarray]) -> float:
    """Smallest distance from any point to any box, negative inside."""
    centres, axes, halves = boxes
    beyond = np.abs((points - centres[:, None]) @ axes) - halves[:, None]  # boxes, points, 3
    outside = np.linalg.norm(np.maximum(beyond, 0.0), axis=2)
    return float((outside + np.minimum(beyond.max(axis=2), 0.0)).min())
