"""Mishaps on the real simulator: the bowl ends where a demonstration should begin, and the expert puts it right."""

import numpy as np
import pytest

from kvlab.sim.env import LiberoEnv
from kvlab.sim.expert import BowlExpert
from kvlab.sim.mishaps import drop, misplace
from kvlab.sim.suites import task


@pytest.fixture(scope="module")
def env():
    env = LiberoEnv(task("libero_spatial", 2))
    yield env
    env.close()


@pytest.mark.parametrize("mishap", [drop, misplace])
def test_the_expert_finds_the_way_back(env, mishap):
    env.reset(12, 0)
    start = BowlExpert(env)
    before = env.data.xpos[start.bowl].copy()
    assert mishap(env, np.random.default_rng(1))
    expert = BowlExpert(env)
    assert np.linalg.norm(env.data.xpos[expert.bowl] - before) > 0.02  # it was moved
    aside = np.linalg.norm((env.data.xpos[expert.bowl] - env.data.xpos[expert.plate])[:2])
    assert aside > 0.02  # and is not where it should be
    assert any(env.step(expert.act()) for _ in range(220))


def test_a_mishap_is_drawn_from_the_generator_alone(env):
    ends = []
    for _ in range(2):
        env.reset(12, 0)
        misplace(env, np.random.default_rng(3))
        ends.append(env.data.qpos.copy())
    assert np.array_equal(*ends)
