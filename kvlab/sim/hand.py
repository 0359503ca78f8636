"""The robot's hand: where it is, and the proportional control that moves it.

Lengths are in metres, in the world frame; a step is 1/20 s. A hand's frame is that of the grip site: x is the finger
axis, z points out of the hand, so a hand over the table has z down.
"""

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from kvlab.sim.env import LiberoEnv

OPEN, CLOSED = -1.0, 1.0
SLEW = 0.3  # largest change of an action's component from step to step
DOWN = np.array([0.0, 0.0, -1.0])


class Hand:
    """The hand of an environment's robot, read from the simulator."""

    def __init__(self, env: LiberoEnv):
        robot = env.libero.robots[0]
        self.env = env
        self.base = env.data.body(robot.robot_model.root_body).xpos.copy()
        self._site, self._fingers = robot.eef_site_id, robot._ref_gripper_joint_pos_indexes

    @property
    def position(self) -> Float[np.ndarray, "3"]:
        """The grip site, between the finger pads."""
        return self.env.data.site_xpos[self._site].copy()

    @property
    def frame(self) -> Float[np.ndarray, "3 3"]:
        """Axes of the grip site as columns."""
        return self.env.data.site_xmat[self._site].reshape(3, 3).copy()

    @property
    def opening(self) -> float:
        """Distance between the fingers, 0 to 0.08."""
        return float(np.ptp(self.env.data.qpos[self._fingers]))

    def turn(self, wanted: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "3"]:
        """Rotation vector (rad) from the present frame to `wanted`."""
        return Rotation.from_matrix(wanted @ self.frame.T).as_rotvec()


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


def funnel(distance: float, slope: float, top: float = 0.10) -> float:
    """Height to keep above the goal while still `distance` away sideways: down a cone, at most `top` up."""
    return float(np.clip(slope * (distance - 0.01), 0.0, top))


def inside(
    base: Float[np.ndarray, "3"], hand: Float[np.ndarray, "3"], way: Float[np.ndarray, "2"], radius: float = 0.70
) -> Float[np.ndarray, "2"]:
    """Bend a long way sideways inwards while the hand is beyond `radius` of the base: stretched out, it would stick."""
    out = hand[:2] - base[:2]
    reach = np.linalg.norm(out)
    if reach > radius and np.linalg.norm(way) > 0.10:
        return way - out / reach * max(0.0, way @ out / reach + reach - radius)
    return way


def pointing(axis: Float[np.ndarray, "3"], approach: Float[np.ndarray, "3"] = DOWN) -> Float[np.ndarray, "3 3"]:
    """The frame of a hand that points along `approach`, its finger axis the part of `axis` across that."""
    z = approach / np.linalg.norm(approach)
    x = axis - (axis @ z) * z
    x = x / np.linalg.norm(x)
    return np.column_stack([x, np.cross(z, x), z])


def turn_to(hand: Float[np.ndarray, "3 3"], axis: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3"]:
    """Rotation vector from the present grip site to one that points down, its x axis along +-`axis` (horizontal)."""
    x = axis / np.linalg.norm(axis) * np.sign(hand[:, 0] @ axis or 1.0)
    wanted = np.column_stack([x, np.cross(DOWN, x), DOWN])
    return Rotation.from_matrix(wanted @ hand.T).as_rotvec()
