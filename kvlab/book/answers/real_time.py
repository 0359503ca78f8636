"""What *In real time* says, out of records by suite and by the ms of a full inference (0: a world that waits)."""

from collections.abc import Mapping

import pandas as pd

from kvlab.book import tables, text
from kvlab.book.answers import caches, delays, levers
from kvlab.book.answers.speeds import NO_REUSE, BySuite, ranked, said, solved
from kvlab.evidence import control_steps, rows, summary, wording
from kvlab.evidence.rows import successes
from kvlab.evidence.stats import Interval, Pairs, pair, paired_difference, rate_interval
from kvlab.study.clock import Clock
from kvlab.study.records import Records
from kvlab.study.settings import Setting

FEWEST = 20  # episodes that both solve, for control steps to be compared


def curves(speeds: Mapping[float, Records], confidence: float) -> dict[Setting, dict[float, Interval]]:
    """Success of each setting by speed, exact."""
    found: dict[Setting, dict[float, Interval]] = {}
    for ms, records in sorted(speeds.items()):
        for setting in rows.recorded(records):
            won = successes(records, setting)
            found.setdefault(setting, {})[ms] = rate_interval(int(won.sum()), len(won), confidence=confidence)
    return found


def headline(records: BySuite) -> str:
    """The title of the figure: what solves most, going on, on the slowest machine of the first suite."""
    suite, speeds = next(iter(records.items()))
    slowest = speeds[ms := max(speeds)]
    best, without = ranked(slowest)[0], solved(slowest, NO_REUSE)
    other = f"; {tables.lever(best)}: {solved(slowest, best)}" if best != NO_REUSE else ", the most"
    return f"{suite} at {ms:g} ms an inference, going on: no reuse solves {without}{other}"


def findings(records: BySuite, standing_still: str, confidence: float) -> list[str]:
    """The chapter's answer. `standing_still` is of `standing.finding`."""
    return [
        levers.finding(records, confidence),
        caches.finding(records, confidence),
        _waiting(records, confidence) + standing_still,
        _steps(records, confidence),
    ]


def table(speeds: Mapping[float, Records], confidence: float) -> pd.DataFrame:
    """Setting by speed: the delay of a replan, successes, and points compared with no reuse at the same speed.

    What the delay would be by the shares of stages on `delays.OTHER` stands beside it where it is another.
    """
    found = []
    for setting, each in curves(speeds, confidence).items():
        for ms in each:
            found.append(
                {
                    "setting": tables.lever(setting),
                    "inference, ms": f"{ms:g}",
                    "delay": delays.words(Clock(ms), setting),
                    "H100's delay": delays.elsewhere(ms, setting),
                    "successes": solved(speeds[ms], setting),
                    "points": wording.points(summary.difference(speeds[ms], setting, NO_REUSE, confidence))
                    if setting != NO_REUSE
                    else "",
                }
            )
    return tables.headed(found)


def steps_table(records: BySuite, confidence: float) -> pd.DataFrame:
    """Control steps to success over no reuse's at the same speed, on the episodes that both solve, if `FEWEST` do."""
    found = []
    for suite, speeds in records.items():
        for setting, each in curves(speeds, confidence).items():
            for ms in each if setting != NO_REUSE else ():
                both, ratio = _sooner(speeds[ms], setting, confidence)
                row = {"setting": tables.lever(setting), "suite": suite, "inference, ms": f"{ms:g}", "both solve": both}
                found.append(row | {"control steps": wording.ratio(ratio) if ratio else "too few to compare"})
    return tables.headed(found)


def _waiting(records: BySuite, confidence: float) -> str:
    """No reuse in real time, compared with itself in a world that waits."""
    lost = {
        suite: by_ms
        for suite, speeds in records.items()
        if 0 in speeds
        and (
            by_ms := {
                ms: paired_difference(_with_itself(speeds[0], speeds[ms]), confidence) for ms in sorted(speeds) if ms
            }
        )
    }
    if not lost:
        return "**What the delay alone costs is open.** A world that waits is not recorded beside these speeds."
    shown = any(d.high < 0 for by_ms in lost.values() for d in by_ms.values())
    lead = "The delay alone costs success" if shown else "The delay alone is not shown to cost success"
    told = []
    for suite, by_ms in lost.items():
        costs, ms = [one for one, d in by_ms.items() if d.high < 0], max(by_ms)
        less = text.difference(by_ms[ms], "in a world that waits")
        told.append(
            f"In `{suite}` no reuse is shown to lose at {said(costs)}. "
            f"At {ms:g} ms it solves {solved(records[suite][ms], NO_REUSE)}. That is {less}."
        )
    return f"**{lead}.** {' '.join(told)}"


def _with_itself(waits: Records, moves: Records) -> Pairs:
    return pair(successes(moves, NO_REUSE), successes(waits, NO_REUSE))


def _sooner(records: Records, setting: Setting, confidence: float) -> tuple[int, Interval | None]:
    """How many episodes a setting and no reuse both solve, and the ratio of their control steps where enough do."""
    both = int((successes(records, setting) & successes(records, NO_REUSE)).sum())
    ratio = control_steps.steps_ratio(records, setting, NO_REUSE, confidence) if both >= FEWEST else None
    return both, ratio


def _steps(records: BySuite, confidence: float) -> str:
    """Control steps to success of what solves most, at every speed at which enough are solved by it and no reuse."""
    told, shorter = [], []
    for suite, speeds in records.items():
        best = {ms: ranked(speeds[ms])[0] for ms in sorted(speeds) if ms}
        sooner = {ms: _sooner(speeds[ms], one, confidence) for ms, one in best.items() if one != NO_REUSE}
        compared = {ms: ratio for ms, (_, ratio) in sooner.items() if ratio}
        shown = [ms for ms, ratio in compared.items() if ratio.high < 1]
        shorter += [ms in shown for ms in compared]
        if compared:
            ms, rest = max(compared), [ms for ms in compared if ms not in shown]
            told.append(
                f"In `{suite}` this is shown at {said(shown)}{f', not at {said(rest)}' if shown and rest else ''}. "
                f"At {ms:g} ms it is {tables.lever(best[ms])}: it takes {wording.ratio(compared[ms])} times as many "
                f"control steps as no reuse, on the {sooner[ms][0]} episodes that both solve."
            )
        if few := [ms for ms in sooner if ms not in compared]:
            told.append(f"In `{suite}` at {said(few)} both solve under {FEWEST} episodes, too few to compare.")
    if not shorter:
        return "**Time to success is not compared.** No reuse solves most, or too few episodes are solved by both."
    compared = text.count(len(shorter), "comparison")
    lead = (
        f"What solves most also succeeds sooner than no reuse in {sum(shorter)} of {compared}"
        if any(shorter)
        else "What solves most is nowhere shown to succeed sooner than no reuse"
    )
    return f"**{lead}.** {' '.join(told)}"
