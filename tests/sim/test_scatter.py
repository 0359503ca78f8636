"""Scattered scenes on the real simulator: things move by what was asked for, stacks together, and nothing overlaps."""

import numpy as np
import pytest

from kvlab.sim.env import LiberoEnv
from kvlab.sim.scatter import scatter
from kvlab.sim.suites import task


@pytest.fixture(scope="module")
def env():
    env = LiberoEnv(task("libero_spatial", 3))  # the bowl stands on the cookie box
    yield env
    env.close()


def places(env) -> dict[str, np.ndarray]:
    bodies = {**env.libero.obj_body_id}
    return {name: env.data.xpos[body].copy() for name, body in bodies.items()}


def test_things_move_within_reach_and_stacks_together(env):
    env.reset(12, 0)
    before = places(env)
    assert scatter(env, np.random.default_rng(0), reach=0.03)
    moved = {name: place - before[name] for name, place in places(env).items()}
    for name, way in moved.items():
        assert np.abs(way[:2]).max() < 0.032 and abs(way[2]) < 0.002, name  # settling moves a thing a little
    table = ("plate_1", "cookies_1", "glazed_rim_porcelain_ramekin_1", "wooden_cabinet_1", "flat_stove_1")
    ways = np.array([moved[name][:2] for name in table])
    assert np.abs(ways[:, None] - ways[None]).max(-1)[~np.eye(len(table), dtype=bool)].min() > 1e-3  # each its own way
    assert np.linalg.norm((moved["akita_black_bowl_1"] - moved["cookies_1"])[:2]) < 0.003
    assert np.linalg.norm((moved["akita_black_bowl_2"] - moved["wooden_cabinet_1"])[:2]) < 0.003


def test_the_next_reset_knows_nothing_of_it(env):
    env.reset(12, 0)
    before = env.data.qpos.copy(), env.model.body_pos.copy()
    scatter(env, np.random.default_rng(1))
    env.reset(12, 0)
    assert np.array_equal(env.data.qpos, before[0]) and np.array_equal(env.model.body_pos, before[1])


def test_a_scene_in_which_things_overlap_is_left_as_it_was(env, monkeypatch):
    monkeypatch.setattr("kvlab.sim.scatter.TRIES", 1)
    outcomes = []
    for seed in range(12):
        env.reset(12, 0)
        before = env.data.qpos.copy()
        outcomes.append(scatter(env, np.random.default_rng(seed), reach=0.15))
        if not outcomes[-1]:
            assert np.allclose(env.data.qpos, before, atol=1e-12)
    assert {True, False} == set(outcomes)
