"""The drawing of what a cache keeps and when, out of what the modes themselves say that they keep."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from kvlab.book import plots
from kvlab.pi0.cache import LANGUAGE, STATE
from kvlab.reuse.modes import KEPT, Mode, parse_mode

MODES = {"no reuse": "none", "full": "full", "prefix": "prefix", "layer_wise": "layer_wise:splice", "chunk": "chunk"}
PARTS = {"image\ntokens": "vision", "instruction": LANGUAGE, "robot\nstate": STATE, "actions": "actions"}
REPLANS = 4  # of which every second one reuses
COMPUTED, IN_HALF, OLD, UNUSED = 1.0, 0.5, 0.0, None
_SIDE, _ACROSS, _LEFT = 0.8, 5.0, 5.2


def computed(mode: Mode, part: str) -> float | None:
    """How much of a part is computed at a replan that reuses: its share of the layers; UNUSED where nobody asks."""
    if mode.name == "chunk":
        return OLD if part == "actions" else UNUSED
    if part not in KEPT[mode.name]:
        return COMPUTED
    return IN_HALF if mode.name == "layer_wise" else OLD


def kept() -> Figure:
    """One row a mode, one column a part of the cache, a square a replan: filled is computed, empty is kept."""
    fig, ax = plots.page(height=2.75, width=3.55)  # a phone's
    for y, (name, text) in enumerate(MODES.items()):
        ax.text(0, y, name, va="center", fontsize=8)
        for column, part in enumerate(PARTS.values()):
            for replan in range(REPLANS):
                share = computed(parse_mode(text), part) if replan % 2 else COMPUTED
                _square(ax, _LEFT + _ACROSS * column + replan, y, share, plots.look(text)["color"])
    for column, part in enumerate(PARTS):
        ax.text(_LEFT + _ACROSS * column + 1.9, -1.35, part, ha="center", va="center", fontsize=8)
        for replan in range(REPLANS):
            ax.text(_LEFT + _ACROSS * column + replan + _SIDE / 2, -0.65, str(replan + 1), ha="center", va="center")
    ax.text(0, -0.65, "replan", va="center")
    for x, share, said in (
        (0, COMPUTED, "computed"),
        (6.3, OLD, "kept"),
        (10.6, IN_HALF, "half kept"),
        (17, UNUSED, "not used"),
    ):
        _square(ax, x, 5.3, share, "#000000")
        ax.text(x + 1.1, 5.3, said, va="center", fontsize=8)
    ax.set(xlim=(-0.2, _LEFT + 4 * _ACROSS - 0.6), ylim=(5.9, -2))
    ax.axis("off")
    return fig


def _square(ax: Axes, x: float, y: float, share: float | None, colour: str) -> None:
    if share is UNUSED:
        ax.plot([x + 0.2, x + 0.6], [y, y], color=colour, linewidth=0.8)
        return
    ax.add_patch(Rectangle((x, y - 0.3), _SIDE, 0.6, fill=False, edgecolor=colour, linewidth=0.8))
    ax.add_patch(Rectangle((x, y + 0.3 - 0.6 * share), _SIDE, 0.6 * share, color=colour, linewidth=0))
