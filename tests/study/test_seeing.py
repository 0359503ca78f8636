"""What a policy is shown in place of the present moment."""

import numpy as np
import pytest

from kvlab.sim.env import Observation
from kvlab.study.seeing import parse_seeing, shown


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


def test_shuffled_frames_come_from_elsewhere_and_the_state_does_not():
    other = [moment(n) for n in (20, 21, 22)]
    assert [seen("shuffled", PAST[: n + 1], other)[0] for n in range(4)] == [20, 21, 22, 22]
    assert seen("shuffled", PAST, other)[1] == 6


@pytest.mark.parametrize("text", ["live", "black", "frozen", "shuffled", "late(vision, 3)", "late(all, 10)"])
def test_the_text_form_is_kept(text):
    assert parse_seeing(text) == text


def test_spaces_do_not_matter():
    assert parse_seeing(" late( state ,2 ) ") == "late(state, 2)"


@pytest.mark.parametrize("text", ["", "stars", "late(vision)", "late(vision, 0)", "late(hands, 1)", "late(all, -1)"])
def test_what_cannot_be_shown_is_said(text):
    with pytest.raises(ValueError, match="cannot be shown .*: there is `live`, `black`"):
        parse_seeing(text)
