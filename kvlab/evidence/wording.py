"""How numbers are written: in tables, and in sentences that conclude from them."""

import numpy as np

from kvlab.evidence import margins
from kvlab.evidence.stats import Interval


def percent(interval: Interval) -> str:
    """An interval of rates as it stands in a table: `94 (88 to 97)`."""
    return f"{100 * interval.estimate:z.0f} ({100 * interval.low:z.0f} to {100 * interval.high:z.0f})"


def points(interval: Interval | float | None, margin: float = margins.MARGIN) -> str:
    """A difference of rates as it stands in a table: `-1 (-5.3 to 3)`; empty where there is none.

    Its ends are written by `margins.bound`.
    """
    if not isinstance(interval, Interval):
        return ""
    low, high = (margins.bound(end, margin) for end in (interval.low, interval.high))
    return f"{100 * interval.estimate:z.0f} ({low} to {high})"


def ratio(interval: Interval | None) -> str:
    """A ratio with its interval as it stands in a table: `1.52 (1.31 to 1.77)`; says so where there is none."""
    if interval is None:
        return "fewer than two solved"
    return f"{interval.estimate:.2f} ({interval.low:.2f} to {interval.high:.2f})"


def of_100(ratio: Interval) -> str:
    """A ratio in percent with its interval, whose ends have as many decimals as show on which side of 100 they are."""

    def end(share: float) -> str:
        percent = round(100 * share, 6)
        shown = (d for d in range(7) if np.sign(round(percent, d) - 100) == np.sign(percent - 100))
        return f"{percent:.{next(shown)}f}"

    return f"{100 * ratio.estimate:.0f} ({end(ratio.low)} to {end(ratio.high)})"
