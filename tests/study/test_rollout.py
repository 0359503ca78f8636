"""One episode: when it looks, what it executes and when it ends. Real episodes: test_study, test_end_to_end."""

import numpy as np
import pytest

from kvlab.pi0 import load
from kvlab.reuse import CachedPolicy, Execution, parse_gate, parse_mode
from kvlab.sim.env import NO_OP, Observation
from kvlab.sim.suites import STEP_LIMITS, task
from kvlab.study.clock import Delays
from kvlab.study.rollout import rollout
from kvlab.study.settings import Setting, parse_setting

STILL = list(NO_OP)


class Scripted:
    """In place of the simulator: frames that count the steps, success at a given step; a log of all calls."""

    def __init__(self, success_at: int):
        self.task, self.success_at = task("libero_spatial", 4), success_at
        self.calls, self.actions = [], []

    def reset(self, initial_state, seed):
        self.calls.append(("reset", initial_state, seed))

    def observe(self):
        self.calls.append("look")
        frame = np.full((32, 32, 3), len(self.actions), np.uint8)
        return Observation({"agentview": frame, "wrist": frame}, np.zeros(8, np.float32))

    def step(self, action):
        self.calls.append("step")
        self.actions.append(np.array(action))
        return len(self.actions) == self.success_at


@pytest.fixture
def policy(untrained) -> CachedPolicy:
    return CachedPolicy(load(untrained), parse_mode("full"), parse_gate("every(2)"), execute=Execution(5))


def test_it_looks_at_replans_only_and_stops_at_success(policy):
    env = Scripted(success_at=12)
    outcome, replans, _ = rollout(env, policy, 3, 7)
    assert env.calls == [("reset", 3, 7)] + 2 * ["look", *["step"] * 5] + ["look", "step", "step"]
    assert outcome.pop("wall_s") > 0
    assert outcome == {"success": True, "steps": 12, "replans": 3, "reused": 1}
    assert [(r["replan"], r["step"], r["reused"]) for r in replans] == [(0, 0, False), (1, 5, True), (2, 10, False)]


@pytest.mark.parametrize(("every", "last"), [(5, 1), (8, 5), (1, 1)])
def test_it_ends_at_the_step_limit(untrained, monkeypatch, every, last):
    monkeypatch.setitem(STEP_LIMITS, "libero_spatial", 21)
    env = Scripted(success_at=22)
    outcome, replans, _ = rollout(env, Setting("none").on(load(untrained), every), 0, 0)
    assert (outcome["success"], outcome["steps"], outcome["replans"]) == (False, 21, -(-21 // every))
    assert len(env.actions) == 21 and 21 - replans[-1]["step"] == last
    assert [r["executed"] for r in replans] == [every] * (len(replans) - 1) + [last]


def test_success_at_the_last_step_counts(policy, monkeypatch):
    monkeypatch.setitem(STEP_LIMITS, "libero_spatial", 6)
    outcome, *_ = rollout(Scripted(success_at=6), policy, 0, 0)
    assert outcome["success"] and outcome["steps"] == 6


def test_actions_are_the_beginnings_of_chunks_within_their_range(policy):
    chunks, act = [], policy.act
    policy.act = lambda *now: chunks.append(act(*now)) or (chunks[-1][0] * 9, chunks[-1][1])
    env = Scripted(success_at=7)
    rollout(env, policy, 0, 0)
    wanted = np.concatenate([chunks[0][0][:5], chunks[1][0][:2]]) * 9
    assert np.abs(wanted).max() > 1 and np.array_equal(env.actions, wanted.clip(-1, 1))


def test_noise_depends_on_the_episode_and_not_on_the_setting(policy):
    seeds = []
    policy.reset = lambda instruction, seed: (
        seeds.append((instruction, seed)) or CachedPolicy.reset(policy, instruction, seed)
    )
    for state, seed in ((0, 0), (1, 0), (0, 1)):
        rollout(Scripted(success_at=1), policy, state, seed)
    language = task("libero_spatial", 4).language
    assert seeds == [(language, (4, 0, 0)), (language, (4, 1, 0)), (language, (4, 0, 1))]


def test_a_blind_policy_is_shown_black_frames(policy):
    shown, act = [], policy.act
    policy.act = lambda images, *now: shown.append(images) or act(images, *now)
    rollout(Scripted(success_at=7), policy, 0, 0)
    rollout(Scripted(success_at=7), policy, 0, 0, seeing="black")
    assert [images["wrist"].max() for images in shown] == [0, 5, 0, 0]


def test_a_masked_policy_is_shown_no_frames(policy):
    shown, act = [], policy.act
    policy.act = lambda images, *now: shown.append(images) or act(images, *now)
    rollout(Scripted(success_at=7), policy, 0, 0, seeing="masked")
    assert shown == [None, None]


def test_a_failure_passes_through(policy):
    env = Scripted(success_at=99)
    env.step = lambda action: 1 / 0
    with pytest.raises(ZeroDivisionError):
        rollout(env, policy, 0, 0)


# The world goes on during an inference


def episode(untrained, setting: str, delays: Delays) -> tuple[list, list[dict], list[np.ndarray]]:
    """What was executed, the replans, and the chunks that were answered, one of eight actions after another."""
    policy = parse_setting(setting).on(load(untrained), 5)
    chunks, act = [], policy.act
    policy.act = lambda *now: chunks.append(answer := act(*now)) or answer
    env = Scripted(success_at=20)
    _, replans, _ = rollout(env, policy, 0, 0, delays=delays)
    return [*map(list, env.actions)], replans, [chunk.clip(-1, 1) for chunk, _ in chunks]


def still(after: np.ndarray) -> list[float]:
    return [*NO_OP[:-1], after[-1]]


def test_the_robot_goes_on_in_its_chunk_and_then_in_the_new_one_from_where_it_is(untrained):
    done, replans, (a, b, c) = episode(untrained, "none", Delays(2, 2))
    wanted = [STILL, STILL, *a[:5], *a[5:7], *b[2:7], b[7], still(b[7]), *c[1:5]]  # of b one was left: c begins at 1
    np.testing.assert_array_equal(done, wanted)
    assert [r["step"] for r in replans] == [0, 7, 14] and [r["delay"] for r in replans] == [2, 2, 2]
    assert [r["executed"] for r in replans] == [5, 5, 4]


def test_what_is_left_of_a_chunk_is_executed_where_the_delay_leaves_less(untrained):
    done, replans, (a, b, c) = episode(untrained, "none", Delays(4, 4))
    wanted = [*[STILL] * 4, *a[:5], *a[5:8], still(a[7]), *b[3:8], still(b[7]), still(b[7])]
    np.testing.assert_array_equal(done, wanted)
    assert [r["executed"] for r in replans] == [5, 5, 0] and [r["step"] for r in replans] == [0, 9, 18]


def test_a_robot_that_holds_begins_each_chunk_at_its_first_action(untrained):
    done, replans, (a, b, c) = episode(untrained, "none", Delays(2, 2, holds=True))
    np.testing.assert_array_equal(done, [STILL, STILL, *a[:5], *[still(a[4])] * 2, *b[:5], *[still(b[4])] * 2, *c[:4]])
    assert [r["step"] for r in replans] == [0, 7, 14]


def test_a_kept_chunk_goes_on_through_its_own_delay(untrained):
    done, replans, (a, left, b, *_) = episode(untrained, "chunk when every(2) execute=3", Delays(2, 1))
    np.testing.assert_array_equal(left, a[3:])
    np.testing.assert_array_equal(done[:13], [STILL, STILL, *a[:3], a[3], *a[4:7], a[7], still(a[7]), *b[1:3]])
    assert [r["delay"] for r in replans[:3]] == [2, 1, 2] and [r["reused"] for r in replans[:3]] == [False, True, False]


def test_the_world_may_end_while_the_robot_waits(untrained, monkeypatch):
    monkeypatch.setitem(STEP_LIMITS, "libero_spatial", 8)
    done, replans, (a, _) = episode(untrained, "none", Delays(2, 2))
    np.testing.assert_array_equal(done, [STILL, STILL, *a[:5], a[5]])
    assert [r["executed"] for r in replans] == [5, 0]


def test_without_delays_the_world_waits(untrained):
    done, replans, chunks = episode(untrained, "none", Delays())
    np.testing.assert_array_equal(done, np.concatenate([chunk[:5] for chunk in chunks]))
    assert {r["delay"] for r in replans} == {0}
