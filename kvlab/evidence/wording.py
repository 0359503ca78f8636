"""How numbers are written: in tables, and in sentences that conclude from them."""

from kvlab.evidence.stats import Interval


def percent(interval: Interval | float) -> str:
    """An interval of rates as it stands in a table: `94 (88 to 97)`; empty where there is none."""
    if not isinstance(interval, Interval):
        return ""
    return f"{100 * interval.estimate:z.0f} ({100 * interval.low:z.0f} to {100 * interval.high:z.0f})"


def ratio(interval: Interval | None) -> str:
    """A ratio with its interval as it stands in a table: `1.52 (1.31 to 1.77)`; says so where there is none."""
    if interval is None:
        return "fewer than two solved"
    return f"{interval.estimate:.2f} ({interval.low:.2f} to {interval.high:.2f})"
