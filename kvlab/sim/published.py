"""LIBERO as published checkpoints of Pi0 and Pi0.5 were trained to see it: frames of 256 x 256 pixels turned by 180
degrees, the orientation as robosuite gives it (openpi, `examples/libero/main.py`; LeRobot, `LiberoProcessorStep`).

Their actions are LIBERO's own, relative to the pose of the moment, so `LiberoEnv.step` takes them as they are.
An evaluation, by its makers' name, is what is observed and how long an episode may be; `kvlab` is this project's own.
"""

import numpy as np
from jaxtyping import Float32
from scipy.spatial.transform import Rotation

from kvlab.sim.env import LiberoEnv, Observation
from kvlab.sim.suites import STEP_LIMITS, quiet

RENDER, SIZE = "stock", 256  # how to draw for them: `LiberoEnv(task, RENDER, SIZE)`

# Control steps after settling, by the format of a checkpoint: its makers' evaluations differ.
PUBLISHED_STEP_LIMITS = {"openpi": STEP_LIMITS, "lerobot": STEP_LIMITS | {"libero_spatial": 280}}
EVALUATIONS = ("kvlab", *PUBLISHED_STEP_LIMITS)


def step_limit(suite: str, evaluation: str = "kvlab") -> int:
    """Control steps after settling that an episode may take."""
    return PUBLISHED_STEP_LIMITS.get(evaluation, STEP_LIMITS)[suite]


def observe(env: LiberoEnv, evaluation: str = "kvlab") -> Observation:
    """What a policy of that evaluation sees now. OSError where no GL driver works."""
    return env.observe() if evaluation == "kvlab" else observe_published(env)


def observe_published(env: LiberoEnv) -> Observation:
    """What `env.observe` tells, as those checkpoints expect it. OSError where no GL driver works.

    The raw picture is upside down, so turned by 180 degrees it is the upright one mirrored. The orientation's angle is
    in [0, 2 pi] and follows the sign of the quaternion, where `env.state` has the shorter turn.
    """
    with quiet():
        from robosuite.utils.transform_utils import convert_quat, quat2axisangle

    seen, robot = env.observe(), env.libero.robots[0]
    quaternion = convert_quat(env.data.body(robot.robot_model.eef_name).xquat, to="xyzw")
    state = seen.state.copy()
    state[3:6] = quat2axisangle(quaternion)
    return Observation({name: np.ascontiguousarray(frame[:, ::-1]) for name, frame in seen.images.items()}, state)


def published_states(states: Float32[np.ndarray, "steps 8"]) -> Float32[np.ndarray, "steps 8"]:
    """An episode of `env.state`, step by step, as `observe_published` would have told it.

    The shorter turn is the same for both signs of a quaternion. Robosuite's sign never jumps, and where the hand points
    down, as it does when an episode begins, its x is positive.
    """
    quaternions = Rotation.from_rotvec(states[:, 3:6]).as_quat()  # x, y, z, w
    jumps = np.einsum("tq,tq->t", quaternions[1:], quaternions[:-1]) < 0
    signs = np.cumprod(np.where([quaternions[0, 0] < 0, *jumps], -1, 1))
    xyz, w = np.split(quaternions * signs[:, None], [3], axis=1)
    length = np.linalg.norm(xyz, axis=1, keepdims=True)
    turns = 2 * np.arctan2(length, w) * np.divide(xyz, length, out=np.zeros_like(xyz), where=length > 0)
    return np.concatenate([states[:, :3], turns, states[:, 6:]], axis=1).astype(np.float32)
