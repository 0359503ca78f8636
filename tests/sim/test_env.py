"""Episodes of real LIBERO: the same whatever ran before, as LIBERO's own loop, upright at the start."""

from dataclasses import replace
from itertools import permutations

import mujoco
import numpy as np
import pytest

from kvlab.sim.env import CAMERAS, NO_OP, LiberoEnv, SimulationError
from kvlab.sim.suites import quiet, task

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
    before = [*np.random.get_state(legacy=False)["state"].values()]
    env.reset(3, 0)
    here = env.model.body_pos.copy()
    env.reset(3, 1)
    assert not np.array_equal(here, env.model.body_pos)
    after = np.random.get_state(legacy=False)["state"].values()
    assert all(map(np.array_equal, before, after))  # the key, and how far it is used up


def test_task_initial_state_and_seed_each_place_the_fixtures_anew(env, monkeypatch):
    """Where the number of the task is all that differs, it is still another draw."""
    placed = []
    for index, *episode in ((0, 3, 0), (1, 3, 0), (0, 4, 0), (0, 3, 1)):
        monkeypatch.setattr(env, "task", replace(env.task, index=index))
        env.reset(*episode)
        placed.append(env.model.body_pos.tobytes())
    assert len({*placed}) == 4


def test_an_episode_is_liberos_own(env):
    """LIBERO's plain way (reset, official state, ten no-ops, steps), the fixtures put where ours stand.

    Up to rounding: robosuite turns the goal in float32, and inverts matrices by LAPACK.
    """
    with quiet():
        from libero.libero.envs.env_wrapper import ControlEnv

        plain = ControlEnv(env.task.bddl, use_camera_obs=False, has_offscreen_renderer=False)
        plain.reset()
    ours, _ = trajectory(env, 3, 0)
    model, data = plain.sim.model, plain.sim.data
    model.body_pos[:], model.body_quat[:] = env.model.body_pos, env.model.body_quat
    plain.set_init_state(env._states[3])
    for _ in range(10):
        plain.step(NO_OP)
    for action, state in zip(ACTIONS, ours, strict=True):
        plain.step(action)
        assert np.allclose(np.concatenate([data.qpos, data.qvel, model.body_pos.ravel()]), state, rtol=0, atol=2e-6)


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
    """The official states let things fall; they lie still where they land, the bowl on its ramekin too (from MuJoCo 3.4
    on it is thrown off)."""
    env = LiberoEnv(task("libero_spatial", index))
    start = env._states[index]
    env.reset(index, 0)
    for name, thing in env.libero.objects_dict.items():
        first = env.model.joint(thing.joints[-1]).qposadr[0]
        before, after = start[1 + first : 8 + first], env.data.qpos[first : first + 7]
        tilt = [1 - 2 * (q[4] ** 2 + q[5] ** 2) for q in (before, after)]  # cosine of the body's z axis to the world's
        assert np.linalg.norm(after[:2] - before[:2]) < 0.02, name
        assert -0.2 < after[2] - before[2] < 0, name
        assert abs(tilt[0] - tilt[1]) < 0.05, name  # the bowl leans a little on its ramekin
        assert np.abs(env.data.joint(thing.joints[-1]).qvel[:3]).max() < 0.02, name
    if index == 5:
        bowl, ramekin = (
            env.data.body(f"{n}_main").xpos for n in ("akita_black_bowl_1", "glazed_rim_porcelain_ramekin_1")
        )
        assert bowl[2] > ramekin[2] + 0.02 and np.linalg.norm((bowl - ramekin)[:2]) < 0.03


def test_unknown_initial_state_and_profile(env):
    with pytest.raises(ValueError, match="Unknown initial state 50: there are 0 to 49"):
        env.reset(50, 0)
    with pytest.raises(ValueError, match="Unknown render profile 'pretty': known profiles are stock, fast"):
        LiberoEnv(env.task, render="pretty")


@pytest.mark.parametrize(("part", "name"), [("qpos", "QPOS"), ("qvel", "QVEL"), ("qacc_warmstart", "QACC")])
def test_an_episode_in_which_mujoco_lost_a_number_is_an_error(env, part, name):
    """It would go on from the model's initial pose, and its policy be blamed."""
    env.reset(0, 0)
    getattr(env.data, part)[-6] = np.nan
    with pytest.raises(SimulationError, match=f"^MuJoCo warned: .*Nan, Inf or huge value in {name}"):
        env.step(NO_OP)
    assert np.array_equal(*(trajectory(env, 3, 0)[0] for _ in range(2)))  # the next episode is none the worse


def test_an_action_that_is_not_finite_is_an_error(env):
    env.reset(0, 0)
    with pytest.raises(SimulationError, match="Nan, Inf or huge value in CTRL"):
        env.step(NO_OP * np.nan)


@pytest.mark.parametrize("kind", ["CONTACTFULL", "CNSTRFULL"])
def test_contacts_that_were_left_out_are_an_error(env, kind):
    env.reset(0, 0)
    env.data.warning[getattr(mujoco.mjtWarning, f"mjWARN_{kind}")].number += 1
    with pytest.raises(SimulationError, match="arena memory"):
        env.step(NO_OP)


def test_what_touches_is_what_robosuite_says(env):
    """Bowls, plate, cabinet and the other things, before and after a bowl is put into the plate."""
    names = [*env.libero.objects_dict, *env.libero.fixtures_dict]
    parts, told = [env.libero.get_object(name) for name in names], set()
    env.reset(0, 0)
    for _ in range(2):
        for one, other in permutations(parts, 2):
            told.add(touch := type(env.libero).check_contact(env.libero, one, other))
            assert env.libero.check_contact(one, other) == touch
        bowl, plate = (env.model.joint(f"{name}_joint0").qposadr[0] for name in ("akita_black_bowl_1", "plate_1"))
        env.data.qpos[bowl : bowl + 3] = env.data.qpos[plate : plate + 3]
        mujoco.mj_forward(env.model, env.data)
    assert told == {True, False}
