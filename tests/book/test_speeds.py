"""The figure of real time: a colour for each setting, the same in every panel, and no label over a bar."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest

from kvlab.book import plots, speeds
from kvlab.evidence.stats import rate_interval
from kvlab.study.settings import parse_setting

NONE, *OTHERS = map(
    parse_setting,
    ("none", "none steps=2", "none steps=1", "none execute=10", "none steps=2 execute=10", "prefix when every(2)",
     "full when every(2)", "chunk when every(2)", "prefix when every(2) steps=2"),
)  # fmt: skip


@pytest.fixture
def fig():
    many = {NONE: {0: 9, 400: 4}} | {setting: {0: 9, 200: 8, 400: n} for n, setting in enumerate(OTHERS, 1)}
    curves = {s: {ms: rate_interval(k, 10) for ms, k in points.items()} for s, points in many.items()}
    yield speeds.panels({"a": curves, "b": {NONE: {0: rate_interval(5, 10)}}}, str)
    plt.close("all")


def test_each_setting_has_a_colour_of_its_own_and_a_mode_its_own_as_everywhere():
    looks = speeds.looks([NONE, *OTHERS])
    assert len({look["color"] for look in looks.values()}) == len({look["marker"] for look in looks.values()}) == 9
    assert looks[NONE] == plots.look("none") and looks[parse_setting("prefix when every(2)")] == plots.look("prefix")


def test_no_reuse_is_thick_and_looks_the_same_in_every_panel(fig):
    lines = [[box for box in ax.containers] for ax in fig.axes]
    assert [len(each) for each in lines] == [9, 1]
    thick = [container.lines[0] for each in lines for container in each if container.lines[0].get_linewidth() > 1]
    assert len(thick) == 2 and {line.get_color() for line in thick} == {plots.look("none")["color"]}


def test_points_of_a_speed_stay_in_its_room_and_say_which_it_is(fig):
    left = fig.axes[0]
    assert [label.get_text() for label in left.get_xticklabels()] == ["0: waits", "200", "400"]
    at = [x for container in left.containers for x in container.lines[0].get_xdata()]
    assert max(abs(x - round(x)) for x in at) < 0.5


def test_no_line_crosses_a_speed_that_a_setting_did_not_run_at(fig):
    drawn = [container.lines[0].get_ydata() for container in fig.axes[0].containers]
    assert [float(y) for y in drawn[1]] == [90, 80, 10]
    assert drawn[0][0] == 90 and np.isnan(drawn[0][1]) and drawn[0][2] == 40


def test_the_legend_is_on_the_page_below_the_axes_and_begins_with_what_ends_highest(fig):
    fig.draw_without_rendering()
    (legend,) = fig.legends
    box = legend.get_window_extent()
    assert fig.get_figwidth() == plots.WIDTH and box.x0 >= 0 and box.x1 <= fig.bbox.x1
    assert box.y1 < min(ax.get_window_extent().y0 for ax in fig.axes)
    assert legend.get_texts()[0].get_text() == str(OTHERS[-1])
