"""The primitives and the tasks of libero_10 that are composed of them, in real episodes."""

import numpy as np
import pytest

from kvlab.sim.env import NO_OP, LiberoEnv
from kvlab.sim.expert import SUITES, BowlExpert, expert_for
from kvlab.sim.grips import Across, Rim, Thing, choose
from kvlab.sim.hand import DOWN, SLEW, Hand, pointing
from kvlab.sim.long_tasks import BOX, DRAWER, LONG_TASKS, LongExpert
from kvlab.sim.primitives import Joint, PickPlace, heading, reach
from kvlab.sim.suites import STEP_LIMITS, quiet, task, tasks

LIMIT = STEP_LIMITS["libero_10"]


@pytest.fixture(scope="module")
def drawer():
    """The bowl, and the cabinet whose bottom drawer is open."""
    env = LiberoEnv(task("libero_10", 3))
    yield env
    env.close()


@pytest.fixture(scope="module")
def groceries():
    """A can and a box of cream cheese beside a basket."""
    env = LiberoEnv(task("libero_10", 7))
    yield env
    env.close()


def perform(env, expert, steps=LIMIT):
    """Actions of an attempt, and whether the task's predicate holds at its end."""
    actions, held = [], False
    while not expert.done and len(actions) < steps:
        actions.append(expert.act())
        held = env.step(actions[-1])
    return np.array(actions), held


def test_a_composition_brings_about_every_goal_of_its_task():
    with quiet():
        from libero.libero.envs.bddl_utils import robosuite_parse_problem
    assert len(LONG_TASKS) == len(tasks("libero_10"))
    for one, primitives in zip(tasks("libero_10"), LONG_TASKS, strict=True):
        problem = robosuite_parse_problem(one.bddl)
        already = {goal[1] for goal in problem["goal_state"] if goal in problem["initial_state"]}
        assert {p.thing for p in primitives} == {goal[1] for goal in problem["goal_state"]} - already, one.name


def test_a_bowl_goes_into_the_drawer_and_the_drawer_is_shut(drawer):
    drawer.reset(3, 0)
    joint = Joint(Hand(drawer), DRAWER.joint)
    assert joint.value < -0.13
    expert = LongExpert(drawer)
    actions, held = perform(drawer, expert)
    assert expert.done and held and joint.value > 0
    assert np.abs(actions).max() <= 1 and set(actions[:, 6]) == {-1.0, 1.0}
    assert np.abs(np.diff(actions[:, :6], axis=0)).max() <= SLEW + 1e-9


def test_what_is_dropped_is_taken_again(groceries):
    groceries.reset(2, 0)
    expert, can = LongExpert(groceries), Thing(groceries, "alphabet_soup_1")
    floor = can.position[2]
    for _ in range(100):
        groceries.step(expert.act())
        if can.position[2] > floor + 0.05:
            break
    else:
        pytest.fail("the can was never lifted")
    for _ in range(20):  # the fingers open by themselves
        groceries.step(NO_OP)
    assert can.position[2] < floor + 0.02
    _, held = perform(groceries, expert)
    assert expert.done and held


def test_an_attempt_begins_with_the_first_goal_that_does_not_hold(groceries):
    groceries.reset(4, 0)
    perform(groceries, LongExpert(groceries))
    cheese = groceries.data.joint(groceries.libero.objects_dict["cream_cheese_1"].joints[-1])
    cheese.qpos[:], cheese.qvel[:] = [-0.16, 0.05, 0.46, 0, 0, 0, 1], 0.0  # out of the basket again
    groceries.step(NO_OP)
    soup = Thing(groceries, "alphabet_soup_1").position
    actions, held = perform(groceries, LongExpert(groceries))
    assert held and len(actions) < 150
    assert np.linalg.norm(Thing(groceries, "alphabet_soup_1").position - soup) < 0.03


def test_what_lies_far_from_everything_can_still_be_gripped(groceries):
    groceries.reset(4, 0)
    hand, soup = Hand(groceries), groceries.data.joint(groceries.libero.objects_dict["alphabet_soup_1"].joints[-1])
    soup.qpos[:3] = [3.0, 3.0, 0.05]  # as if it had rolled off the table
    groceries.step(NO_OP)
    can = Thing(groceries, "alphabet_soup_1")
    assert np.isfinite(choose(hand, can, Across(), can.position).point).all()


def test_a_hand_that_cannot_get_there_gives_up(drawer):
    drawer.reset(0, 0)
    hand = Hand(drawer)
    below = hand.position * [1, 1, 0] + [0, 0, 0.7]  # 20 cm under the table's top
    steps = 0
    for action in reach(hand, lambda: (below, hand.frame)):
        drawer.step(action)
        steps += 1
        assert steps < 150
    assert hand.position[2] > 0.85


def test_a_grip_is_across_what_fits_between_the_fingers(groceries):
    groceries.reset(0, 0)
    cheese, hand = Thing(groceries, "cream_cheese_1"), Hand(groceries)
    low, high = cheese.box()
    assert np.allclose(high - low, [0.082, 0.042, 0.018], atol=0.002)
    hold = choose(hand, cheese, BOX, np.array([0.0, 0.26, 0.6]))
    assert abs(hold.axis[1]) == 1  # its longer side is wider than the hand
    assert cheese.point(hold.point)[2] > 0.437 + 0.011  # the tips stay above the table
    assert all(abs(h.axis[1]) < 1e-9 for h in Across().holds(Thing(groceries, "alphabet_soup_1")))  # a can stands on y


def test_a_rim_is_held_away_from_its_handle(groceries):
    rim = Rim(centre=(0.01, 0.0), radius=0.05, height=0.1, free=(-90.0, 91.0))
    holds = list(rim.holds(Thing(groceries, "basket_1")))
    assert len(holds) == 13
    for point, axis in holds:
        assert axis[0] >= -1e-9 and np.allclose(point, [0.01, 0.0, 0.1] + 0.05 * axis)


def test_a_hand_points_as_asked():
    frame = pointing(np.array([1.0, 0.0, 0.0]))
    assert np.allclose(frame, [[1, 0, 0], [0, -1, 0], [0, 0, -1]]) and np.allclose(frame[:, 2], DOWN)
    leaning = pointing(np.array([0.0, 1.0, 0.2]), np.array([0.0, 3.0, -4.0]))
    assert np.allclose(leaning.T @ leaning, np.eye(3)) and np.isclose(np.linalg.det(leaning), 1)
    assert np.allclose(leaning[:, 2], [0, 0.6, -0.8]) and leaning[1, 0] > 0


def test_a_drawer_moves_along_its_rail_and_a_thing_turns_the_shorter_way(drawer):
    drawer.reset(0, 0)
    joint = Joint(Hand(drawer), DRAWER.joint)
    assert np.allclose(joint.motion(joint.point(DRAWER.at)), [0, 1, 0], atol=1e-3)
    bowl, cabinet = Thing(drawer, "akita_black_bowl_1"), Thing(drawer, "white_cabinet_1")
    assert np.isclose(heading(bowl, cabinet), -heading(cabinet, bowl)) and abs(heading(bowl, cabinet)) <= np.pi
    assert np.isclose(heading(cabinet, cabinet), 0)


def test_each_suite_has_its_expert(drawer):
    assert SUITES == ("libero_spatial", "libero_10") and isinstance(expert_for(drawer), LongExpert)
    with pytest.raises(ValueError, match="BowlExpert knows the tasks of libero_spatial, not those of libero_10"):
        BowlExpert(drawer)
    with pytest.raises(KeyError):
        Thing(drawer, "teapot_1")
    assert all(isinstance(one, PickPlace) for one in LONG_TASKS[7])
