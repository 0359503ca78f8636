"""Figures of success against cost: which settings have a letter, and what the legend says of it."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from matplotlib.text import Text

from kvlab.book import frontiers, labels, plots
from kvlab.evidence.stats import Interval, rate_interval
from kvlab.study.settings import parse_setting


@pytest.fixture(autouse=True)
def no_figure_stays():
    yield
    plt.close("all")


def frontier(names: dict, pareto: tuple = ()) -> pd.DataFrame:
    rows = {s: {"ms_step": Interval(n, n, n, 0.95, ""), "success": rate_interval(k, 10)} for s, (n, k) in names.items()}
    return pd.DataFrame.from_dict(rows, orient="index").assign(pareto=[setting in pareto for setting in names])


def test_letters_of_points_that_lie_together_do_not():
    places = {"none steps=1": (1, 5), "none steps=2": (1.02, 5), "none": (1.04, 6)}
    together = {parse_setting(setting): place for setting, place in places.items()}
    fig, (ax,) = frontiers.panels({"a": frontier(together, [*together][:1])}, str, [*together])
    labels.settle(fig)
    boxes = [Text.get_window_extent(text) for text in ax.texts]
    assert [text.get_text() for text in ax.texts] == ["a", "b", "c"]
    assert not any(one.overlaps(other) for one in boxes for other in boxes if one is not other)


def test_one_panel_is_as_wide_as_every_figure_with_one_legend_below_and_its_title_within(monkeypatch):
    fig, (ax,) = frontiers.panels({"a": frontier({parse_setting("none"): (1, 5)}, [parse_setting("none")])}, str)
    assert fig.get_figwidth() == plots.WIDTH and len(fig.legends) == 1
    shown = []
    monkeypatch.setattr(plots, "display", lambda data, metadata, raw: shown.append((data, metadata)))
    plots.show(fig, "one", "With a loss under 5 points a reused cache saves at most 6 %, the best lever at most 78 %")
    fig.draw_without_rendering()
    title = fig._suptitle
    assert title.get_window_extent().x1 <= fig.bbox.x1 and "6\N{NO-BREAK SPACE}%" in title.get_text()
    assert shown[0][1]["image/png"]["width"] == round(110 * plots.WIDTH)


def test_a_frontier_names_the_unbeaten_and_the_settings_of_the_answer_by_the_same_letters_in_every_panel():
    cheap, best, beaten, no_reuse = map(parse_setting, ("none steps=1", "none steps=2", "full when every(2)", "none"))

    def place(*settings):
        return frontier({setting: (n, n) for n, setting in enumerate(settings, 1)}, (cheap, best))

    fig, axes = frontiers.panels(
        {"a": place(cheap, best, beaten, no_reuse), "b": place(best, no_reuse)}, str, [no_reuse]
    )
    letters = [{text.get_text(): text.xy[0] for text in ax.texts if text.get_text()} for ax in axes]
    assert letters == [{"a": 1, "b": 2, "c": 4}, {"b": 1, "c": 2}]
    said = [[text.get_text() for text in legend.get_texts()] for legend in fig.legends]
    assert said == [["a  none steps=1", "b  none steps=2", "c  none", "everything kept"]]
    assert fig.legends[0].legend_handles[-1].get_color() == plots.look("full")["color"]
    assert [ax.get_title() for ax in axes] == ["a", "b"]


def test_what_has_no_letter_is_pale_and_each_panel_begins_near_its_own_intervals():
    cheap, beaten = map(parse_setting, ("none steps=1", "full when every(2)"))
    fig, axes = frontiers.panels(
        {"high": frontier({cheap: (1, 9), beaten: (2, 9)}, (cheap,)), "low": frontier({cheap: (1, 4)}, (cheap,))}, str
    )
    for ax, k in zip(axes, (9, 4), strict=True):
        lowest = 100 * rate_interval(k, 10).low
        assert lowest - 12 < ax.get_ylim()[0] < lowest and ax.get_ylim()[1] > 100
    strong, pale = (container.lines[0].get_alpha() for container in axes[0].containers)
    assert strong is None and pale < 0.5
    said = {
        text.get_text(): handle
        for legend in fig.legends
        for text, handle in zip(legend.get_texts(), legend.legend_handles, strict=True)
    }
    assert said["everything kept"].get_alpha() == pale and said["a  none steps=1"].get_alpha() == 1


def test_a_budget_beyond_every_setting_is_in_the_figure():
    fig, (ax,) = plots.panels(1, height=3.0)
    ax.set_xlim(0, 12)
    frontiers.budget(ax, 50)
    assert ax.get_xlim()[1] > 50
    frontiers.budget(ax, 10)
    assert ax.get_xlim()[1] > 50
    plt.close(fig)
