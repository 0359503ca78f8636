"""Episodes of real LIBERO: the same whatever ran before, as LIBERO's own loop, upright at the start."""

import numpy as np
import pytest

from kvlab.sim.env import CAMERAS, LiberoEnv
from kvlab.sim.suites import task

ACTIONS = np.random.default_rng(0).uniform(-1, 1, (12, 7))


@pytest.fixture(scope="module")
def env():
    env = LiberoEnv(task("libero_spatial", 0))
    yield env
    env.close()


def trajectory(env, initial_state, seed):
    env.reset(initial_state, seed)
    states = []
    for action in ACTIONS:
        env.step(action)
        states.append(np.concatenate([env.data.qpos, env.data.qvel, env.model.body_pos.ravel()]))
    return np.array(states), env.observe()


def test_an_episode_does_not_depend_on_what_ran_before(env):
    first, seen = trajectory(env, 3, 0)
    env.reset(8, 5)
    for _ in range(4):  # leave a closed gripper, a moved goal and another fixture pose behind
        env.step(np.array([1.0, -1.0, -1.0, 0.5, 0.5, 0.5, 1.0]))
    np.random.random(7)
    other = LiberoEnv(task("libero_spatial", 0))
    other.reset(1, 1)
    again, seen_again = trajectory(env, 3, 0)
    elsewhere, seen_elsewhere = trajectory(other, 3, 0)
    other.close()
    assert np.array_equal(first, again) and np.array_equal(first, elsewhere)
    for view in CAMERAS:
        assert np.array_equal(seen.images[view], seen_again.images[view])
        assert np.array_equal(seen.images[view], seen_elsewhere.images[view])


def test_the_seed_places_the_fixtures_and_leaves_numpy_alone(env):
    before = np.random.get_state()[1].copy()
    env.reset(3, 0)
    here = env.model.body_pos.copy()
    env.reset(3, 1)
    assert not np.array_equal(here, env.model.body_pos)
    assert np.array_equal(before, np.random.get_state()[1])


def test_a_step_is_liberos_own_step(env):
    ours, _ = trajectory(env, 3, 0)
    env.reset(3, 0)
    env.libero.robots[0].controller.sim = env.libero.sim  # the controller does its own forward passes again
    for action, state in zip(ACTIONS, ours, strict=True):
        env.libero.step(action)
        plain = np.concatenate([env.data.qpos, env.data.qvel, env.model.body_pos.ravel()])
        assert np.array_equal(plain, state)


def test_nothing_is_drawn_before_it_is_asked_for():
    env = LiberoEnv(task("libero_spatial", 0))
    env.reset(0, 0)
    env.step(ACTIONS[0])
    assert env._renderer is None
    env.close()


def test_an_observation_is_upright_and_measured(env):
    env.reset(0, 0)
    seen = env.observe()
    assert set(seen.images) == {"agentview", "wrist"}
    assert all(image.shape == (128, 128, 3) and image.dtype == np.uint8 for image in seen.images.values())
    wall, table = seen.images["agentview"][:40, :20].mean((0, 1)), seen.images["agentview"][100:].mean((0, 1))
    assert table[0] > table[2] + 20 and abs(wall[0] - wall[2]) < 15  # grey wall above, wooden table below
    robot = env.libero.robots[0]
    assert seen.state.dtype == np.float32
    assert np.allclose(seen.state[:3], env.data.site_xpos[robot.eef_site_id], atol=1e-6)
    assert np.pi / 2 < np.linalg.norm(seen.state[3:6]) <= np.pi + 1e-6  # the hand points down
    assert seen.state[6] > 0.02 and seen.state[7] < -0.02  # and is open


@pytest.mark.parametrize("index", range(10))
def test_initial_states_settle_upright(index):
    """A task's objects stay where its initial state puts them (newer simulators throw the bowl off the ramekin)."""
    env = LiberoEnv(task("libero_spatial", index))
    start = env._states[index]
    env.reset(index, 0)
    for name in env.libero.objects_dict:
        joint = env.libero.objects_dict[name].joints[-1]
        address = env.model.joint(joint).qposadr[0]
        moved = env.data.qpos[address : address + 3] - start[1 + address : 4 + address]
        up = np.array([1 - 2 * (q[1] ** 2 + q[2] ** 2) for q in (start[4 + address :], env.data.qpos[address + 3 :])])
        assert np.linalg.norm(moved) < 0.02, name
        assert abs(up[0] - up[1]) < 0.02, name


def test_unknown_initial_state_and_profile(env):
    with pytest.raises(ValueError, match="Unknown initial state 50: there are 0 to 49"):
        env.reset(50, 0)
    with pytest.raises(ValueError, match="Unknown render profile 'pretty': known profiles are stock, fast"):
        LiberoEnv(env.task, render="pretty")
