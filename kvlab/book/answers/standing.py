"""What *In real time* says of a robot that stands still during an inference."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product

import pandas as pd

from kvlab.book import tables, text
from kvlab.book.answers.speeds import NO_REUSE, BySuite, said
from kvlab.evidence import rows, wording
from kvlab.evidence.rows import successes
from kvlab.evidence.stats import Interval, pair, paired_difference
from kvlab.study.clock import parse_clock
from kvlab.study.settings import Setting
from kvlab.study.study import Study

EXPLAINED = (
    "A robot may also stand still until the new chunk is there, and begin it at its first action: nothing is out of "
    "date, but every inference costs its time. Points are the difference from going on."
)
# Success by episode, standing still and going on, of what is recorded in full
World = tuple[str, float]  # suite, ms of an inference
Success = tuple[Setting, pd.Series]
Outcomes = Mapping[tuple[str, float, Setting], tuple[pd.Series | None, pd.Series | None]]


def outcomes(studies: Mapping[str, Study], settings: Sequence[Setting], speeds: Sequence[float]) -> Outcomes:
    """By suite, ms of an inference and setting, where standing still is recorded; and where going on is, at speeds at
    which no reuse cannot, so that no other table has it.
    """
    found = {}
    for (suite, study), ms in product(studies.items(), speeds):
        still, on = (_recorded(study, settings, world) for world in (f"{ms:g}ms hold", f"{ms:g}ms"))
        alone = not parse_clock(f"{ms:g}ms").covered(NO_REUSE, study.policy.config.chunk)
        named = [setting for setting in settings if setting in still or (alone and setting in on)]
        found |= {(suite, ms, setting): (still.get(setting), on.get(setting)) for setting in named}
    return found


def table(found: Outcomes, confidence: float) -> pd.DataFrame:
    """A row for each of `outcomes`. `points` are the paired difference from going on, where both are recorded."""
    return tables.headed(
        [
            {
                "setting": tables.lever(setting),
                "suite": suite,
                "inference, ms": f"{ms:g}",
                "stands still": _solved(still),
                "goes on": _solved(on),
                "points": wording.points(_gain(still, on, confidence)),
            }
            for (suite, ms, setting), (still, on) in found.items()
        ]
    )


def finding(found: Outcomes, records: BySuite, confidence: float) -> str:
    """Where the best that stands still is shown to solve more than the best that goes on, and how often one setting
    does; nothing where nothing is compared. `records` are those of what goes on.
    """
    gains = [gain for both in found.values() if (gain := _gain(*both, confidence))]
    if not gains:
        return ""
    best = {
        world: both
        for world in dict.fromkeys(which[:2] for which in found)
        if all(both := _best(found, records, *world))
    }
    apart = {world: _gain(still[1], on[1], confidence) for world, (still, on) in best.items()}
    more, fewer = (sum(test(gain) for gain in gains) for test in (lambda g: g.low > 0, lambda g: g.high < 0))
    return (
        f"**{_lead(apart)}**, by the best recorded of either way, which may be two settings.{_told(best, apart)} One "
        f"and the same setting solves more standing still in {more or 'none'} of "
        f"{text.count(len(gains), 'comparison')}, and fewer in {fewer or 'none'}."
    )


def _lead(apart: Mapping[World, Interval]) -> str:
    """Where standing still is shown to be better than going on, each with its best lever, and where worse."""
    better, worse = (
        [w for w, gap in apart.items() if test(gap)] for test in (lambda g: g.low > 0, lambda g: g.high < 0)
    )
    if not (better or worse):
        return "To stand still during an inference is nowhere shown to be better than to go on, or worse"
    ends = [f"{how} in {_where(there)}" for how, there in (("more", better), ("fewer", worse)) if there]
    return f"To stand still during an inference solves {' and '.join(ends)}"


def _where(worlds: Sequence[World]) -> str:
    suites = dict.fromkeys(suite for suite, _ in worlds)
    return text.listed([f"`{suite}` at {said(ms for which, ms in worlds if which == suite)}" for suite in suites])


def _told(best: Mapping[World, tuple[Success, Success]], apart: Mapping[World, Interval]) -> str:
    """Each world in which the two are shown to differ, then the others."""
    told = [
        f" In `{suite}` at {ms:g} ms {_solved(still)} are solved standing still ({tables.lever(setting)}). That is "
        f"{text.difference(apart[suite, ms], 'going on')}."
        for (suite, ms), ((setting, still), _) in best.items()
        if 0 not in apart[suite, ms]
    ]
    rest = [world for world, gap in apart.items() if 0 in gap]
    return "".join(told) + (
        f" Between the best of both no difference is shown in {_where(rest)}." if rest and told else ""
    )


def _best(found: Outcomes, records: BySuite, suite: str, ms: float) -> tuple[Success | None, Success | None]:
    """What solves most standing still, and what going on: here, or among `records` of that speed."""
    here = {setting: both for (*where, setting), both in found.items() if (*where,) == (suite, ms)}
    there = records.get(suite, {}).get(ms)
    on = {} if there is None else {setting: successes(there, setting) for setting in rows.recorded(there)}
    on |= {setting: both[1] for setting, both in here.items()}
    return _most({setting: both[0] for setting, both in here.items()}), _most(on)


def _most(won: Mapping[Setting, pd.Series | None]) -> Success | None:
    known = [one for one in won.items() if one[1] is not None]
    return max(known, key=lambda one: one[1].sum()) if known else None


def _recorded(study: Study, settings: Sequence[Setting], world: str) -> dict[Setting, pd.Series]:
    """Success by episode in that world, of the settings that are recorded in full; of the others a chunk may not cover
    the delay.
    """
    clock, chunk = parse_clock(world), study.policy.config.chunk
    if not (covered := tuple(setting for setting in settings if clock.covered(setting, chunk))):
        return {}
    there = replace(study, settings=covered, protocol=replace(study.protocol, real_time=world))
    missing = there.plan()["missing"]
    if not (full := tuple(setting for setting in there.settings if not missing[str(setting)])):
        return {}
    records = replace(there, settings=full).run(1)
    return {setting: successes(records, setting) for setting in full}


def _gain(still: pd.Series | None, on: pd.Series | None, confidence: float) -> Interval | None:
    return None if still is None or on is None else paired_difference(pair(still, on), confidence)


def _solved(won: pd.Series | None) -> str:
    return "" if won is None else f"{int(won.sum())} of {len(won)}"
