"""The loops that rollouts are measured against: what they draw, what they see, and how rates are compared."""

from dataclasses import fields

import mujoco
import numpy as np
import pandas as pd
import pytest

from kvlab.bench import throughput
from kvlab.bench.throughput import RUNNER, DrawnEveryStep, PlainLibero
from kvlab.reuse import Replan
from kvlab.sim.env import LiberoEnv, Observation
from kvlab.sim.suites import task
from kvlab.study.rollout import rollout


class Env:
    """Counts how often it is drawn; done at the twelfth step."""

    task = task("libero_spatial", 0)

    def __init__(self):
        self.drawn = self.steps = 0

    def reset(self, initial_state, seed):
        self.drawn = self.steps = 0

    def step(self, action):
        self.steps += 1
        return self.steps == 12

    def observe(self):
        self.drawn += 1
        return Observation({}, np.full(8, self.steps, np.float32))


class Policy:
    def reset(self, instruction, seed):
        self.seen = []

    def act(self, images, state, elapsed=None):
        self.seen.append(state[0])
        nothing = {field.name: 0 for field in fields(Replan)}
        return np.zeros((16, 7)), Replan(**nothing | {"reused": False, "executed": self.executes()})

    def executes(self, skipped=0):
        return 5


@pytest.mark.parametrize(("wrap", "drawn"), [(lambda env: env, 3), (DrawnEveryStep, 13)])
def test_the_runner_draws_at_replans_and_the_plain_loop_at_every_step(wrap, drawn):
    env, policy = Env(), Policy()
    outcome, *_ = rollout(wrap(env), policy, 0, 0)
    assert (outcome["steps"], outcome["success"]) == (12, True)
    assert env.drawn == drawn
    assert policy.seen == [0, 5, 10]  # the policy sees the same either way


def test_plain_libero_shows_the_policy_what_ours_does():
    """LIBERO's own frames and state against ours of the same moment, drawn as LIBERO draws."""
    plain = PlainLibero(task("libero_spatial", 0), size=128)
    plain.reset(3, seed=0)
    assert plain.step(np.array([0.5, 0.2, -0.5, 0.1, 0.0, 0.3, 1.0])) is False
    plain._seen = plain.libero.set_init_state(plain.libero.get_sim_state())  # seen when all of it is computed
    theirs, sim = plain.observe(), plain.libero.sim
    env = LiberoEnv(plain.task, "stock", 128)
    env.model.body_pos[:], env.model.body_quat[:] = sim.model.body_pos, sim.model.body_quat
    env.data.qpos[:] = sim.data.qpos
    mujoco.mj_forward(env.model, env.data)
    ours = env.observe()
    env.close()
    plain.close()
    np.testing.assert_allclose(theirs.state, ours.state, atol=1e-4)
    assert theirs.images.keys() == ours.images.keys()
    for name, image in ours.images.items():
        assert np.abs(image.astype(int) - theirs.images[name]).mean() < 2, name
        assert np.abs(image[::-1].astype(int) - theirs.images[name]).mean() > 10, name


def test_rates_are_compared_episode_by_episode():
    seconds = {RUNNER: [2.0, 10.0, 4.0], "other": [4.0, 50.0, 12.0]}
    rows = [
        {"loop": loop, "task": 0, "repeat": n, "steps": steps, "wall_s": wall}
        for loop, walls in seconds.items()
        for n, (wall, steps) in enumerate(zip(walls, [100, 100, 120], strict=True))
    ]
    summary = throughput.by_loop(pd.DataFrame(rows))
    assert list(summary.index) == [RUNNER, "other"]
    assert list(summary["episodes"]) == [3, 3]
    assert list(summary["steps_per_s"]) == [30, 10]
    assert list(summary["ratio"]) == [1, 3]  # of 2, 5 and 3
