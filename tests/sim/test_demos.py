"""The scripted expert and the demonstrations it gives."""

import itertools

import mujoco
import numpy as np
import pytest
from safetensors import safe_open

from kvlab.sim import demos
from kvlab.sim.env import SETTLING_STEPS, LiberoEnv
from kvlab.sim.expert import SLEW, BowlExpert, funnel, servo, turn_to
from kvlab.sim.suites import STEP_LIMITS, task
from kvlab.sim.trials import trials


@pytest.fixture(scope="module")
def env():
    env = LiberoEnv(task("libero_spatial", 2), size=64)
    yield env
    env.close()


def test_the_expert_solves_a_real_episode(env):
    env.reset(5, 0)
    expert, last, held = BowlExpert(env), np.zeros(6), False
    for _ in range(STEP_LIMITS["libero_spatial"]):
        action = expert.act()
        assert np.abs(action).max() <= 1 and np.abs(action[:6] - last).max() <= SLEW + 1e-9
        last = action[:6]
        held = env.step(action)
        if expert.done:
            break
    assert expert.done and held


@pytest.mark.parametrize("loss", ["slipped", "away"])
def test_a_lost_bowl_is_taken_again(env, loss):
    """Fingers that close on nothing though the bowl is near, and a bowl that is far though the fingers are apart."""
    env.reset(5, 0)
    expert = BowlExpert(env)
    while expert.phase != "lift":
        env.step(expert.act())
    if loss == "slipped":
        env.data.qpos[expert.fingers] = 0
    else:
        bowl = env.model.body(expert.bowl)
        env.data.qpos[env.model.jnt_qposadr[bowl.jntadr[0]] + 1] += 0.12
    mujoco.mj_forward(env.model, env.data)
    expert.act()
    assert expert.phase == "reach"
    assert any(env.step(expert.act()) for _ in range(STEP_LIMITS["libero_spatial"]))


def test_servo_limits_sideways_and_vertical_motion_apart():
    action = servo(np.array([0.3, 0.4, -0.2]), np.zeros(3), 0.9, 1.0)
    assert np.allclose(action[:2], [0.54, 0.72]) and action[2] == -0.9 and action[6] == 1.0
    assert np.allclose(servo(np.zeros(3), np.zeros(3), 0.9, -1.0), [0, 0, 0, 0, 0, 0, -1])
    assert (funnel(0.01, 1.5), funnel(1.0, 1.5)) == (0.0, 0.10)


def test_the_hand_turns_the_shorter_way():
    down = np.array([[0.0, 1, 0], [1, 0, 0], [0, 0, -1]])  # finger axis along world y
    for degrees in range(0, 360, 15):
        axis = np.array([np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees)), 0.0])
        assert np.linalg.norm(turn_to(down, 0.04 * axis)) <= np.pi / 2 + 1e-9
    assert np.allclose(turn_to(down, np.array([0.0, -1.0, 0.0])), 0)


def test_held_out_states_are_never_demonstrated_and_any_part_is_balanced():
    order = demos.episodes("libero_spatial", 90)
    assert len(set(order)) == 900
    assert not {state for _, state, _ in order} & set(demos.HELD_OUT)
    assert {state for _, state, _ in order} == set(range(10, 50))
    for part in (10, 130, 400):
        counts = np.bincount([index for index, _, _ in order[:part]], minlength=10)
        assert counts.max() - counts.min() <= 1


def test_disturbances_are_reproducible_and_spare_the_gripper():
    draw = [np.array(list(itertools.islice(demos.disturbance(np.random.default_rng(7)), 4000))) for _ in range(2)]
    assert np.array_equal(*draw)
    assert not draw[0][:, 6].any()
    calm = np.median(np.abs(draw[0][:, :6]))
    assert 0.06 < calm < 0.09  # the median of |N(0, 0.1)|
    assert np.abs(draw[0][:, :3]).max() > 0.8  # and pushes


def test_a_demonstration_file_holds_the_clean_actions(env, tmp_path, monkeypatch):
    monkeypatch.setattr(demos, "kept_env", lambda *_: env)
    monkeypatch.setattr(demos, "AFTER_MISHAP", 0.0)
    monkeypatch.setattr(demos, "SCATTERED", 0.0)
    executed, step = [], env.step
    monkeypatch.setattr(env, "step", lambda action: executed.append((env.state(), action)) or step(action))
    assert demos._record_one(tmp_path, "libero_spatial", 2, 12, 0, "fast", 64)
    (made,) = (tmp_path / "libero_spatial").iterdir()
    assert made.name == "task02_state12_seed0.safetensors"
    with safe_open(made, "np") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}
        facts = file.metadata()
    length = len(tensors["action"])
    assert {name: (t.shape, str(t.dtype)) for name, t in tensors.items()} == {
        "agentview": ((length, 64, 64, 3), "uint8"),
        "wrist": ((length, 64, 64, 3), "uint8"),
        "state": ((length, 8), "float32"),
        "action": ((length, 7), "float32"),
    }
    assert facts["language"] == env.task.language and facts["initial_state"] == "12" and facts["render"] == "fast"
    assert np.abs(tensors["action"]).max() <= 1 and set(tensors["action"][:, 6]) == {-1.0, 1.0}
    steps = np.diff(tensors["action"][:, :6], axis=0)
    assert np.abs(steps).max() <= SLEW + 1e-6  # a noisy label would jump
    states, actions = map(np.array, zip(*executed[SETTLING_STEPS:], strict=True))
    noise = np.array(list(itertools.islice(demos.disturbance(np.random.default_rng([2, 12, 0])), length)))
    assert np.abs(tensors["action"] + noise).max() > 1.1
    assert np.allclose(actions, (tensors["action"] + noise).clip(-1, 1), atol=1e-6)
    assert np.array_equal(states, tensors["state"])  # what is seen before each action
    env.reset(12, 0)
    assert np.array_equal(env.observe().images["wrist"], tensors["wrist"][0])
    assert np.array_equal(env.state(), tensors["state"][0])


def test_scene_mishap_and_noise_are_drawn_apart_and_an_unsolved_task_is_not_demonstrated(env, monkeypatch):
    seeds, disturbance = {}, demos.disturbance

    def note(name: str, rng: np.random.Generator) -> bool:
        seeds[name] = rng.bit_generator.seed_seq.entropy
        return True

    monkeypatch.setattr(demos, "scatter", lambda _, rng: note("scene", rng))
    monkeypatch.setitem(demos.MISHAPS, "libero_spatial", [lambda _, rng: note("mishap", rng)])
    monkeypatch.setattr(demos, "disturbance", lambda rng: note("noise", rng) and disturbance(rng))
    monkeypatch.setattr(demos, "AFTER_MISHAP", 1.0)
    monkeypatch.setattr(demos, "SCATTERED", 1.0)
    monkeypatch.setitem(STEP_LIMITS, "libero_spatial", 2)
    assert demos.record(env, 14, 3) is None
    assert seeds == {"scene": [2, 14, 3, 2], "mishap": [2, 14, 3, 1], "noise": [2, 14, 3]}


def test_what_led_to_a_mishap_is_not_demonstrated(env, monkeypatch):
    monkeypatch.setattr(demos, "AFTER_MISHAP", 1.0)
    monkeypatch.setattr(demos, "SCATTERED", 0.0)
    demo = demos.record(env, 14, 0)
    env.reset(14, 0)
    assert np.abs(demo["state"][0] - env.state()).max() > 0.02  # the hand is elsewhere when it begins


def test_finished_demonstrations_are_not_made_again(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(demos, "by_task", lambda work, jobs, *_: made.extend(jobs) or iter([True] * len(jobs)))
    there = demos.path(tmp_path, "libero_spatial", 3, 11, 0)
    there.parent.mkdir()
    there.touch()
    assert demos.generate("libero_spatial", tmp_path, per_task=2) == (19, 0)
    assert (3, 11) not in {(index, arguments[3]) for index, (arguments,) in made}


def test_a_failed_episode_is_not_tried_again(tmp_path, monkeypatch):
    monkeypatch.setattr(demos, "kept_env", lambda *_: None)
    monkeypatch.setattr(demos, "record", lambda *_: None)
    monkeypatch.setattr(demos, "by_task", lambda work, jobs, *_: (work(*one) for _, (one,) in jobs))
    assert demos.generate("libero_10", tmp_path, per_task=2, only=[3]) == (0, 2)
    assert demos.generate("libero_10", tmp_path, per_task=3, only=[3]) == (0, 1)
    assert not list(tmp_path.rglob("*.safetensors"))  # what a training reads


def test_only_the_named_tasks_are_recorded(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(demos, "by_task", lambda work, jobs, *_: made.extend(jobs) or iter([True] * len(jobs)))
    assert demos.generate("libero_spatial", tmp_path, per_task=3, only=[7, 2, 7]) == (6, 0)
    assert [(index, state) for index, ((*_, state, _seed, _render, _size),) in made] == [
        (2, 10), (7, 10), (2, 11), (7, 11), (2, 12), (7, 12)
    ]  # fmt: skip
    with pytest.raises(ValueError, match="Unknown task 10 of libero_spatial: known tasks are 0 to 9"):
        demos.generate("libero_spatial", tmp_path, only=[2, 10])


def test_what_has_no_expert_is_said(tmp_path):
    with pytest.raises(ValueError, match="No expert for suite 'libero_goal': there is one for libero_spatial"):
        demos.generate("libero_goal", tmp_path)
    with pytest.raises(ValueError, match="51 initial states asked for: a task has 1 to 50"):
        trials("libero_spatial", states=51)
