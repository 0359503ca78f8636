"""The book's tables of what `summary.compare` returns: one look in every chapter."""

from collections.abc import Callable

import pandas as pd

from kvlab.lab.stats import Interval
from kvlab.lab.study import Arm


def success(compared: pd.DataFrame, label: Callable[[Arm], str] = str) -> pd.DataFrame:
    """Successes, three intervals in percent and the reuse rate; * marks a bootstrap that has no width of its own."""
    star = compared.bootstrap.map(lambda interval: " *" if interval.collapsed else "")
    return pd.DataFrame(
        {
            "successes": compared.k.astype(str) + " of " + compared.n.astype(str),
            "exact": compared.exact.map(percent),
            "Wilson": compared.wilson.map(percent),
            "bootstrap": compared.bootstrap.map(percent) + star,
            "reuse": compared.reuse.map("{:.0%}".format),
        }
    ).rename(label)


def paired(compared: pd.DataFrame, control: Arm, label: Callable[[Arm], str] = str) -> pd.DataFrame:
    """Against the control on the same episodes: lost and won, difference in points with Tango's interval, exact p."""
    rows = compared.drop(control)
    return pd.DataFrame(
        {
            "lost": rows.lost.astype(int),
            "won": rows.won.astype(int),
            "points": rows.difference.map(percent),
            "p": rows.p.map(p_value),
            "p (Holm)": rows.p_holm.map(p_value),
        }
    ).rename(label)


def percent(interval: Interval | float) -> str:
    """An interval of rates as it stands in a table: `94 (88 to 97)`; empty where there is none."""
    if not isinstance(interval, Interval):
        return ""
    return f"{100 * interval.estimate:.0f} ({100 * interval.low:.0f} to {100 * interval.high:.0f})"


def p_value(p: float) -> str:
    """A p-value as it stands in a table: three digits, or `< 0.001`."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
