"""One look for every figure of the book: colours per setting, page width, intervals drawn, files that do not change.

The colours are Okabe and Ito's (2008) and, for further gates, Tol's (2021), which people with any common colour vision
deficiency tell apart; each also has its own marker, so that a figure can be read in grey.
"""

from __future__ import annotations

import io
import itertools
import re
from base64 import b64encode
from collections.abc import Sequence
from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kvlab.book.labels import WIDTH, along, beside, broken, legend, settle, tall, together
from kvlab.evidence.stats import Interval

TITLE = 50  # letters of a title that fill the width

_BLACK, _BLUE, _SKY, VERMILION = "#000000", "#0072B2", "#56B4E9", "#D55E00"
_ORANGE, _GREEN, _PURPLE, GREY = "#E69F00", "#009E73", "#CC79A7", "#7F7F7F"
_WINE, _OLIVE, _INDIGO, _TEAL = "#882255", "#999933", "#332288", "#44AA99"
LOOKS = {
    # reuse modes
    "none": (_BLACK, "o"),
    "full": (_BLUE, "s"),
    "prefix": (_SKY, "D"),
    "vision_only": (VERMILION, "^"),
    "state_only": (_ORANGE, "v"),
    "layer_wise": (_GREEN, "P"),
    "text_fixed": (_PURPLE, "X"),
    "chunk": (_PURPLE, ">"),
    "repeat": (_WINE, "H"),
    "tokens": (_TEAL, "<"),
    # the February report's two gates, both of which reuse everything
    "baseline": (_BLUE, "s"),
    "synchronized": (GREY, "d"),
    # what a gate compares with; the anchor's gates are those of `full`
    "previous": (_PURPLE, "X"),
    # other gates, which reuse everything too
    "pixels": (_TEAL, "<"),
    "state": (_OLIVE, "p"),
    "every": (_INDIGO, "h"),
    "adaptive": (_WINE, "*"),
    # suites, where each stands for the same settings
    "libero_10": (_WINE, "s"),
    "libero_spatial": (_OLIVE, "o"),
    "unjudged": (GREY, "d"),  # a policy of which no verdict is given
    # intervals
    "clopper_pearson": (_BLACK, "o"),
    "wilson": (_BLUE, "s"),
    "jeffreys": (_SKY, "D"),
    "tango": (_BLUE, "s"),
    "percentile": (VERMILION, "^"),
    "bca": (_PURPLE, "X"),
    "stratified": (_ORANGE, "v"),
    "cluster": (_GREEN, "P"),
}
_STYLE = {
    "figure.dpi": 120,
    "savefig.dpi": 160,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.h_pad": 0.08,  # inches: a title is apart from the name of the axis above it
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E0E0E0",
    "grid.linewidth": 0.6,
    "lines.markersize": 5,
    "legend.frameon": False,
    "svg.hashsalt": "kvlab",  # element ids in SVG files are random without it
}


def page(
    rows: int = 1, columns: int = 1, height: float = 3.0, width: float = WIDTH, **options
) -> tuple[Figure, Axes | np.ndarray]:
    """A figure of `width` and `height` inches, as `plt.subplots` gives it; `options` go there."""
    plt.rcParams.update(_STYLE)
    return plt.subplots(rows, columns, figsize=(width, height), **options)


def panels(many: int, height: float, columns: int = 1, **options) -> tuple[Figure, list[Axes]]:
    """A figure with `many` axes, `columns` side by side, each row `height` inches; `options` as of `page`."""
    columns = min(columns, many)
    rows = -(-many // columns)
    fig, axes = page(rows, columns, height * rows, squeeze=False, **options)
    for ax in axes.flat[many:]:
        ax.remove()
    return fig, list(axes.flat[:many])


def look(name: str) -> dict[str, str]:
    """Colour and marker of a mode, gate or interval, by the word it starts with: `full`, `full:skip`, `full @ 0.98`.

    For any artist of matplotlib that takes `color` and `marker`. ValueError: an unknown name.
    """
    word = re.match(r"\w*", name)[0]
    if word not in LOOKS:
        raise ValueError(f"{name!r} has no colour; it must start with one of {', '.join(LOOKS)}.")
    colour, marker = LOOKS[word]
    return {"color": colour, "marker": marker}


def interval_rows(ax: Axes, labels: Sequence[str], intervals: Sequence[Interval | None], names: Sequence[str]) -> None:
    """One line per setting, from the top: estimate and interval in percent, in the look of its name; empty for None.

    Long labels are broken: `tall` says how high a row is then.
    """
    for y, (interval, name) in enumerate(zip(intervals, names, strict=True)):
        if interval is not None:
            bar(ax, interval, y, name, horizontal=True)
    ax.set_yticks(range(len(labels)), broken(labels))
    ax.set_ylim(len(labels) - 0.5, -0.5)
    ax.grid(axis="y", visible=False)


def interval_points(
    ax: Axes, x: Sequence[float], intervals: Sequence[Interval], name: str, label: str, **options
) -> None:
    """Estimates with their intervals in percent over `x` (a threshold, a number of episodes), in the look of `name`;
    `options` as of `Axes.errorbar`."""
    for position, interval in zip(x, intervals, strict=True):
        bar(ax, interval, position, name, horizontal=False, **options)
    ax.plot([], [], linestyle="", label=label, **look(name))


def strips(ax: Axes, counts: pd.DataFrame, most: int) -> None:
    """Counts out of `most`, one row per setting and one column per task, written and shaded (light is `most`)."""
    sns.heatmap(counts, ax=ax, vmin=0, vmax=most, cmap="cividis", annot=True, fmt="d", linewidths=0.5, cbar=False)
    ax.set(xlabel="task", ylabel="")
    ax.tick_params(length=0)


def curve(ax: Axes, reuse: Sequence[float], success: Sequence[Interval], labels: Sequence[str], name: str) -> None:
    """Success against the share of replans that reuse, both in percent: joined points with intervals, each labelled.

    In the look of `name`; the points may come in any order.
    """
    order = np.argsort(reuse, kind="stable")
    x, success = 100 * np.asarray(reuse, float)[order], [list(success)[i] for i in order]
    y = [100 * interval.estimate for interval in success]
    ax.plot(x, y, linewidth=1, color=look(name)["color"])
    interval_points(ax, x, success, name, "")
    for at, interval, i in zip(x, success, order, strict=True):
        beside(ax, labels[i], at, (100 * interval.low, 100 * interval.high))


def floor_and_ceiling(ax: Axes, no_reuse: float, black: float | None = None) -> None:
    """Labelled lines at the success, in [0, 1], without reuse (black) and with black cameras (grey)."""
    for share, words, colour in ((no_reuse, "no reuse", _BLACK), (black, "cameras black", GREY)):
        if share is not None:
            ax.axhline(100 * share, color=colour, linewidth=1)
            along(ax, words, 100 * share, color=colour)


def success_axes(ax: Axes) -> None:
    """Both axes of `curve`, from 0 to 100 %."""
    ax.set(
        xlabel="replans that reuse, %", ylabel="success, %", xlim=(-4, 104), ylim=(-3, 122), yticks=range(0, 101, 20)
    )


def differences(
    ax: Axes, labels: Sequence[str], intervals: Sequence[Interval | None], names: Sequence[str], than: str
) -> None:
    """Differences with intervals in points, one row each from the top, compared with `than` (the line at 0)."""
    interval_rows(ax, labels, intervals, names)
    ax.axvline(0, color=_BLACK, linewidth=1)
    ax.set_xlabel(f"points compared with {than}")


def predicted(ax: Axes, nothing: float, side: int) -> None:
    """Shades where an effect is predicted in `differences`: above (`side` 1) or below (-1) `nothing`, a share."""
    ends = ax.get_xlim()
    ax.axvspan(100 * nothing, ends[side > 0], color=_GREEN, alpha=0.1, linewidth=0)
    ax.set_xlim(ends)


def over_policies(ax: Axes, mean: Interval, further: Interval, y: float) -> None:
    """A row of `differences`: the mean over policies with its interval (thick), and where a further one lies (thin)."""
    bar(ax, further, y, "none", horizontal=True)
    ax.plot([100 * mean.low, 100 * mean.high], [y, y], color=_BLACK, linewidth=4, solid_capstyle="butt")


def series(many: int) -> list[dict[str, str]]:
    """Colour and marker of so many things that have no look of their own; after fifteen or so they come again."""
    looks = itertools.islice(itertools.cycle(dict.fromkeys(LOOKS.values())), many)
    return [{"color": colour, "marker": marker} for colour, marker in looks]


def shares_of_no_reuse(
    ax: Axes, labels: Sequence[str], step: Sequence[float], solved: Sequence[Interval], names
) -> None:
    """One row per setting: what a control step takes (a bar) and what a solved episode takes (a point with interval).

    Both in percent of no reuse, at 100, in the look of its name. A label stands above its bar, where it may be long.
    """
    ax.axvline(100, color=_BLACK, linewidth=1)
    for y, (share, label, name) in enumerate(zip(step, labels, names, strict=True)):
        ax.barh(y, 100 * share, height=0.4, color=look(name)["color"], alpha=0.3)
        ground = {"facecolor": "white", "edgecolor": "none", "pad": 0}
        ax.annotate(label, (0, y - 0.2), (2, 0), textcoords="offset points", va="bottom", bbox=ground)
    interval_rows(ax, [""] * len(labels), solved, names)
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(top=-1)
    ax.set(xlabel="% of no reuse (bar: control step, point: solved episode)", xlim=(0, None))


def stages(ax: Axes, table: pd.DataFrame, of: Sequence[str]) -> None:
    """Stacked medians of the stages `of` (columns `<stage>_p50`) in ms, one row per setting; whiskers to the total's
    95th percentile.
    """
    left, rows = np.zeros(len(table)), range(len(table))
    for stage, colour in zip(of, (GREY, _ORANGE, _SKY, _BLUE), strict=True):
        ms = table[f"{stage}_p50"].to_numpy(float)
        ax.barh(rows, ms, left=left, color=colour, label=stage)
        left += ms
    above = [np.zeros(len(table)), (table["total_p95"] - table["total_p50"]).to_numpy(float)]
    ax.errorbar(table["total_p50"], rows, xerr=above, fmt="none", ecolor=_BLACK, capsize=3)
    ax.set_xlabel("one replan, ms (whiskers: 95th percentile)")
    ax.set_yticks(rows, broken(table.index))
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    legend(ax.figure)


def three_or_hundred(labels: Sequence[str], few: pd.DataFrame, many: pd.DataFrame) -> Figure:
    """Exact and bootstrap intervals of each setting side by side, after a few episodes (left) and after many.

    `few` and `many` are of `answers.pilot.both`, with the same settings in the same order; with a column `wilson` that
    interval is drawn too. A bootstrap without any width is a hollow point.
    """
    names = {"exact": "clopper_pearson", "wilson": "wilson", "bootstrap": "percentile"}
    names = {method: name for method, name in names.items() if method in few}
    fig, axes = page(1, 2, height=tall(labels, 0.17 * len(names)) + 0.9, sharey=True)
    for ax, table in zip(axes, (few, many), strict=True):
        for method, at in zip(names, 0.64 / len(names) * (np.arange(len(names)) - (len(names) - 1) / 2), strict=True):
            name = names[method]
            for y, interval in enumerate(table[method]):
                if method == "bootstrap" and interval.collapsed:
                    ax.plot(100 * interval.estimate, y + at, markerfacecolor="white", **look(name))
                else:
                    bar(ax, interval, y + at, name, horizontal=True)
            ax.plot([], [], linestyle="", label=method.replace("w", "W"), **look(name))
        ax.set(title=f"{table.n.iloc[0]} episodes a setting", xlabel="success, %", xlim=(-4, 104))
        ax.grid(axis="y", visible=False)
    axes[0].set_yticks(range(len(labels)), broken(labels))
    axes[0].set_ylim(len(labels) - 0.5, -0.5)
    legend(fig)
    return fig


def show(fig: Figure, name: str, title: str = "") -> None:
    """Shows `fig` as SVG, the same bytes at each run, under a `title` that states the finding.

    Words find their places (`labels.settle`). With a PNG for JupyterLab, which draws no SVG of a notebook that it does
    not trust. Published chapters' figures
    become `figures/<name>.svg` (`kvlab.book.execution`). ValueError: a name with anything but small letters, digits and
    underscores.
    """
    if not re.fullmatch(r"[a-z0-9_]+", name):
        raise ValueError(f"the figure name {name!r} must be of small letters, digits and underscores.")
    if title:
        lines = fill(together(title), int(TITLE * fig.get_figwidth() / WIDTH))
        fig.set_figheight(fig.get_figheight() + 0.18 * (lines.count("\n") + 1))  # the panels keep theirs
        fig.suptitle(lines, x=0.01, ha="left", fontsize=10.5, fontweight="bold")
    settle(fig)
    svg, png = io.StringIO(), io.BytesIO()
    fig.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    fig.savefig(png, format="png", dpi=150, metadata={"Software": None})
    plt.close(fig)
    width = round(110 * fig.get_figwidth())
    data = {"image/svg+xml": svg.getvalue(), "image/png": b64encode(png.getvalue()).decode()}
    display(
        data | {"text/plain": title or name}, metadata={"kvlab_figure": name, "image/png": {"width": width}}, raw=True
    )


def bar(ax: Axes, interval: Interval, position: float, name: str, horizontal: bool, **options) -> None:
    """One estimate with its interval in percent, in the look of `name`; `options` as of `Axes.errorbar`."""
    value, (low, high) = 100 * interval.estimate, (100 * interval.low, 100 * interval.high)
    ends = [[value - low], [high - value]]
    place = {"x": value, "y": position, "xerr": ends} if horizontal else {"x": position, "y": value, "yerr": ends}
    ax.errorbar(**place, capsize=3, linestyle="", **look(name), **options)
