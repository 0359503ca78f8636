"""*3 episodes or 100*: what a pilot would have said beside what the study says. The same in every chapter."""

from collections.abc import Sequence

import pandas as pd

from kvlab.book import text
from kvlab.evidence import summary
from kvlab.evidence.stats import bootstrap_rate, rate_interval
from kvlab.study.records import Records
from kvlab.study.settings import Setting


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
    """The sentences about what `both` returns."""
    n, everything = int(few.n.iloc[0]), int(many.n.iloc[0])
    perfect, collapsed = (few.k == few.n).sum(), sum(interval.collapsed for interval in few.bootstrap)
    widest, most = (max(100 * interval.width for interval in table.exact) for table in (few, many))
    settings = text.count(len(few), "setting")
    return (
        f"By the first {text.count(n, 'episode')} alone, {perfect} of {settings} {'looks' if perfect == 1 else 'look'} "
        f"perfect. An exact interval is then up to {widest:.0f} points wide, and the bootstrap has no width at all for "
        f"{collapsed} of {settings} (hollow points): it resamples within tasks, where the outcomes are alike. After "
        f"{text.count(everything, 'episode')} an exact interval is at most {most:.0f} points wide."
    )


def _row(success: pd.Series, confidence: float) -> dict[str, object]:
    by_task, k, n = success.groupby("task").agg(["sum", "count"]), int(success.sum()), len(success)
    drawn = bootstrap_rate(by_task["sum"], by_task["count"], confidence=confidence)
    return {"k": k, "n": n, "exact": rate_interval(k, n, confidence=confidence), "bootstrap": drawn}
