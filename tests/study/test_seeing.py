"""What a policy is shown in place of the present moment."""

import numpy as np
import pytest

from kvlab.reuse import CachedPolicy
from kvlab.sim.env import Observation
from kvlab.sim.suites import STEP_LIMITS, task
from kvlab.study import trial
from kvlab.study.protocol import Protocol
from kvlab.study.seeing import parse_seeing, shown
from kvlab.study.settings import Setting


def moment(n: int) -> Observation:
    frames = {"agentview": np.full((4, 6, 3), n, np.uint8), "wrist": np.full((2, 2, 3), n, np.uint8)}
    return Observation(frames, np.full(8, n, np.float32))


PAST = [moment(n) for n in (3, 4, 5, 6)]


def seen(text: str, past=PAST, other=()) -> tuple[int, int]:
    """Which moment's frames, and which moment's state."""
    now = shown(text, past, other)
    assert {name: frame.shape for name, frame in now.images.items()} == {"agentview": (4, 6, 3), "wrist": (2, 2, 3)}
    (frames,) = {int(value) for frame in now.images.values() for value in np.unique(frame)}
    return frames, int(now.state[0])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("live", (6, 6)),
        ("black", (0, 6)),
        ("frozen", (3, 6)),
        ("late(vision, 1)", (5, 6)),
        ("late(state, 2)", (6, 4)),
        ("late(all, 3)", (3, 3)),
        ("late(all, 9)", (3, 3)),  # there is nothing before the first
    ],
)
def test_what_is_shown(text, expected):
    assert seen(text) == expected


def test_masked_there_are_no_frames_and_the_state_is_live():
    now = shown("masked", PAST)
    assert now.images is None and now.state[0] == 6 and PAST[-1].images is not None


def test_shuffled_frames_come_from_elsewhere_and_the_state_does_not():
    other = [moment(n) for n in (20, 21, 22)]
    assert [seen("shuffled", PAST[: n + 1], other)[0] for n in range(4)] == [20, 21, 22, 22]
    assert seen("shuffled", PAST, other)[1] == 6


class Scene:
    """In place of a task's simulator: frames that show the task's number, and an episode that is never solved."""

    drawn_by = "llvmpipe"

    def __init__(self, _protocol, index: int):
        self.task, self.begun = task("libero_spatial", index), []

    def reset(self, *episode: int) -> None:
        self.begun.append(episode)

    def observe(self) -> Observation:
        frame = np.full((32, 32, 3), self.task.index + 1, np.uint8)
        return Observation({"agentview": frame, "wrist": frame}, np.full(8, self.task.index, np.float32))

    def step(self, _action) -> bool:
        return False


@pytest.mark.parametrize(("index", "other"), [(4, 5), (9, 0)])
def test_elsewhere_is_the_same_episode_of_the_next_task(untrained, monkeypatch, index, other):
    scenes, seen, act = [Scene(None, index) for index in range(10)], [], CachedPolicy.act
    monkeypatch.setattr(trial, "_env", lambda _protocol, index: scenes[index])
    monkeypatch.setattr(CachedPolicy, "act", lambda self, *now: seen.append(now) or act(self, *now))
    monkeypatch.setitem(STEP_LIMITS, "libero_spatial", 10)
    protocol = Protocol(numerics="native", replan_every=4)
    row = trial.run_episode(untrained, protocol, index, 3, 7, 0, Setting("none", seeing="shuffled"))
    assert row["error"] is None and row["replans"] == 3
    assert [(images["wrist"].max(), state[0]) for images, state, _ in seen] == [(other + 1, other)] * 3 + [
        (other + 1, index)
    ] * 3
    assert {scene.task.index: scene.begun for scene in scenes if scene.begun} == dict.fromkeys((index, other), [(3, 7)])


@pytest.mark.parametrize("text", ["live", "masked", "black", "frozen", "shuffled", "late(vision, 3)", "late(all, 10)"])
def test_the_text_form_is_kept(text):
    assert parse_seeing(text) == text


def test_spaces_do_not_matter():
    assert parse_seeing(" late( state ,2 ) ") == "late(state, 2)"


@pytest.mark.parametrize("text", ["", "stars", "late(vision)", "late(vision, 0)", "late(hands, 1)", "late(all, -1)"])
def test_what_cannot_be_shown_is_said(text):
    with pytest.raises(ValueError, match="cannot be shown .*: there is `live`, `masked`, `black`"):
        parse_seeing(text)
