"""Where in the task the robot is: values worked out by hand, and the gate that reads them."""

import math

import numpy as np
import pytest

from kvlab.reuse import parse_gate
from kvlab.reuse.phase import PHASES, Phase

STILL = np.zeros((4, 7), np.float32)


def test_nothing_is_known_at_first():
    assert set(Phase().values()) == set(PHASES)
    assert all(math.isnan(value) for value in Phase().values().values())


def test_gripper_is_the_change_of_command_over_two_chunks():
    phase, opening, closing = Phase(), STILL.copy(), STILL.copy()
    opening[:, -1], closing[:, -1] = -1, 1
    phase.plan(opening)
    assert phase.values()["gripper"] == 0
    phase.plan(closing)
    assert phase.values()["gripper"] == 2
    phase.plan(closing)
    assert phase.values()["gripper"] == 0  # the change is two chunks ago


@pytest.mark.parametrize(("third", "angle"), [((2, 0, 0), 0), ((1, 1, 0), math.pi / 2), ((0, 0, 0), math.pi)])
def test_curvature_is_the_turn_between_two_moves(third, angle):
    phase = Phase()
    for hand in ((0, 0, 0), (1, 0, 0), third):
        phase.see(np.array(hand))
    assert phase.values()["curvature"] == pytest.approx(angle)


def test_a_hand_that_stays_does_not_turn():
    phase = Phase()
    for _ in range(3):
        phase.see(np.ones(3))
    assert phase.values()["curvature"] == 0


def test_spread_is_the_deviation_over_samples():
    phase = Phase()
    phase.sample(np.stack([STILL + 1, STILL - 1]))
    assert phase.values()["spread"] == pytest.approx(1)


LOOSE, STRICT = 0.9, 0.99
GATE = f"vision >= {LOOSE} if gripper < 1 and curvature < 0.5 else {STRICT}"


@pytest.mark.parametrize(
    ("gripper", "curvature", "bound"),
    [(0, 0.1, LOOSE), (2, 0.1, STRICT), (0, 0.6, STRICT), (float("nan"), 0.1, STRICT), (0, float("nan"), STRICT)],
)
def test_an_adaptive_gate_is_strict_unless_it_is_calm(gripper, curvature, bound):
    gate = parse_gate(GATE)
    phases = {"gripper": gripper, "curvature": curvature}
    assert gate.opens({"vision_anchor": bound} | phases)
    assert not gate.opens({"vision_anchor": bound - 0.001} | phases)


def test_an_adaptive_gate_is_read_back_and_knows_what_it_reads():
    text = "pixels@previous>=0.9  if spread<0.20 and gripper < 1 else 1&age<4"
    gate = parse_gate(text)
    assert str(gate) == "pixels@previous >= 0.9 if spread < 0.2 and gripper < 1 else 1 & age < 4"
    assert parse_gate(str(gate)) == gate
    assert gate.reads == {"pixels_previous"} and gate.phases == {"spread", "gripper"}
    assert parse_gate("vision >= 0.9").phases == frozenset()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("vision >= 0.9 if calm else 0.99", "cannot read the condition 'calm'"),
        ("vision >= 0.9 if state < 1 else 0.99", "cannot read the condition 'state < 1'"),
        ("vision >= 0.9 if gripper < 1", "cannot read"),
        ("vision >= 0.9 if gripper < 1 else 2", "outside"),
        ("age < 4 if gripper < 1 else 2", "cannot read"),
    ],
)
def test_what_an_adaptive_gate_cannot_be(text, says):
    with pytest.raises(ValueError, match=says):
        parse_gate(text)
