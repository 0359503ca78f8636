"""The drawing of real time is of the loop that the episodes were run by."""

from dataclasses import replace

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pytest
from matplotlib.patches import Rectangle

from kvlab.book import speeds, timeline
from kvlab.paths import CHECKPOINTS, DATA
from kvlab.study.protocol import Protocol
from kvlab.study.settings import parse_setting
from kvlab.study.study import Study

NONE, KEPT = parse_setting("none"), parse_setting("chunk when every(2)")


@pytest.fixture(scope="module")
def study():
    """Recorded in full, at 8 control steps an inference."""
    protocol = Protocol(real_time="400ms")
    return Study(CHECKPOINTS["libero_spatial"], (NONE, KEPT), 100, protocol, folder=DATA / "runs")


@pytest.mark.parametrize("setting", [NONE, KEPT])
def test_it_looks_and_waits_where_recorded_episodes_did(study, setting):
    course = timeline.course(study, setting, 60)
    rows = replace(study, settings=(setting,)).run(1).replans
    first = rows[(rows["task"] == 0) & (rows["initial_state"] == rows["initial_state"].min()) & (rows["step"] < 60)]
    assert len(first) > 3
    assert course.replans == list(zip(first["step"], first["delay"], strict=True))


def test_no_reuse_goes_on_and_stands_still_by_turns(study):
    course = timeline.course(study, NONE, 39)
    # 5 of a chunk of 16 are executed, 8 passed; then 3 are left for the next 8 control steps
    assert course.chunks == [0] * 8 + [1] * 5 + [1] * 8 + [2] * 5 + [2] * 3 + [0] * 5 + [3] * 5
    assert course.still == 5 / 31


def test_a_kept_chunk_goes_on_at_once(study):
    course = timeline.course(study, KEPT, 26)
    assert course.chunks == [0] * 8 + [1] * 16 + [0] * 2 and course.replans == [(0, 8), (13, 0), (18, 8)]


def test_squares_are_hollow_where_it_stands_still():
    course = timeline.Course([0, 1, 1, 2, 0], [(0, 1), (3, 2)])
    fig = timeline.draw({NONE: course}, speeds.looks([NONE]), str, 4)
    squares = [patch for patch in fig.axes[0].patches if isinstance(patch, Rectangle)]
    assert [patch.get_fill() for patch in squares] == [False, True, True, True]
    assert [patch.get_alpha() for patch in squares] == [None, 1, 1, 0.45]
    assert [text.get_text() for text in fig.axes[0].texts] == ["none"]
    plt.close(fig)
