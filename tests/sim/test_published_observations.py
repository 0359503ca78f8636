"""Observations for published checkpoints against LIBERO's own, prepared as openpi's and LeRobot's scripts do."""

import math

import mujoco
import numpy as np
import pytest

from kvlab.sim.env import LiberoEnv
from kvlab.sim.published import PUBLISHED_STEP_LIMITS, RENDER, SIZE, observe_published
from kvlab.sim.suites import quiet, task

TASK = task("libero_spatial", 2)


@pytest.fixture(scope="module")
def moments():
    """Along a few turns of the wrist: what we say, and LIBERO's raw observation of the same simulation."""
    ours, said = LiberoEnv(TASK, RENDER, SIZE), []
    ours.reset(4, 0)
    for turn in (0.0, 0.9, -0.9):
        for _ in range(6):
            ours.step(np.array([0.3, 0.2, -0.2, turn, 0.4 * turn, turn, -1.0]))
        mujoco.mj_forward(ours.model, ours.data)  # poses of this state, which LIBERO's are below, not of a substep ago
        said.append((observe_published(ours), ours.observe(), ours.libero.sim.get_state().flatten()))
    fixtures = ours.model.body_pos.copy(), ours.model.body_quat.copy()
    ours.close()  # before LIBERO draws: neither makes its own GL context current again
    with quiet():
        from libero.libero.envs import OffScreenRenderEnv

        libero = OffScreenRenderEnv(bddl_file_name=TASK.bddl, camera_heights=SIZE, camera_widths=SIZE)
        libero.reset()
    theirs = libero.env
    theirs.sim.model._model.body_pos[:], theirs.sim.model._model.body_quat[:] = fixtures
    seen = []
    for published, plain, state in said:
        theirs.sim.set_state_from_flattened(state)
        theirs.sim.forward()
        seen.append((published, plain, theirs._get_observations(force_update=True)))
    libero.close()
    return seen


def axis_angle(quaternion: np.ndarray) -> np.ndarray:
    """openpi's `_quat2axisangle`, of (x, y, z, w)."""
    w = min(max(quaternion[3], -1.0), 1.0)
    length = math.sqrt(1 - w * w)
    return np.zeros(3) if math.isclose(length, 0) else quaternion[:3] * 2 * math.acos(w) / length


def test_the_state_is_position_axis_angle_and_fingers(moments):
    for published, _, raw in moments:
        turn = axis_angle(raw["robot0_eef_quat"])
        expected = np.concatenate([raw["robot0_eef_pos"], turn, raw["robot0_gripper_qpos"]])
        assert published.state.dtype == np.float32
        np.testing.assert_allclose(published.state, expected, atol=2e-6)


def test_the_orientation_is_not_always_the_shorter_turn(moments):
    """Where robosuite's angle exceeds pi, `env.state` holds another vector, a full turn away."""
    for published, plain, raw in moments:
        turn, shorter = published.state[3:6], plain.state[3:6]
        length = np.linalg.norm(turn)
        beyond = turn * (1 - 2 * math.pi / length) if raw["robot0_eef_quat"][3] < 0 else turn
        np.testing.assert_allclose(shorter, beyond, atol=1e-5)
        np.testing.assert_array_equal(np.delete(published.state, [3, 4, 5]), np.delete(plain.state, [3, 4, 5]))


@pytest.mark.parametrize(("ours", "theirs"), [("agentview", "agentview"), ("wrist", "robot0_eye_in_hand")])
def test_frames_are_the_raw_ones_turned_by_180_degrees(moments, ours, theirs):
    for published, plain, raw in moments:
        turned = raw[f"{theirs}_image"][::-1, ::-1]  # openpi; LeRobot flips both axes of its tensor, which is the same
        frame = published.images[ours]
        assert frame.shape == (256, 256, 3) and frame.dtype == np.uint8 and frame.flags.c_contiguous
        wrong = np.abs(frame.astype(int) - turned).mean()
        assert wrong < 1, wrong
        assert np.abs(plain.images[ours].astype(int) - turned).mean() > 5  # the upright frame is another


def test_step_limits_of_both():
    assert PUBLISHED_STEP_LIMITS == {
        "openpi": {"libero_spatial": 220, "libero_object": 280, "libero_goal": 300, "libero_10": 520},
        "lerobot": {"libero_spatial": 280, "libero_object": 280, "libero_goal": 300, "libero_10": 520},
    }
