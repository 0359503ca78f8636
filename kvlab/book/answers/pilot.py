"""What every chapter says under *3 episodes or 100*."""

import pandas as pd

from kvlab.book import text


def three_or_hundred(few: pd.DataFrame, many: pd.DataFrame) -> str:
    """The pilot's reading beside the study's, both of `summary.compare` with the same settings in the same order."""
    n, everything = int(few.n.iloc[0]), int(many.n.iloc[0])
    perfect, collapsed = (few.k == few.n).sum(), sum(interval.collapsed for interval in few.bootstrap)
    widest, most = (max(100 * interval.width for interval in table.exact) for table in (few, many))
    settings = text.count(len(few), "setting")
    return (
        f"By the first {text.count(n, 'episode')} alone, {perfect} of {settings} {'looks' if perfect == 1 else 'look'} "
        f"perfect. An exact interval is then up to {widest:.0f} points wide, and the bootstrap has no width at all for "
        f"{collapsed} of {settings} (hollow points): it resamples outcomes that are all alike. After "
        f"{text.count(everything, 'episode')} an exact interval is at most {most:.0f} points wide."
    )
