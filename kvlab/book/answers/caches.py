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
    "Fewer denoising steps make an inference shorter with and without a cache. The next table compares every cache "
    "with no reuse of as many denoising steps. Its intervals hold together over the speeds of a setting, so they are "
    "wider than those of the tables above."
)
FEW = 20  # episodes that no reuse solves: below it a loss can hardly show


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
    """Which cache of keys and values is shown to win at which speeds, and which kept chunk."""
    compared = _compared(records, confidence)
    if not compared:
        return "**No cache is recorded in real time.** So whether one wins at any speed is open."
    wins = {which: each for which, each in compared.items() if each.wins.any()}
    lead = (
        "A cache of keys and values beats no reuse at some speeds"
        if wins
        else "No speed is recorded at which a cache of keys and values is shown to beat no reuse"
    )
    nearest = max(compared, key=lambda which: _at_best(compared[which])[1].estimate)
    where = [_range(*which, each) for which, each in (wins or {nearest: compared[nearest]}).items()]
    return (
        f"**{lead}.** {_many([cache for _, cache in compared])}.{'' if wins else ' One comes nearest to it.'} "
        f"{' '.join(where)}{_chunks(records, confidence)}"
    )


def _many(caches: list[Setting]) -> str:
    """How many caches were compared, and how many of them in more suites than one."""
    many = text.count(len({*caches}), "cache")
    again = len({cache for cache in caches if caches.count(cache) > 1})
    several = f", {again} of them in more than one suite" if again else ""
    return (
        f"{many[0].upper()}{many[1:]} compared{several}, each with no reuse of as many denoising steps, by "
        "intervals that hold together over its speeds"
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
    won = [
        f"in `{suite}` at {ms:g} ms, {text.difference(gained, 'without')}"
        for suite, ms, each in timed(records)
        for kept, other in _cached({ms: each}, chunks=True)
        if (gained := summary.difference(each, kept, other, confidence)).low > 0
    ]
    return f" A kept chunk is no cache, and it is shown to beat no reuse: {'; '.join(won)}." if won else ""


def _at_best(compared: pd.DataFrame) -> tuple[float, Interval]:
    """The speed above 0 ms at which the cache does best, and its difference there."""
    above = compared.difference[[ms for ms in compared.index if ms]]
    ms = max(above.index, key=lambda one: above[one].estimate)
    return ms, above[ms]


def _range(suite: str, cache: Setting, compared: pd.DataFrame) -> str:
    """Where the cache is shown to win and to lose; where it turns, if it does so once."""
    worse = compared.index[[interval.high < 0 for interval in compared.difference]]
    better = compared.index[compared.wins]
    neither = compared.index.difference([*worse, *better])
    ms, difference = _at_best(compared)
    turn = (
        " If its advantage grows with the time of an inference, the range in which it solves more begins between "
        f"{max(worse):g} and {min(better):g} ms."
        if len(worse) and len(better) and max(worse) < min(better)
        else ""
    )
    return (
        f"In `{suite}` {tables.lever(cache)} is shown to solve more than without at {said(better)}. It is shown to "
        f"solve fewer at {said(worse)}.{f' At {said(neither)} neither is shown.' if len(neither) else ''}"
        f"{_floor(compared.loc[neither])} "
        f"Above 0 ms it does best at {ms:g} ms: it solves {text.difference(difference, 'without')}, "
        f"{text.count(int(compared.n[ms]), 'episode')}.{turn}"
    )


def _floor(undecided: pd.DataFrame) -> str:
    """Where too few are solved without a cache for a loss to show."""
    low = undecided[undecided.other_k < FEW]
    return "".join(
        f" At {ms:g} ms {row.other_k} of {row.n} are solved without it, so that a loss could hardly show."
        for ms, row in low.iterrows()
    )
