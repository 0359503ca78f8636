"""Figures of success against cost, a point a setting, with letters as near to their points as leaves all readable."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from string import ascii_lowercase

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import Affine2D

from kvlab.book import plots
from kvlab.book.tables import kept

# Half of what each takes up, in points (1/72 inch), with half a bold letter of 9 points and some air.
_BAR, _LINE, _LETTER = (7, 7), (5, 6), (9, 10)
_PALE = 0.3  # opacity of what has no letter
_SIDEWAYS = 1.5  # how much farther a place counts beside a bar than above or below it


def panels(
    places: Mapping[str, pd.DataFrame], label: Callable[[object], str], named: Sequence[object] = (), height: float = 4
) -> tuple[Figure, list[Axes]]:
    """A panel for each of `places`: success in percent over ms of inference per control step, of `frontier.frontier`.

    Each setting is in the look of its mode. The unbeaten are joined. They and the `named` have a letter, the same in
    every panel, and the others are pale; the legend below says what letters and looks mean. Each panel begins at the
    ten below all of its intervals. One panel alone is `plots.NARROW`.
    """
    narrow = len(places) == 1
    fig, axes = plots.panels(len(places), height, width=plots.NARROW if narrow else plots.PAGE_WIDTH)
    settings = list(dict.fromkeys(setting for place in places.values() for setting in place.index))
    unbeaten = {setting for place in places.values() for setting in place.index[place.pareto]}
    letters = dict(zip((one for one in settings if one in unbeaten.union(named)), ascii_lowercase, strict=False))
    for ax, (name, place) in zip(axes, places.items(), strict=True):
        best = place[place.pareto]
        x, y = ([interval.estimate for interval in best[column]] for column in ("ms_step", "success"))
        ax.plot(x, [100 * share for share in y], linewidth=1, color=plots.GREY)
        for setting, row in place.iterrows():
            strong = {"zorder": 4} if setting in letters else {"alpha": _PALE, "zorder": 3}
            plots.bar(ax, row.success, row.ms_step.estimate, setting.mode, horizontal=False, **strong)
        ten = 10 * (min(100 * interval.low for interval in place.success) // 10)
        ax.set(title=name, xlabel="inference per control step, ms", ylim=(ten - 2, 102), xlim=(0, None))
    axes[0].set_ylabel("success, %")
    looks = {f"{kept(setting)} kept": setting for setting in settings if setting not in letters}
    names = {f"{letter}  {label(setting)}": setting for setting, letter in letters.items()}
    for said, side in (({**names, **looks}, "left"),) if narrow else ((looks, "left"), (names, "right")):
        handles = [
            Line2D([], [], linestyle="", label=words, **plots.look(one.mode), alpha=1 if one in letters else _PALE)
            for words, one in said.items()
        ]
        fig.legend(handles=handles, loc=f"outside lower {side}", labelspacing=0.3)
    fig.draw_without_rendering()  # from here on it is known where on the page a point is
    for ax, place in zip(axes, places.values(), strict=True):
        _letters(ax, place, letters)
    return fig, axes


def _letters(ax: Axes, place: pd.DataFrame, letters: Mapping[object, str]) -> None:
    """Letters in a panel; a thin line leads to its point from one that does not stand at its end."""
    to_points = ax.transData + ax.figure.dpi_scale_trans.inverted() + Affine2D().scale(72)
    ms, success = [one.estimate for one in place.ms_step], place.success
    low, middle, high = (
        to_points.transform(np.column_stack([ms, [100 * getattr(one, end) for one in success]]))
        for end in ("low", "estimate", "high")
    )
    wanted = [i for i, setting in enumerate(place.index) if setting in letters]
    panel = to_points.transform(ax.transData.inverted().transform(ax.bbox.get_points()))
    centres = beside(np.stack([low, high], axis=1), wanted, middle[place.pareto.to_numpy(bool)], panel)
    for i, centre in zip(wanted, centres, strict=True):
        offset = centre - middle[i]
        aside = abs(offset[0]) > 2 or not low[i, 1] - 12 < centre[1] < high[i, 1] + 12
        led = {"arrowstyle": "-", "linewidth": 0.6, "shrinkA": 0, "shrinkB": 0} if aside else None
        style = {"ha": "center", "va": "center", "fontweight": "bold", "arrowprops": led}
        point = (ms[i], 100 * success.iloc[i].estimate)
        ax.annotate(letters[place.index[i]], point, offset, textcoords="offset points", **style)


def budget(ax: Axes, ms: float) -> None:
    """The budget as a labelled upright line in a panel."""
    ax.axvline(ms, color=plots.VERMILION, linestyle="--", linewidth=1)
    ax.set_xlim(right=max(ax.get_xlim()[1], 1.1 * ms))
    ax.annotate(
        "budget", (ms, 0), (3, 3), xycoords=("data", "axes fraction"), textcoords="offset points", color=plots.VERMILION
    )


def beside(
    bars: Float[np.ndarray, "points 2 2"],
    wanted: Sequence[int],
    line: Float[np.ndarray, "corners 2"],
    panel: Float[np.ndarray, "2 2"],
) -> Float[np.ndarray, "letters 2"]:
    """The centre of a letter for each of the `wanted` bars, where no bar, no other letter and no `line` lies.

    All in points: `bars` by their lower and upper ends, `line` from left to right, `panel` by its opposite corners,
    within which letters stay. The nearest free place is taken, bar after bar.
    """
    along = np.arange(*line[[0, -1], 0], 4.0)
    taken = [((x, (low + high) / 2), (_BAR[0], (high - low) / 2 + _BAR[1])) for (x, low), (_, high) in bars]
    taken += [(place, _LINE) for place in zip(along, np.interp(along, *line.T), strict=True)]
    places, centres = np.stack(np.meshgrid(*(np.arange(low + 6, high - 6) for low, high in panel.T)), axis=-1), []
    for (x, low), (_, high) in bars[list(wanted)]:
        free = np.all([(abs(places - centre) > half).any(axis=-1) for centre, half in taken], axis=0)
        across, up = _SIDEWAYS * (places[..., 0] - x), places[..., 1]
        far = np.hypot(across, np.clip(low - up, 0, None) + np.clip(up - high, 0, None))
        centres.append(places[np.unravel_index(np.where(free, far, np.inf).argmin(), far.shape)])
        taken.append((centres[-1], _LETTER))
    return np.array(centres).reshape(-1, 2)
