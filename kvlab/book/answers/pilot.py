"""*3 episodes or 100*: what a pilot would have said beside what the study says. The same in every chapter.

Why a pilot says little is explained once, in `book/three_or_hundred.md`.
"""

from collections.abc import Sequence

import pandas as pd

from kvlab.book import text
from kvlab.evidence import summary
from kvlab.evidence.stats import bootstrap_rate, rate_interval
from kvlab.study.records import Records
from kvlab.study.settings import Setting

WHY = "([why](three_or_hundred.ipynb))"


def both(
    records: Records, settings: Sequence[Setting], confidence: float = 0.95, pilot: int = 3
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The first `pilot` episodes and all of them, a row per setting: k of n, `exact` and `bootstrap` Intervals.

    The bootstrap draws episodes within tasks (percentile). ValueError as in `summary.successes`.
    """
    return tuple(
        pd.DataFrame([_row(summary.successes(rows, setting), confidence) for setting in settings], list(settings))
        for rows in (summary.first(records, pilot), records)
    )


def three_or_hundred(few: pd.DataFrame, many: pd.DataFrame) -> str:
    """The sentences about what `both` returns, for after a colon."""
    n, everything = int(few.n.iloc[0]), int(many.n.iloc[0])
    perfect, still = ((table.k == table.n).sum() for table in (few, many))
    said = (
        f"{perfect} of {text.count(len(few), 'setting')} {'looks' if perfect == 1 else 'look'} perfect after "
        f"{text.count(n, 'episode')}"
    )
    after = f", {still or 'none'} after {everything:,}" if everything > n else ""
    hollow = any(interval.collapsed for interval in [*few.bootstrap, *many.bootstrap])
    return f"{said}{after}{'; hollow points say nothing' * hollow} {WHY}."


def _row(success: pd.Series, confidence: float) -> dict[str, object]:
    by_task, k, n = success.groupby("task").agg(["sum", "count"]), int(success.sum()), len(success)
    drawn = bootstrap_rate(by_task["sum"], by_task["count"], confidence=confidence)
    return {"k": k, "n": n, "exact": rate_interval(k, n, confidence=confidence), "bootstrap": drawn}
