"""What *In real time* says of the delay alone: at which speeds it costs success, and which machine is at which."""

from collections.abc import Mapping, Sequence

import pandas as pd

from kvlab.book import tables, text
from kvlab.book.answers import delays
from kvlab.book.answers.speeds import NO_REUSE, BySuite, said, solved, timed
from kvlab.evidence import wording
from kvlab.evidence.rows import recorded, successes
from kvlab.evidence.stats import Interval, pair, paired_difference
from kvlab.study.clock import Clock
from kvlab.study.records import Records
from kvlab.study.times import MACHINES, Latency, latency


def finding(records: BySuite, confidence: float) -> str:
    """At which speeds no reuse is shown to lose to itself in a world that waits; where the recorded machines stand."""
    machines = " ".join(_machine(name, sorted({ms for _, ms, _ in timed(records)})) for name in MACHINES)
    lost = {
        suite: {ms: _lost(speeds[0], speeds[ms], confidence) for ms in sorted(speeds) if ms}
        for suite, speeds in records.items()
        if 0 in speeds and max(speeds)
    }
    if not lost:
        return f"**What the delay alone costs is open.** A world that waits is not recorded beside these. {machines}"
    suite, ms = min(((s, max(by_ms)) for s, by_ms in lost.items()), key=lambda at: lost[at[0]][at[1]].estimate)
    less = text.difference(lost[suite][ms], "in a world that waits")
    told = f"In `{suite}` no reuse solves {solved(records[suite][ms], NO_REUSE)} at {ms:g} ms. That is {less}."
    return f"**{_lead(lost)}.** {machines} {told}"


def table(records: BySuite, confidence: float) -> pd.DataFrame:
    """No reuse compared with itself in a world that waits, in points: a row for each suite and speed."""
    rows = [
        {"suite": suite, "inference, ms": f"{ms:g}", "points": wording.points(_lost(speeds[0], speeds[ms], confidence))}
        for suite, speeds in records.items()
        for ms in sorted(speeds)
        if ms and 0 in speeds
    ]
    return tables.headed(rows)


def _lead(lost: Mapping[str, Mapping[float, Interval]]) -> str:
    shown: dict[float, list[bool]] = {}
    for by_ms in lost.values():
        for ms, less in by_ms.items():
            shown.setdefault(ms, []).append(less.high < 0)
    everywhere, somewhere, nowhere = (
        [ms for ms in sorted(shown) if test(shown[ms])]
        for test in (all, lambda costs: any(costs) and not all(costs), lambda costs: not any(costs))
    )
    if not (everywhere or somewhere):
        return "The delay alone is not shown to cost success at any recorded speed"
    costs = [said(everywhere)] if everywhere else []
    costs += [f"{said(somewhere)} in some of the suites"] if somewhere else []
    rest = f"; at {said(nowhere)} that is not shown" if nowhere else ""
    return f"The delay alone costs success at {text.listed(costs)} an inference{rest}"


def rounded(records: BySuite) -> str:
    """How many settings a recorded machine would delay otherwise than the row that has its delay without reuse."""
    speeds, told = sorted({ms for _, ms, _ in timed(records)}), []
    settings = dict.fromkeys(setting for *_, each in timed(records) for setting in recorded(each))
    for name in MACHINES:
        times, alike = _alike(name, speeds)
        clock = Clock(times.replan_ms(NO_REUSE, False), name)
        for ms in alike:
            other = sum(delays.words(clock, setting) != delays.words(Clock(ms), setting) for setting in settings)
            if other:
                have = f"{other} of {text.count(len(settings), 'setting')} {'has' if other == 1 else 'have'}"
                told.append(f"On {times.name} {have} another delay than at {ms:g} ms.")
    return " ".join(told)


def _machine(name: str, speeds: Sequence[float]) -> str:
    """What an inference takes on one of MACHINES, and the recorded speed with the same delay."""
    times, alike = _alike(name, speeds)
    ms = times.replan_ms(NO_REUSE, False)
    waits = text.count(Clock(ms, name).delays(NO_REUSE).computed, "control step")
    return f"{times.name} takes {ms:.0f} ms: a delay of {waits}, {f'as at {said(alike)}' if alike else 'not recorded'}."


def _alike(name: str, speeds: Sequence[float]) -> tuple[Latency, list[float]]:
    """The times of one of MACHINES, and the speeds at which no reuse has the delay that it has there."""
    times = latency(name)
    waits = Clock(times.replan_ms(NO_REUSE, False), name).delays(NO_REUSE).computed
    return times, [ms for ms in speeds if Clock(ms).delays(NO_REUSE).computed == waits]


def _lost(waits: Records, moves: Records, confidence: float) -> Interval:
    return paired_difference(pair(successes(moves, NO_REUSE), successes(waits, NO_REUSE)), confidence)
