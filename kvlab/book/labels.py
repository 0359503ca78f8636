"""Words in figures: near what they name and on top of nothing; titles and names of axes no longer than their room.

Nothing is placed by hand, since records that are still to come add points. What a chapter draws asks with `beside` for
a word; `settle`, when the figure is complete, finds the places.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from textwrap import fill

import numpy as np
from jaxtyping import Float
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox, ScaledTranslation

Box = Float[np.ndarray, "2 2"]  # the lower left and the upper right corner, in points (1/72 inch)

WIDTH = 4.5  # inches of a figure: a phone shows all of it with letters of 9 pixels
ROW = 26  # letters of a row's name in one line

_LINE, _LETTER = 0.16, 0.085  # inches: the height of a line of text, the width of a letter of a legend
_BETWEEN = 0.2  # inches between the titles of panels side by side
_AGAIN = 5  # times at most that names are broken: each time their room changes a little
_AIR = 1.5  # points around a word
_SAMPLED = 3.0  # points between the boxes that stand for a sloping line
_SIDEWAYS = 1.5  # how much farther a place counts beside what it names than above or below it
_LED = 7.0  # points from where on a thin line leads from a word to what it names
_MISTAKEN = 4.0  # points that a place counts farther for each that it is nearer to what another word names
_COVERED = 1e4  # points that a place counts farther for each thing that it covers: only where no place is free


class Beside(Annotation):
    """A word for what lies between `ends`, two corners in data, as far as it is shown; `settle` puts it near that."""

    def __init__(self, ax: Axes, words: str, ends: Sequence[tuple[float, float]], **style):
        self.ends = np.array(ends, float)
        middle = tuple(np.nan_to_num(self.ends, posinf=0, neginf=0).mean(axis=0))
        super().__init__(words, middle, (0, 0), textcoords="offset points", ha="center", va="center", **style)
        self.set_in_layout(False)  # it is within its panel in the end
        ax.add_artist(self)


def beside(ax: Axes, words: str, x: float, ends: tuple[float, float], **style) -> None:
    """A word for the bar at `x` between `ends`, in data; `style` as of `Text`. Its place is found by `settle`."""
    Beside(ax, words, [(x, ends[0]), (x, ends[1])], **style)


def along(ax: Axes, words: str, y: float, **style) -> None:
    """A word for a line across the panel at `y`; `style` as of `Text`. Its place is found by `settle`."""
    Beside(ax, words, [(-np.inf, y), (np.inf, y)], **style)


def together(words: str) -> str:
    """`words`, with a number on the line of its sign: `90 %`, `≥ 0.98`."""
    return re.sub(r" (?=%)|(?<=[≥≤<>]) ", "\N{NO-BREAK SPACE}", words)


def broken(labels: Sequence[str]) -> list[str]:
    """Names of rows, in lines of `ROW` letters."""
    return [fill(together(label), ROW) for label in labels]


def tall(labels: Sequence[str], least: float = 0.2) -> float:
    """The inches that rows of `interval_rows` need, so that no label touches the next; at least `least` for each."""
    lines = [label.count("\n") + 1 for label in broken(labels)]
    return len(lines) * max([least, *(_LINE * (a + b) / 2 for a, b in pairwise(lines))])


def legend(of: Figure | Axes, handles: Sequence[Artist] | None = None, labels: Sequence[str] | None = None) -> None:
    """A legend below a figure, or below the x label of a panel, where it covers nothing; `handles`: all by default."""
    if handles is None:
        handles, labels = (of.axes[0] if isinstance(of, Figure) else of).get_legend_handles_labels()
    columns = max(1, int(WIDTH / (_LETTER * max(map(len, labels)) + 0.5)))
    fig = of if isinstance(of, Figure) else of.figure
    fig.set_figheight(fig.get_figheight() + 0.18 * -(-len(labels) // columns))  # the panels keep theirs
    if of is fig:
        of.legend(handles, labels, loc="outside lower left", ncols=columns, labelspacing=0.3)
        return
    below = of.transAxes + ScaledTranslation(0, -3 * _LINE, fig.dpi_scale_trans)
    of.legend(
        handles, labels, loc="upper left", bbox_to_anchor=(0, 0), bbox_transform=below, ncols=columns, labelspacing=0.3
    )


def settle(fig: Figure) -> None:
    """Breaks what is longer than its room, then puts every `Beside` in its place. The last thing before a figure is
    saved: what changes the layout later moves things below their words."""
    said = {text: text.get_text() for ax in fig.axes for text in (ax.title, ax.xaxis.label, ax.yaxis.label)}
    for _ in range(_AGAIN):
        fig.draw_without_rendering()
        if not any([_break(ax, said) for ax in fig.axes]):  # all of them, before the layout is made anew
            break
    for ax in fig.axes:
        if words := [text for text in ax.texts if isinstance(text, Beside)]:
            _put(ax, words)


def _break(ax: Axes, said: Mapping[Text, str]) -> bool:
    """Whether the title or the name of an axis, by what was `said` first, was longer than its room and is new now."""
    page, middle = ax.figure.bbox.width, (ax.bbox.x0 + ax.bbox.x1) / 2
    column = page / ax.get_gridspec().ncols - _BETWEEN * ax.figure.dpi
    across = min(column, 2 * middle, 2 * (page - middle))
    asked = [(ax.title, "width", across), (ax.xaxis.label, "width", across), (ax.yaxis.label, "height", ax.bbox.height)]
    broken = False
    for text, side, room in asked:
        if (long := getattr(text.get_window_extent(), side)) > room:
            before = text.get_text()
            letters = max(1, int(max(map(len, before.split("\n"))) * room / long))
            text.set_text("\n".join(fill(line, letters, break_long_words=False) for line in said[text].split("\n")))
            broken |= text.get_text() != before
    return broken


def _put(ax: Axes, words: Sequence[Beside]) -> None:
    points = 72 / ax.figure.dpi
    for word in words:
        word.ends = np.clip(word.ends, ax.viewLim.min, ax.viewLim.max)
        word.xy = tuple(word.ends.mean(axis=0))
    named = [points * ax.transData.transform(word.ends) for word in words]
    sizes = [points * np.array(Text.get_window_extent(word).size) + 2 * _AIR for word in words]
    taken = [box for box in _drawn(ax) if np.isfinite(box).all()]
    centres = places(named, sizes, taken, points * ax.bbox.get_points())
    for word, ends, size, centre in zip(words, named, sizes, centres, strict=True):
        word.set_position(tuple(centre - ends.mean(axis=0)))
        for line in _leader(centre, size / 2, ends, named):
            inside = ax.transAxes.inverted().transform(line / points)
            ax.add_artist(Line2D(*inside.T, transform=ax.transAxes, color="black", linewidth=0.6))


def _leader(centre: np.ndarray, half: np.ndarray, ends: Box, named: Sequence[Box]) -> list[Float[np.ndarray, "2 2"]]:
    """The line from a word to what it names, in points, if that is far off or what another word names is nearer."""
    far, nearest = _gap(centre, half, *ends), np.clip(centre, *ends)
    if far <= min([_LED, *(_gap(centre, half, *other) for other in named if other is not ends)]):
        return []
    return [np.array([centre + np.clip(nearest - centre, -half, half), nearest])]


def places(
    named: Sequence[Box], sizes: Sequence[Float[np.ndarray, "2"]], taken: Sequence[Box], panel: Box
) -> Float[np.ndarray, "words 2"]:
    """The centre of a word of each of `sizes`, in the `panel`, where nothing of `taken` lies and no word before it.

    It is near what it names, and if possible nearer than to what another word names. Where no place is free it is
    where it covers least. All in points.
    """
    taken, words, centres = list(taken), [], []
    for i, ((low, high), size) in enumerate(zip(named, sizes, strict=True)):
        half = np.array(size) / 2
        grid = (np.arange(a, max(b, a + 1)) for a, b in zip(panel[0] + half, panel[1] - half, strict=True))
        free = np.stack(np.meshgrid(*grid), axis=-1)
        covered = np.zeros(free.shape[:2])
        for left, right in (*taken, *words):
            covered += ((free + half > left) & (free - half < right)).all(axis=-1)
        nearest = np.clip(free, low, high)
        edge = free + np.clip(nearest - free, -half, half)  # where its line would begin, as `_leader` draws it
        for share in np.linspace(0, 1, 41):  # of the way to what it names
            on = edge + share * (nearest - edge)
            covered += np.any([((on > left) & (on < right)).all(axis=-1) for left, right in words], axis=0)
        own = _gap(free, half, low, high)
        others = [_gap(free, half, *box) for n, box in enumerate(named) if n != i]
        mistaken = np.clip(own - np.min(others, axis=0, initial=np.inf), 0, None)
        off = abs(free - nearest).sum(axis=-1)  # among equals, the word's middle near its bar
        cost = own + _MISTAKEN * mistaken + 0.1 * off + _COVERED * covered
        centres.append(free[np.unravel_index(cost.argmin(), cost.shape)])
        words.append(np.array([centres[-1] - half, centres[-1] + half]))
        taken += [box for line in _leader(centres[-1], half, named[i], named) for box in _path(line, 1)]
    return np.array(centres).reshape(-1, 2)


def _gap(centre: Float[np.ndarray, "... 2"], half: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Points between words, by their centres and half of their size, and what lies from `low` to `high`."""
    gap = np.clip(np.maximum(low - centre - half, centre - half - high), 0, None)
    return np.hypot(_SIDEWAYS * gap[..., 0], gap[..., 1])


def _drawn(ax: Axes) -> Iterator[Box]:
    """What lines, markers, bars of intervals, other words and a legend take up in a panel."""
    points = 72 / ax.figure.dpi
    for line in ax.lines:
        path = points * line.get_transform().transform(np.ma.filled(line.get_xydata().astype(float), np.nan))
        if line.get_linestyle() not in ("None", ""):
            yield from _path(path, line.get_linewidth() / 2)
        if line.get_marker() not in (None, "None", ""):
            yield from (np.array([at - line.get_markersize() / 2, at + line.get_markersize() / 2]) for at in path)
    for lines in ax.collections:
        if isinstance(lines, PolyCollection):  # a band: its outline
            for outline in lines.get_paths():
                yield from _path(points * lines.get_transform().transform(outline.vertices), 1)
        if isinstance(lines, LineCollection):
            for segment in lines.get_segments():
                yield from _path(points * lines.get_transform().transform(segment), 1)
    for text in (*ax.texts, ax.get_legend()):
        if text is not None and not isinstance(text, Beside):
            yield points * Bbox.get_points(text.get_window_extent())


def _path(path: Float[np.ndarray, "corners 2"], half: float) -> Iterator[Box]:
    """Boxes along a line: one for a piece that is level or upright, several for one that slopes."""
    for one, other in pairwise(path):
        step = abs(other - one)
        pieces = 1 if not np.isfinite(step).all() or step.min() < 1 else int(step.max() // _SAMPLED) + 1
        corners = np.linspace(one, other, pieces + 1)
        for a, b in pairwise(corners):
            yield np.array([np.minimum(a, b) - half, np.maximum(a, b) + half])
