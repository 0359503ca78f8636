"""The arm's controller: operational space control (Khatib 1987) as LIBERO sets up robosuite 1.4's `OSC_POSE`.

The torques are robosuite's to rounding. There, inverses are LAPACK's, whose bits depend on its version and on the
processor; here each sum is written out, so that its order is fixed, and it takes a tenth of the time.
"""

import math

import mujoco
import numpy as np
from jaxtyping import Float
from numba import njit

TRANSLATION, ROTATION = 0.05, 0.5  # of a full action, in m and rad
KP, KP_REST = 150.0, 10.0  # 1/s**2, of the hand to its goal and of the joints to their rest; damping is critical
GRIPPER_SPEED = 0.01  # of half its range at each physics step


class Controller:
    """What the motors of arm and gripper get: `aim` once a control step, `apply` at each of its physics steps."""

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData, robot):
        """`robot` is robosuite's. It keeps the hand turned as it is now until an action turns it, and draws the joints
        to where they are now as far as the hand does not care.

        As with robosuite, a state that is set afterwards is seen from the second physics step on: in the first one the
        hand is still taken to be here, where it bears no more than gravity.
        """
        self._model, self._data, self._site = model, data, robot.eef_site_id
        angles, joints = _run(robot._ref_joint_pos_indexes), _run(robot._ref_joint_vel_indexes)
        motors, fingers = _run(robot._ref_joint_actuator_indexes), _run(robot._ref_joint_gripper_actuator_indexes)
        # MuJoCo keeps its arrays where they are: made once, these views need not be made at every physics step.
        self._angles, self._velocity, self._bias = data.qpos[angles], data.qvel[joints], data.qfrc_bias[joints]
        self._hand, self._hand_turned = data.site_xpos[self._site], data.site_xmat[self._site].reshape(3, 3)
        self._motors, self._fingers = data.ctrl[motors], data.ctrl[fingers]
        self._limits, grip = model.actuator_ctrlrange[motors].copy(), model.actuator_ctrlrange[fingers]
        self._grip_middle, self._grip_half = 0.5 * (grip[:, 1] + grip[:, 0]), 0.5 * (grip[:, 1] - grip[:, 0])
        self._closed = np.zeros(len(grip))  # each finger in [-1, 1]
        jacobian, self._mass = np.empty((6, model.nv)), np.empty((model.nv, model.nv))
        self._moves, self._turns = jacobian[:3], jacobian[3:]
        self._arm = jacobian[:, joints], self._mass[joints, joints]
        self._rest, self._turned = self._angles.copy(), self._hand_turned.copy()
        self._here: np.ndarray | None = self._hand.copy()

    def aim(self, action: Float[np.ndarray, "7"]) -> None:
        """(translation 3, rotation 3, gripper), each in [-1, 1], from where the hand is now."""
        action = np.clip(action, -1.0, 1.0).astype(np.float64)
        hand = self._hand if self._here is None else self._here
        self._goal = hand + action[:3] * TRANSLATION
        turn, quaternion, by = action[3:6] * ROTATION, np.empty(4), np.empty(9)
        if turn.any():
            angle = mujoco.mju_normalize3(turn)
            mujoco.mju_axisAngle2Quat(quaternion, turn, angle)
            mujoco.mju_quat2Mat(by, quaternion)
            self._turned = _times(by.reshape(3, 3), self._hand_turned)
        self._closing = np.array([-1.0, 1.0]) * GRIPPER_SPEED * np.sign(action[6])

    def apply(self) -> None:
        """Set the motors for the next physics step; positions and velocities must be those of `mj_step1`."""
        torques = np.zeros(len(self._bias)) if self._here is not None else self._torques()
        self._here = None
        drive(self._motors, self._bias, torques, self._limits)
        grip(self._fingers, self._closed, self._closing, self._grip_middle, self._grip_half)

    def _torques(self) -> Float[np.ndarray, "joints"]:
        mujoco.mj_jacSite(self._model, self._data, self._moves, self._turns, self._site)
        mujoco.mj_fullM(self._model, self._mass, self._data.qM)
        away, to_rest = self._goal - self._hand, self._rest - self._angles
        return joint_torques(*self._arm, away, self._hand_turned, self._turned, self._velocity, to_rest)


def _run(indexes: list[int]) -> slice:
    """Indexes that follow one another, as a slice: a view costs less than a copy."""
    first, last = indexes[0], indexes[-1]
    assert list(indexes) == list(range(first, last + 1))
    return slice(first, last + 1)


@njit(cache=True)
def drive(motors, bias, torques, limits):
    """Set the `motors` of the joints to what bears gravity (`bias`) and the `torques`, within their `limits`."""
    for i in range(len(motors)):
        motors[i] = min(max(bias[i] + torques[i], limits[i, 0]), limits[i, 1])


@njit(cache=True)
def grip(motors, closed, closing, middle, half):
    """Move each finger on (`closed`, in [-1, 1], changes in place) and set its motor."""
    for i in range(len(motors)):
        closed[i] = min(max(closed[i] + closing[i], -1.0), 1.0)
        motors[i] = middle[i] + half[i] * closed[i]


@njit(cache=True)
def joint_torques(jacobian, mass, away, turned, goal, velocity, to_rest):
    """Joint torques without gravity's. `jacobian` (6, joints) and `mass` (joints, joints) are of hand and arm."""
    moves, turns = jacobian[:3], jacobian[3:]
    off = np.zeros(3)  # half the sum of the cross products of each axis with its goal
    for axis in range(3):
        a, b = turned[:, axis], goal[:, axis]
        for i in range(3):
            j, k = (i + 1) % 3, (i + 2) % 3
            off[i] += 0.5 * (a[j] * b[k] - a[k] * b[j])
    speed = _times(jacobian, velocity.reshape(-1, 1))[:, 0]
    damping = 2.0 * math.sqrt(KP)
    by_force = _solve(mass, jacobian.T)  # joint accelerations by a unit of force or torque at the hand
    mobility = _times(jacobian, by_force)
    force = _solve(mobility[:3, :3], (KP * away - damping * speed[:3]).reshape(-1, 1))
    torque = _solve(mobility[3:, 3:], (KP * off - damping * speed[3:]).reshape(-1, 1))
    # Towards rest, less what of it would move the hand.
    rest = _times(mass, (KP_REST * to_rest - 2.0 * math.sqrt(KP_REST) * velocity).reshape(-1, 1))
    moved = _solve(mobility, _times(by_force.T, rest))
    return (_times(moves.T, force) + _times(turns.T, torque) + (rest - _times(jacobian.T, moved)))[:, 0]


@njit(cache=True)
def _times(a, b):
    """The matrix product, each sum in the order of its index."""
    c = np.zeros((a.shape[0], b.shape[1]))
    for i in range(a.shape[0]):
        for k in range(a.shape[1]):
            for j in range(b.shape[1]):
                c[i, j] += a[i, k] * b[k, j]
    return c


@njit(cache=True)
def _solve(a, b):
    """x of a x = b for a symmetric, positive definite `a`, by Cholesky's factors."""
    n, low, x = a.shape[0], np.zeros(a.shape), b.copy()
    for i in range(n):
        for j in range(i + 1):
            left = a[i, j]
            for k in range(j):
                left -= low[i, k] * low[j, k]
            low[i, j] = math.sqrt(left) if i == j else left / low[j, j]
    for column in range(x.shape[1]):
        for i in range(n):
            for k in range(i):
                x[i, column] -= low[i, k] * x[k, column]
            x[i, column] /= low[i, i]
        for i in range(n - 1, -1, -1):
            for k in range(i + 1, n):
                x[i, column] -= low[k, i] * x[k, column]
            x[i, column] /= low[i, i]
    return x
