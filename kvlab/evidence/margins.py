"""Small enough not to matter? A difference of success held against a margin that is stated beforehand.

Every sentence that says "no difference" or "no loss" names its margin. There are three verdicts: *inside*, the whole
interval is; *outside*, the whole interval is beyond; *undecided*, the interval reaches across. `word` is how a table
says them. The interval is the paired one that stands in the table (`summary.difference`), so that claim and table
cannot disagree.
"""

from math import ceil

import numpy as np

from kvlab.evidence.stats import Interval
from kvlab.evidence.stats.checks import check_open_unit

INSIDE, OUTSIDE, UNDECIDED = "inside", "outside", "undecided"
MARGIN = 0.10  # of a comparison of two settings
BUY = 0.05  # of a loss that one would accept for a lower cost


def apart(difference: Interval, margin: float = MARGIN) -> str:
    """Two-sided: are two settings within `margin` of each other, whichever is better? For gates or modes compared."""
    return _place(max(abs(difference.low), abs(difference.high)), _nearest(difference), margin)


def loss(difference: Interval, margin: float = MARGIN) -> str:
    """One-sided: does the setting lose less than `margin`? For a setting (difference: its success minus no reuse's).

    A gain of any size is inside.
    """
    return _place(-difference.low, -difference.high, margin)


def apart_words(difference: Interval, margin: float = MARGIN) -> str:
    """The clause that `apart` decides: `they differ by less than 10 points`."""
    points = f"{100 * margin:.0f} points"
    return {
        INSIDE: f"they differ by less than {points}",
        OUTSIDE: f"they differ by more than {points}",
        UNDECIDED: f"whether they differ by {points} is not decided",
    }[apart(difference, margin)]


def loss_words(difference: Interval, margin: float = MARGIN) -> str:
    """The clause that `loss` decides: `the loss, if any, is under 6 points`, with the interval's bound.

    A loss that is shown is never called open, only its size: `1 to 13 points are lost; whether more than 5 is open`.
    """
    if difference.low >= 0:
        return "no loss is shown"
    most, points = ceil(round(-100 * difference.low, 6)), f"{100 * margin:.0f} points"
    shown = difference.high < 0
    some = f"{bound(-difference.high, margin)} to {bound(-difference.low, margin)} points are lost; whether more than"
    return {
        INSIDE: f"the loss{'' if shown else ', if any,'} is under {most} point{'s' * (most > 1)}",
        OUTSIDE: f"the loss is over {points}",
        UNDECIDED: f"{some} {100 * margin:.0f} is open" if shown else f"whether it loses over {points} is open",
    }[loss(difference, margin)]


def bound(share: float, margin: float = MARGIN) -> str:
    """An end of a difference's interval in points, as it is printed: without decimals where that hides nothing.

    It has as many as show on which side it lies of 0 and of the margins (BUY, MARGIN, `margin`), of losses and gains.
    """
    points, edges = round(100 * share, 6), np.round(100 * np.array([0, BUY, MARGIN, margin]), 6)
    edges = np.concatenate([-edges, edges])
    shown = (d for d in range(7) if (np.sign(round(points, d) - edges) == np.sign(points - edges)).all())
    return f"{points:z.{next(shown)}f}"


def word(difference: Interval, margin: float = MARGIN) -> str:
    """The verdict of `loss` as a table says it: `under 5`, `over 5`, `loses` or `open`, of points.

    As in `loss_words`, a loss that is shown is not called open, only its size.
    """
    points, shown = f"{100 * margin:g}", difference.high < 0
    return {
        INSIDE: f"under {points}",
        OUTSIDE: f"over {points}",
        UNDECIDED: "loses" if shown else "open",
    }[loss(difference, margin)]


def _place(farthest: float, nearest: float, margin: float) -> str:
    """Where the interval lies, given how far its ends go in the direction that the margin limits."""
    check_open_unit("margin", margin)
    return INSIDE if farthest < margin else OUTSIDE if nearest > margin else UNDECIDED


def _nearest(difference: Interval) -> float:
    return 0.0 if 0 in difference else min(abs(difference.low), abs(difference.high))
