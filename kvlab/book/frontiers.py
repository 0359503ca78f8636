"""Figures of success against cost, a point a setting, with a letter near each that is named."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from string import ascii_lowercase

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from kvlab.book import plots
from kvlab.book.labels import beside
from kvlab.book.tables import kept

_PALE = 0.3  # opacity of what has no letter


def panels(
    places: Mapping[str, pd.DataFrame],
    label: Callable[[object], str],
    named: Sequence[object] = (),
    height: float = 2.3,
) -> tuple[Figure, list[Axes]]:
    """A panel for each of `places`: success in percent over ms of inference per control step, of `frontier.frontier`.

    Each setting is in the look of its mode. The unbeaten are joined. They and the `named` have a letter, the same in
    every panel, and the others are pale; the legend below says what letters and looks mean. Each panel begins at the
    ten below all of its intervals; it is `height` inches high with its title and names of axes.
    """
    settings = list(dict.fromkeys(setting for place in places.values() for setting in place.index))
    unbeaten = {setting for place in places.values() for setting in place.index[place.pareto]}
    letters = dict(zip((one for one in settings if one in unbeaten.union(named)), ascii_lowercase, strict=False))
    looks = {f"{kept(setting)} kept": setting for setting in settings if setting not in letters}
    said = {f"{letter}  {label(setting)}": setting for setting, letter in letters.items()} | looks
    fig, axes = plots.panels(len(places), height)
    for ax, (name, place) in zip(axes, places.items(), strict=True):
        best = place[place.pareto]
        x, y = ([interval.estimate for interval in best[column]] for column in ("ms_step", "success"))
        ax.plot(x, [100 * share for share in y], linewidth=1, color=plots.GREY)
        for setting, row in place.iterrows():
            strong = {"zorder": 4} if setting in letters else {"alpha": _PALE, "zorder": 3}
            plots.bar(ax, row.success, row.ms_step.estimate, setting.mode, horizontal=False, **strong)
            if setting in letters:
                ends = (100 * row.success.low, 100 * row.success.high)
                beside(ax, letters[setting], row.ms_step.estimate, ends, fontweight="bold")
        ten = 10 * (min(100 * interval.low for interval in place.success) // 10)
        ax.set(
            title=name,
            xlabel="inference per control step, ms",
            ylabel="success, %",
            ylim=(ten - 2, 102),
            xlim=(0, None),
        )
    handles = [
        Line2D([], [], linestyle="", label=words, **plots.look(one.mode), alpha=1 if one in letters else _PALE)
        for words, one in said.items()
    ]
    plots.legend(fig, handles, list(said))
    return fig, axes


def budget(ax: Axes, ms: float) -> None:
    """The budget as a labelled upright line in a panel."""
    ax.axvline(ms, color=plots.VERMILION, linestyle="--", linewidth=1)
    ax.set_xlim(right=max(ax.get_xlim()[1], 1.1 * ms))
    beside(ax, "budget", ms, (-np.inf, np.inf), color=plots.VERMILION)
