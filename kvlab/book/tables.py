"""The book's tables of what `summary.compare` returns: one look in every chapter."""

from collections.abc import Callable

import pandas as pd

from kvlab.evidence.wording import p_value, percent
from kvlab.study.settings import Setting


def success(compared: pd.DataFrame, label: Callable[[Setting], str] = str) -> pd.DataFrame:
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


def paired(compared: pd.DataFrame, control: Setting, label: Callable[[Setting], str] = str) -> pd.DataFrame:
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
