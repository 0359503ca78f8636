"""Words in figures: where they are placed, and how names are broken."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.text import Text

from kvlab.book import labels, plots
from kvlab.evidence.stats import rate_interval

PANEL = np.array([[0.0, 0.0], [200.0, 150.0]])
LETTER = np.array([10.0, 12.0])


@pytest.fixture(autouse=True)
def no_figure_stays():
    yield
    plt.close("all")


def bars(*places: tuple[float, float, float]) -> list[np.ndarray]:
    return [np.array([[x, low], [x, high]]) for x, low, high in places]


def thick(named: list[np.ndarray]) -> list[np.ndarray]:
    return [bar + [[-3, -1], [3, 1]] for bar in named]


def overlap(centre: np.ndarray, size: np.ndarray, box: np.ndarray) -> bool:
    return bool(((centre + size / 2 > box[0]) & (centre - size / 2 < box[1])).all())


def test_a_word_alone_stands_straight_above_or_below_its_bar():
    named = bars((100, 60, 100))
    ((x, y),) = labels.places(named, [LETTER], thick(named), PANEL)
    assert abs(x - 100) <= 1 and min(abs(y - 60), abs(y - 100)) < 10


def test_words_in_a_crowd_lie_on_no_bar_no_line_and_no_other_word_and_within_the_panel():
    named = bars((100, 95, 140), (103, 97, 141), (104, 90, 138), (112, 96, 140), (115, 60, 95))
    line = np.array([[20.0, 143.0], [180.0, 145.0]])
    sizes = [np.array([width, 12.0]) for width in (10, 30, 24, 10, 30)]
    centres = labels.places(named, sizes, [*thick(named), line], PANEL)
    boxes = [np.array([centre - size / 2, centre + size / 2]) for centre, size in zip(centres, sizes, strict=True)]
    for n, (centre, size) in enumerate(zip(centres, sizes, strict=True)):
        assert not any(overlap(centre, size, box) for box in (*thick(named), line, *boxes[:n]))
        assert (boxes[n][0] >= 0).all() and (boxes[n][1] <= PANEL[1]).all()
        assert np.hypot(*(centre - named[n].mean(axis=0))) < 80


@pytest.mark.parametrize("seed", [0, 3, 8, 10])
def test_no_line_to_what_a_word_names_crosses_another_word(seed):
    rng = np.random.default_rng(seed)
    places = zip(np.sort(rng.uniform(80, 130, 7)), rng.uniform(90, 120, 7), strict=True)
    named, half = bars(*((x, y - 6, y + 6) for x, y in places)), np.array([13.0, 5.5])
    centres = labels.places(named, [2 * half] * 7, thick(named), PANEL)
    lines = [(n, line) for n, at in enumerate(centres) for line in labels._leader(at, half, named[n], named)]
    assert lines
    for n, line in lines:
        for other in np.delete(centres, n, axis=0):
            assert not (abs(np.linspace(*line, 200) - other) < half).all(axis=1).any()


def test_a_word_is_nearer_to_what_it_names_than_to_what_another_does_where_there_is_room():
    named = bars((100, 50, 50), (112, 62, 62))
    sizes, blocked = [np.array([8.0, 8.0])] * 2, [np.array([[60.0, 0.0], [140.0, 46.0]])]
    for n, centre in enumerate(labels.places(named, sizes, [*thick(named), *blocked], PANEL)):
        far = [np.hypot(*np.clip(abs(centre - bar[0]) - 4, 0, None)) for bar in named]
        assert far[n] == min(far)


def test_a_word_without_a_free_place_lies_where_it_covers_least():
    everywhere = np.array([[0.0, 0.0], [200.0, 150.0]])
    also = np.array([[0.0, 0.0], [200.0, 80.0]])
    ((_, y),) = labels.places(bars((100, 40, 40)), [LETTER], [everywhere, also], PANEL)
    assert y - 6 >= 80


def test_no_words_of_a_steep_crowded_curve_lie_on_each_other_its_line_or_a_reference():
    fig, ax = plots.page(height=3)
    shares = np.array([0.02, 0.08, 0.13, 0.2, 0.36, 0.5, 0.57, 0.6, 0.72, 0.9])
    kept = [99, 98, 96, 98, 87, 67, 45, 40, 1, 0]
    plots.curve(ax, shares, [rate_interval(k, 100) for k in kept], [f"{1 - x / 5:.3f}" for x in shares], "full")
    plots.floor_and_ceiling(ax, 0.99, 0.08)
    plots.success_axes(ax)
    labels.settle(fig)
    fig.draw_without_rendering()
    boxes = [Text.get_window_extent(text) for text in ax.texts]
    assert len(boxes) == 12
    assert not any(one.overlaps(other) for n, one in enumerate(boxes) for other in boxes[:n])
    path = ax.lines[0].get_path().interpolated(100).transformed(ax.transData).vertices
    assert not any(box.contains(x, y) for box in boxes for x, y in path)
    for level in (99, 8):
        y = ax.transData.transform((0, level))[1]
        assert not any(box.y0 < y < box.y1 for box in boxes)


def test_titles_and_names_of_axes_that_are_longer_than_their_room_have_more_lines():
    fig, (left, right) = plots.panels(2, height=2, columns=2)
    left.set(title="as long as a whole page of a phone is wide", ylabel="longer than an axis of an inch is high")
    right.set(title="short", xlabel="as long as a whole page of a phone is wide")
    labels.settle(fig)
    fig.draw_without_rendering()
    assert "\n" in left.get_title() and "\n" in left.get_ylabel() and "\n" in right.get_xlabel()
    assert right.get_title() == "short"
    for text in (left.title, right.title, right.xaxis.label):
        box = text.get_window_extent()
        assert box.x0 >= 0 and box.x1 <= fig.bbox.x1


def test_rows_are_as_high_as_their_longest_neighbours():
    short, long = "no reuse", "everything kept, images ≥ 0.98, robot state ≥ 0.98"
    assert labels.tall([short, short], 0.2) == pytest.approx(0.4)
    assert labels.tall([short, long, long], 0.2) > 3 * 0.3
    (lines,) = (label.split("\n") for label in labels.broken([long]))
    assert len(lines) == 2 and " ".join(lines).replace("\N{NO-BREAK SPACE}", " ") == long
    assert not any(line.endswith("≥") or len(line) > labels.ROW for line in lines)
    assert labels.tall([short], 0.2) == pytest.approx(0.2)


def test_a_legend_of_a_panel_is_below_the_names_of_its_axis():
    fig, axes = plots.panels(2, height=2)
    for ax in axes:
        ax.plot([0, 1], label="a line")
        ax.set_xlabel("x")
        plots.legend(ax)
    fig.draw_without_rendering()
    for ax in axes:
        assert ax.get_legend().get_window_extent().y1 <= ax.xaxis.label.get_window_extent().y0
    assert axes[0].get_legend().get_window_extent().y0 > axes[1].get_window_extent().y1
