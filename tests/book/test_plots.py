"""The shared figure style: one look per setting, intervals drawn where they are, the same files at each run."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from kvlab.book import plots
from kvlab.evidence.stats import Interval, bootstrap_rate, rate_interval

INTERVALS = [rate_interval(9, 10), rate_interval(0, 10)]


@pytest.fixture(autouse=True)
def no_figure_stays():
    yield
    plt.close("all")


def draw():
    fig, ax = plots.page(height=2)
    plots.interval_rows(ax, ["no reuse", "full"], INTERVALS, ["none", "full:skip"])
    return fig


def test_a_mode_looks_the_same_wherever_it_stands():
    assert plots.look("full") == plots.look("full:skip") == plots.look("full @ vision >= 0.98")
    modes = ["none", "full", "prefix", "vision_only", "state_only", "layer_wise", "text_fixed"]
    assert len({tuple(plots.look(mode).values()) for mode in modes}) == 7
    assert len({plots.look(mode)["marker"] for mode in modes}) == 7


def test_intervals_are_drawn_at_their_ends():
    ax = draw().axes[0]
    drawn = [bar.get_segments()[0][:, 0] for bar in ax.collections]
    for ends, interval in zip(drawn, INTERVALS, strict=True):
        assert ends.tolist() == pytest.approx([100 * interval.low, 100 * interval.high])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["no reuse", "full"]


def test_a_figure_is_shown_as_the_same_svg_at_each_run_under_its_name(monkeypatch):
    shown = []
    monkeypatch.setattr(plots, "display", lambda data, metadata, raw: shown.append((data, metadata)))
    for _ in range(2):
        plots.show(draw(), "one", "What was found")
    assert shown[0] == shown[1] and shown[0][1]["kvlab_figure"] == "one"
    assert shown[0][0]["text/plain"] == "What was found" and shown[0][0]["image/png"]
    assert not plt.get_fignums()  # else the notebook draws it again, as PNG
    assert "fill: #ffffff" in shown[0][0]["image/svg+xml"]  # a ground of its own, for pages in the dark


def test_a_curve_is_joined_in_order_of_reuse_with_a_label_at_each_point():
    fig, ax = plots.page()
    plots.curve(ax, [0.5, 0.2], [rate_interval(1, 10), rate_interval(9, 10)], ["loose", "strict"], "full")
    assert ax.lines[0].get_xydata().tolist() == [[20, 90], [50, 10]]
    assert [(text.get_text(), text.xy[0]) for text in ax.texts] == [("strict", 20), ("loose", 50)]


def test_a_bootstrap_without_width_is_a_hollow_point():
    def table(*counts):
        few = [{"n": n, "exact": rate_interval(k, n), "bootstrap": bootstrap_rate([k], [n])} for k, n in counts]
        return pd.DataFrame(few)

    fig = plots.three_or_hundred(["no reuse", "full"], table((3, 3), (2, 3)), table((100, 100), (60, 100)))
    few, many = fig.axes
    hollow = [line for ax in (few, many) for line in ax.lines if line.get_markerfacecolor() == "white"]
    assert [line.get_xdata().tolist() for line in hollow] == [[100], [100]]
    assert (few.get_title(), many.get_title()) == ("3 episodes a setting", "100 episodes a setting")


def test_differences_have_a_line_at_nothing():
    fig, ax = plots.page()
    plots.differences(ax, ["full"], [rate_interval(1, 2)], ["full"], "no reuse")
    assert ax.get_xlabel() == "points compared with no reuse"
    assert [0, 0] in [list(line.get_xdata()) for line in ax.lines]


def test_a_row_without_an_interval_is_empty_and_the_predicted_side_is_shaded_to_the_edge():
    fig, ax = plots.page(height=2)
    gain = Interval(0.2, 0.1, 0.3, 0.95, "tango")
    plots.differences(ax, ["a", "b"], [None, gain], ["none", "none"], "no reuse")
    ends = ax.get_xlim()
    plots.predicted(ax, -0.05, -1)
    assert len(ax.collections) == 1 and ax.get_xlim() == ends
    (shade,) = ax.patches
    assert sorted({x for x, _ in shade.get_corners()}) == pytest.approx(sorted([-5, ends[0]]))
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: plots.look("fulll"), "'fulll' has no colour; it must start with one of none, full"),
        (lambda: plots.show(None, "../x"), r"figure name '../x' must be of small letters"),
    ],
)
def test_bad_input_names_the_value_and_the_rule(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(("many", "shape"), [(1, (1, 1)), (2, (1, 2)), (3, (2, 2)), (4, (2, 2)), (5, (3, 2))])
def test_panels_fill_rows_and_leave_no_empty_axes(many, shape):
    fig, axes = plots.panels(many, height=1.5, columns=2)
    assert len(axes) == len(fig.axes) == many
    assert axes[0].get_gridspec().get_geometry() == shape
    assert tuple(fig.get_size_inches()) == (plots.WIDTH, 1.5 * shape[0])


def test_strips_write_each_count_and_shade_by_what_was_possible():
    counts = pd.DataFrame([[10, 0], [5, 2]], index=["none", "full"], columns=[0, 1])
    fig, ax = plots.page()
    plots.strips(ax, counts, most=10)
    assert [text.get_text() for text in ax.texts] == ["10", "0", "5", "2"]
    assert ax.collections[0].get_clim() == (0, 10)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["none", "full"]


def test_a_mean_over_policies_is_thick_and_the_range_of_a_further_one_thin():
    fig, ax = plots.page()
    plots.over_policies(ax, Interval(0.1, 0.05, 0.15, 0.95, ""), Interval(0.1, -0.2, 0.4, 0.95, ""), 3)
    thick, thin = ax.lines[-1], ax.collections[0].get_segments()[0]
    assert thick.get_xydata().tolist() == [[5, 3], [15, 3]] and thin[:, 0].tolist() == pytest.approx([-20, 40])
    assert thick.get_linewidth() > 2


def test_things_without_a_look_of_their_own_are_told_apart():
    looks = plots.series(15)
    assert len({tuple(look.values()) for look in looks}) == 15 and len(plots.series(40)) == 40
