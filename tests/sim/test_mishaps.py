"""Mishaps on the real simulator: things end where a demonstration should begin, and the expert puts it right."""

import numpy as np
import pytest

from kvlab.sim import mishaps
from kvlab.sim.env import LiberoEnv
from kvlab.sim.expert import BowlExpert, expert_for
from kvlab.sim.grips import Thing
from kvlab.sim.hand import Hand
from kvlab.sim.mishaps import drop, lose, misplace
from kvlab.sim.suites import task


@pytest.fixture(scope="module")
def env():
    env = LiberoEnv(task("libero_spatial", 2))
    yield env
    env.close()


@pytest.fixture(scope="module")
def groceries():
    """A can and a box of cream cheese that go into a basket."""
    env = LiberoEnv(task("libero_10", 7))
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


def test_what_is_held_falls_and_the_expert_takes_it_again(groceries):
    groceries.reset(12, 0)
    can, hand = Thing(groceries, "alphabet_soup_1"), Hand(groceries)
    before = can.position
    assert lose(groceries, Moment(closed=25, empty=10))
    assert np.linalg.norm((can.position - before)[:2]) > 0.03  # it was on its way
    assert np.linalg.norm(can.position - hand.position) > 0.08 and hand.opening < 0.01
    expert = expert_for(groceries)
    held = False
    for _ in range(520):
        held = groceries.step(expert.act())
        if expert.done:
            break
    assert held


def test_a_task_that_is_done_before_has_no_mishap(groceries):
    groceries.reset(13, 0)
    assert not lose(groceries, Moment(closed=1000, empty=0))


class Moment:
    """In the place of a random generator: when the fingers open, and how long the hand then carries on."""

    def __init__(self, **drawn: int):
        self.drawn = iter(drawn.values())

    def integers(self, low: int, high: int) -> int:
        return next(self.drawn)


def test_each_suite_has_mishaps_at_any_time_of_its_tasks(groceries, monkeypatch):
    assert set(mishaps.MISHAPS) == {"libero_spatial", "libero_10"}
    bounds = []
    monkeypatch.setattr(Moment, "integers", lambda self, low, high: bounds.append((low, high)) or 0)
    groceries.reset(12, 0)
    lose(groceries, Moment())
    assert bounds == [(5, 80), (0, 15)]  # two things are carried
