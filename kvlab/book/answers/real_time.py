"""What *In real time* says, out of records by suite and by the ms of a full inference (0: a world that waits)."""

from collections.abc import Mapping

import pandas as pd

from kvlab.book import tables, text
from kvlab.book.answers import caches, delays, levers, stake
from kvlab.book.answers.speeds import NO_REUSE, BySuite, ranked, solved, timed
from kvlab.evidence import control_steps, rows, summary, wording
from kvlab.evidence.rows import successes
from kvlab.evidence.stats import Interval, rate_interval
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
    """The title of the figure: what solves most, going on, on the slowest machine of every suite."""
    return "; ".join(_slowest(suite, speeds) for suite, speeds in records.items())


def findings(records: BySuite, standing_still: str, confidence: float) -> list[str]:
    """The chapter's answer. `standing_still` is of `standing.finding`, empty where nothing is known of it."""
    found = [stake.finding(records, confidence), levers.finding(records, confidence)]
    return [*found, caches.finding(records, confidence), *filter(None, [standing_still])]


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


def _slowest(suite: str, speeds: Mapping[float, Records]) -> str:
    each = speeds[ms := max(speeds)]
    best, without = ranked(each)[0], f"{suite} at {ms:g} ms: no reuse {solved(each, NO_REUSE)}"
    return f"{without}, best lever {solved(each, best)}" if best != NO_REUSE else f"{without}, the most"


def _sooner(records: Records, setting: Setting, confidence: float) -> tuple[int, Interval | None]:
    """How many episodes a setting and no reuse both solve, and the ratio of their control steps where enough do."""
    both = int((successes(records, setting) & successes(records, NO_REUSE)).sum())
    ratio = control_steps.steps_ratio(records, setting, NO_REUSE, confidence) if both >= FEWEST else None
    return both, ratio


def sooner(records: BySuite, confidence: float) -> str:
    """In how many worlds what solves most is shown to succeed sooner, where enough are solved by both."""
    best = [(each, ranked(each)[0]) for *_, each in timed(records)]
    both = [_sooner(each, one, confidence)[1] for each, one in best if one != NO_REUSE]
    if not (compared := [ratio for ratio in both if ratio]):
        return "Time to success is not compared. No reuse solves most, or too few episodes are solved by both."
    shorter, many = sum(ratio.high < 1 for ratio in compared), text.count(len(compared), "comparison")
    if not shorter:
        return f"**What solves most is nowhere shown to succeed sooner than no reuse ({many}).**"
    return f"**What solves most also succeeds sooner than no reuse in {shorter} of {many}.**"
