"""What *In real time* says of caches: at which speeds is one shown to beat no reuse, and a kept chunk?"""

from collections.abc import Mapping
from dataclasses import replace

import pandas as pd

from kvlab.book import tables, text
from kvlab.book.answers.speeds import NO_REUSE, BySuite, said, timed
from kvlab.evidence import rows, summary, wording
from kvlab.evidence.speeds import by_speed
from kvlab.evidence.stats import Interval
from kvlab.reuse.modes import CHUNKS
from kvlab.study.records import Records
from kvlab.study.settings import Setting

EXPLAINED = (
    "Every cache compared with no reuse of as many denoising steps; the intervals hold together over the speeds of a "
    "setting, so they are wider than those above."
)


def ranges(records: BySuite, confidence: float) -> pd.DataFrame:
    """Every cache compared with no reuse of as many denoising and executed steps, by suite and speed."""
    found = [
        {
            "cache": tables.lever(cache),
            "suite": suite,
            "inference, ms": f"{ms:g}",
            "successes": f"{row.k} of {row.n}",
            "without": f"{row.other_k} of {row.n}",
            "points": wording.points(row.difference),
        }
        for (suite, cache), each in _compared(records, confidence).items()
        for ms, row in each.iterrows()
    ]
    return tables.headed(found)


def finding(records: BySuite, confidence: float) -> str:
    """In how many comparisons a cache of keys and values is shown to win and to lose, and a kept chunk."""
    compared = _compared(records, confidence)
    if not compared:
        return "**No cache is recorded in real time.** So whether one wins at any speed is open."
    above = pd.concat([each[each.index > 0] for each in compared.values()])
    won, lost = int(above.wins.sum()), sum(interval.high < 0 for interval in above.difference)
    lead = f"A cache of keys and values beats no reuse in {won}" if won else "No cache is shown to beat no reuse"
    where = [_range(*which, each) for which, each in compared.items() if each.wins.any()]
    return (
        f"**{lead} {'of' if won else 'in any of'} {text.count(len(above), 'comparison')}.** In {lost or 'none'} it is "
        f"shown to solve fewer. {' '.join(where) if won else _nearest(compared)}{_chunks(records, confidence)}"
    )


def _nearest(compared: Mapping[tuple[str, Setting], pd.DataFrame]) -> str:
    """The comparison in which a cache does best."""
    suite, cache = which = max(compared, key=lambda one: _at_best(compared[one])[1].estimate)
    ms, difference = _at_best(compared[which])
    without = f"{compared[which].other_k[ms]} of {compared[which].n[ms]}"
    return (
        f"The nearest to it is {tables.lever(cache)}, in `{suite}` at {ms:g} ms: "
        f"{text.difference(difference, 'without')}, which solves {without}."
    )


def _cached(speeds: Mapping[float, Records], chunks: bool = False) -> list[tuple[Setting, Setting]]:
    """The settings that keep a cache, or `chunks`, each with no reuse of as many denoising and executed steps."""
    settings = dict.fromkeys(setting for records in speeds.values() for setting in rows.recorded(records))
    found = [(s, replace(s, mode="none", gate=NO_REUSE.gate)) for s in settings if s.mode != "none"]
    return [(cache, other) for cache, other in found if other in settings and (cache.mode in CHUNKS) == chunks]


def _compared(records: BySuite, confidence: float) -> dict[tuple[str, Setting], pd.DataFrame]:
    """`by_speed` of every cache, by suite, where both it and what it is compared with are recorded above 0 ms."""
    found = {}
    for suite, speeds in records.items():
        for cache, other in _cached(speeds):
            both = {ms: each for ms, each in speeds.items() if {cache, other} <= {*rows.recorded(each)}}
            if any(both):
                found[suite, cache] = by_speed(both, cache, other, confidence)
    return found


def _chunks(records: BySuite, confidence: float) -> str:
    """Where a kept chunk, which computes nothing from old keys and values, is shown to beat no reuse."""
    gains = {
        (suite, ms): summary.difference(each, kept, other, confidence)
        for suite, ms, each in timed(records)
        for kept, other in _cached({ms: each}, chunks=True)
    }
    won = [where for where, gained in gains.items() if gained.low > 0]
    fewer = sum(gained.high < 0 for gained in gains.values())
    return (
        f" A kept chunk, which is no cache, is shown to solve more in {len(won)} of "
        f"{text.count(len(gains), 'comparison')} and fewer in {fewer or 'none'}."
        if won
        else ""
    )


def _at_best(compared: pd.DataFrame) -> tuple[float, Interval]:
    """The speed above 0 ms at which the cache does best, and its difference there."""
    above = compared.difference[[ms for ms in compared.index if ms]]
    ms = max(above.index, key=lambda one: above[one].estimate)
    return ms, above[ms]


def _range(suite: str, cache: Setting, compared: pd.DataFrame) -> str:
    """Where the cache is shown to win and to lose; where it turns, if it does so once."""
    worse = compared.index[[interval.high < 0 for interval in compared.difference]]
    better = compared.index[compared.wins]
    ms, difference = _at_best(compared)
    turn = (
        " If its advantage grows with the time of an inference, the range in which it solves more begins between "
        f"{max(worse):g} and {min(better):g} ms."
        if len(worse) and len(better) and max(worse) < min(better)
        else ""
    )
    return (
        f"In `{suite}` {tables.lever(cache)} is shown to solve more than without at {said(better)}, and fewer at "
        f"{said(worse)}. Above 0 ms it does best at {ms:g} ms: {text.difference(difference, 'without')}.{turn}"
    )
