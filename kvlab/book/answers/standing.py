"""What *In real time* says of a robot that stands still during an inference."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product

import pandas as pd

from kvlab.book import tables, text
from kvlab.book.answers.speeds import NO_REUSE
from kvlab.evidence import wording
from kvlab.evidence.rows import successes
from kvlab.evidence.stats import Interval, pair, paired_difference
from kvlab.study.clock import parse_clock
from kvlab.study.settings import Setting
from kvlab.study.study import Study

EXPLAINED = (
    "A robot may also stand still until the new chunk is there, and begin it at its first action. Nothing is then out "
    "of date, but every inference costs its time. An inference may even outlast the chunk. Points are the paired "
    "difference from going on, where both are recorded."
)
# Success by episode, standing still and going on, of what is recorded in full
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


def finding(found: Outcomes, confidence: float) -> str:
    """What solves most standing still, and whether it is shown to be better or worse than going on; nothing where
    nothing is compared.
    """
    gains = {which: gain for which, both in found.items() if (gain := _gain(*both, confidence))}
    if not gains:
        return ""
    better = [which for which, gain in gains.items() if gain.low > 0]
    worse = [which for which, gain in gains.items() if gain.high < 0]
    compared = text.count(len(gains), "recorded comparison")
    said = (
        f" A robot that stands still meanwhile is apart from those above. There the best solves {_most(found)}. "
        f"To stand still is shown to be better than going on in {len(better) or 'none'} of {compared} and worse in "
        f"{len(worse) or 'none'}."
    )
    if not better:
        return said
    suite, ms, setting = most = max(better, key=lambda which: gains[which].estimate)
    return (
        f"{said} It gains most in `{suite}` at {ms:g} ms with {tables.lever(setting)}: {_solved(found[most][0])}. "
        f"That is {text.difference(gains[most], 'going on')}."
    )


def _most(found: Outcomes) -> str:
    """What solves most of the recorded settings that stand still, by suite and speed."""
    told = []
    for world in dict.fromkeys((suite, ms) for suite, ms, _ in found):
        won = {setting: still for (*where, setting), (still, _) in found.items() if (*where,) == world}
        if won := {setting: still for setting, still in won.items() if still is not None}:
            setting = max(won, key=lambda one: won[one].sum())
            told.append(f"{_solved(won[setting])} in `{world[0]}` at {world[1]:g} ms ({tables.lever(setting)})")
    return "; ".join(told)


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
