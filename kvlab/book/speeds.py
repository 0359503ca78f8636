"""The figure of *In real time*: success by the speed of a machine, as narrow as a phone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

from kvlab.book import plots
from kvlab.evidence.stats import Interval
from kvlab.study.settings import Setting

_NO_REUSE = Setting("none")
_OTHERS = ("vision_only", "layer_wise", "state_only", "repeat", "state", "tokens", "every")  # whose looks are free here
_TOGETHER = 0.8  # of the room of a speed is for its points, side by side


def looks(settings: Iterable[Setting]) -> dict[Setting, dict[str, str]]:
    """Colour and marker of each setting, the first of a mode in the mode's own."""
    found, names = {}, set()
    free = cycle(_OTHERS)
    for setting in dict.fromkeys(settings):
        own = setting.mode not in names and not setting.denoising_steps and not setting.execute
        name = setting.mode if own else next(free)
        names.add(name)
        found[setting] = plots.look(name)
    return found


def panels(curves: Mapping[str, Mapping[Setting, Mapping[float, Interval]]], label: Callable[[Setting], str]) -> Figure:
    """A panel a suite: success in percent with intervals over the ms of a full inference, a line a setting.

    `curves` by suite, of `answers.real_time.curves`. A setting looks the same in every panel, no reuse is thick. Speeds
    are equally far apart, and points of one speed stand side by side; no line crosses a speed that a setting did not
    run at. The legend begins with what ends highest in the first panel.
    """
    speeds = sorted({ms for each in curves.values() for points in each.values() for ms in points})
    style = looks(setting for each in curves.values() for setting in each)
    legend = 0.17 * len(style) + 0.6  # inches, with the title
    fig, axes = plots.panels(len(curves), 2.2 + legend / len(curves))
    lines = {}
    for ax, (suite, each) in zip(axes, curves.items(), strict=True):
        for n, setting in enumerate(style):
            if setting in each:
                aside, wide = _TOGETHER * ((n + 0.5) / len(style) - 0.5), 2.5 if setting == _NO_REUSE else 1
                points = [each[setting].get(ms) for ms in speeds]
                lines[setting] = _line(ax, np.arange(len(speeds)) + aside, points, linewidth=wide, **style[setting])
        ax.set(title=suite, ylabel="success, %", ylim=(-3, 103), xlim=(-0.5, len(speeds) - 0.5))
        ax.set_xticks(range(len(speeds)), [f"{ms:g}" if ms else "0: waits" for ms in speeds])
        ax.tick_params(axis="x", length=0)
        ax.grid(axis="x", visible=False)
        for between in range(len(speeds) - 1):
            ax.axvline(between + 0.5, color=plots.GREY, linewidth=0.4)
    axes[-1].set_xlabel("a full inference, ms")
    ended = {one: points[max(points)].estimate for each in reversed(curves.values()) for one, points in each.items()}
    order = sorted(style, key=lambda setting: -ended[setting])
    fig.legend([lines[one] for one in order], map(label, order), loc="outside lower left", labelspacing=0.3)
    return fig


def _line(ax: Axes, x: Sequence[float], intervals: Sequence[Interval | None], **style) -> ErrorbarContainer:
    ends = [[getattr(one, end, np.nan) for one in intervals] for end in ("estimate", "low", "high")]
    y, low, high = 100 * np.array(ends)
    return ax.errorbar(x, y, [y - low, high - y], elinewidth=1, capsize=2, markersize=4, **style)
