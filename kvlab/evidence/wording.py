"""How numbers are written: in tables, and in sentences that conclude from them."""

from kvlab.evidence.stats import Interval


def percent(interval: Interval | float) -> str:
    """An interval of rates as it stands in a table: `94 (88 to 97)`; empty where there is none."""
    if not isinstance(interval, Interval):
        return ""
    return f"{100 * interval.estimate:z.0f} ({100 * interval.low:z.0f} to {100 * interval.high:z.0f})"


def p_value(p: float) -> str:
    """A p-value as it stands in a table: three digits, or `< 0.001`."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
