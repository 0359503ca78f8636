"""What *In real time* says, out of records by suite and by the ms of a full inference (0: a world that waits)."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import pandas as pd

from kvlab.book import tables, text
from kvlab.evidence import control_steps, rows, summary, wording
from kvlab.evidence.rows import successes
from kvlab.evidence.speeds import by_speed
from kvlab.evidence.stats import Interval, Pairs, pair, paired_difference, rate_interval
from kvlab.reuse.modes import CHUNKS
from kvlab.study.clock import Clock
from kvlab.study.records import Records
from kvlab.study.settings import Setting

NO_REUSE = Setting("none")
FEWEST = 20  # episodes that both solve, for control steps to be compared in the answer
BySuite = Mapping[str, Mapping[float, Records]]  # records of each suite by the ms of a full inference


def curves(speeds: Mapping[float, Records], confidence: float) -> dict[Setting, dict[float, Interval]]:
    """Success of each setting by speed, exact."""
    found: dict[Setting, dict[float, Interval]] = {}
    for ms, records in sorted(speeds.items()):
        for setting in rows.recorded(records):
            won = successes(records, setting)
            found.setdefault(setting, {})[ms] = rate_interval(int(won.sum()), len(won), confidence=confidence)
    return found


def headline(records: BySuite) -> str:
    """The title of the figure: what solves most on the slowest machine of the first suite."""
    suite, speeds = next(iter(records.items()))
    ms = max(speeds)
    best = _best(speeds[ms])
    solved = f"{tables.lever(best)} {_k_of_n(speeds[ms], best)}"
    return f"{suite} at {ms:g} ms an inference: {solved}, no reuse {_k(speeds[ms], NO_REUSE)}"


def findings(records: BySuite, confidence: float) -> list[str]:
    """The chapter's answer."""
    return [
        _winner(records, confidence),
        _caches(records, confidence),
        _waiting(records, confidence),
        _steps(records, confidence),
    ]


def table(speeds: Mapping[float, Records], confidence: float) -> pd.DataFrame:
    """Setting by speed: the delay of a replan, successes, and points compared with no reuse at the same speed."""
    found = []
    for setting, each in curves(speeds, confidence).items():
        for ms in each:
            delays, records = Clock(ms).delays(setting), speeds[ms]
            kept = setting.mode != "none" and delays.reused != delays.computed
            found.append(
                {
                    "setting": tables.lever(setting),
                    "inference, ms": f"{ms:g}",
                    "delay": f"{delays.computed}, reused {delays.reused}" if kept else f"{delays.computed}",
                    "successes": _k_of_n(records, setting),
                    "points": wording.points(summary.difference(records, setting, NO_REUSE, confidence))
                    if setting != NO_REUSE
                    else "",
                }
            )
    return _headed(found)


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
        for suite, speeds in records.items()
        for cache, other in _cached(speeds)
        for ms, row in _compared(speeds, cache, other, confidence).iterrows()
    ]
    return _headed(found)


def steps_table(records: BySuite, confidence: float) -> pd.DataFrame:
    """Control steps to success over no reuse's at the same speed, on the episodes that both solve."""
    found = []
    for suite, speeds in records.items():
        for setting, each in curves(speeds, confidence).items():
            for ms in each if setting != NO_REUSE else ():
                both = successes(speeds[ms], setting) & successes(speeds[ms], NO_REUSE)
                ratio = control_steps.steps_ratio(speeds[ms], setting, NO_REUSE, confidence)
                said = {"setting": tables.lever(setting), "suite": suite, "inference, ms": f"{ms:g}"}
                found.append(said | {"both solve": int(both.sum()), "control steps": wording.ratio(ratio)})
    return _headed(found)


def _headed(found: list[dict]) -> pd.DataFrame:
    frame = pd.DataFrame(found)
    first = frame.columns[0]
    return frame.set_index(first).rename_axis(index=None, columns=first)


def _k(records: Records, setting: Setting) -> int:
    return int(successes(records, setting).sum())


def _k_of_n(records: Records, setting: Setting) -> str:
    return f"{_k(records, setting)} of {len(successes(records, setting))}"


def _best(records: Records) -> Setting:
    return max(rows.recorded(records), key=lambda setting: _k(records, setting))


def _timed(records: BySuite) -> list[tuple[str, float, Records]]:
    return [(suite, ms, speeds[ms]) for suite, speeds in records.items() for ms in sorted(speeds) if ms]


def _winner(records: BySuite, confidence: float) -> str:
    timed = _timed(records)
    best = {(suite, ms): _best(each) for suite, ms, each in timed}
    said = [
        _winners_of(suite, {ms: best[suite, ms] for ms in sorted(speeds) if ms}, speeds, confidence)
        for suite, speeds in records.items()
    ]
    if len({*best.values()}) == 1:
        lead = f"Above 0 ms, {tables.lever(best[timed[0][:2]])} solved most of the few settings recorded at each speed"
    elif all(setting.denoising_steps and setting.mode == "none" for setting in best.values()):
        lead = "Above 0 ms, fewer denoising steps without a cache solved most at every recorded speed"
    else:
        lead = "Which of the recorded settings solves most depends on the speed"
    return f"**{lead}.** {' '.join(said)}"


def _winners_of(suite: str, best: Mapping[float, Setting], speeds: Mapping[float, Records], confidence: float) -> str:
    """What solves most of one suite at how many speeds, and at the slowest what and by how much."""
    often = Counter(best.values()).most_common()
    of, *others = often
    won = [f"by {tables.lever(of[0])} at {of[1]} of {text.count(len(best), 'speed')}"]
    won += [f"by {tables.lever(setting)} at {many}" for setting, many in others]
    ms = max(best)
    slowest = f"At {ms:g} ms {_k_of_n(speeds[ms], best[ms])} are solved by {tables.lever(best[ms])}"
    gained = summary.difference(speeds[ms], best[ms], NO_REUSE, confidence) if best[ms] != NO_REUSE else None
    more = f" That is {text.difference(gained, 'with no reuse')}." if gained else ""
    return f"In `{suite}` most is solved {'; '.join(won)}. {slowest}.{more}"


def _cached(speeds: Mapping[float, Records]) -> list[tuple[Setting, Setting]]:
    """The settings that keep a cache, each with no reuse of as many denoising and executed steps."""
    settings = dict.fromkeys(setting for records in speeds.values() for setting in rows.recorded(records))
    found = [(s, replace(s, mode="none", gate=NO_REUSE.gate)) for s in settings if s.mode not in ("none", *CHUNKS)]
    return [(cache, other) for cache, other in found if other in settings]


def _compared(speeds: Mapping[float, Records], cache: Setting, other: Setting, confidence: float) -> pd.DataFrame:
    both = {ms: records for ms, records in speeds.items() if {cache, other} <= {*rows.recorded(records)}}
    return by_speed(both, cache, other, confidence)


def _caches(records: BySuite, confidence: float) -> str:
    compared = {
        (suite, cache): _compared(speeds, cache, other, confidence)
        for suite, speeds in records.items()
        for cache, other in _cached(speeds)
    }
    if not compared:
        return "**No cache is recorded in real time.** So whether one wins at any speed is open."
    wins = {which: each for which, each in compared.items() if each.wins.any()}
    lead = (
        "A cache of keys and values beats no reuse at some speeds"
        if wins
        else "No speed is recorded at which a cache of keys and values is shown to beat no reuse"
    )
    nearest = max(compared, key=lambda which: _at_best(compared[which])[1].estimate)
    said = [_range(*which, each) for which, each in (wins or {nearest: compared[nearest]}).items()]
    many = f"{text.count(len(compared), 'cache')} compared, each with no reuse of as many denoising steps"
    return (
        f"**{lead}.** {many[0].upper()}{many[1:]}.{' ' if wins else ' The nearest to it: '}{' '.join(said)}"
        + _chunks(records, confidence)
    )


def _chunks(records: BySuite, confidence: float) -> str:
    """Where a kept chunk, which computes nothing from old keys and values, is shown to beat no reuse."""
    won = []
    for suite, ms, each in _timed(records):
        for setting in rows.recorded(each):
            gained = summary.difference(each, setting, NO_REUSE, confidence)
            if setting.mode == "chunk" and gained.low > 0:
                won.append(f"in `{suite}` at {ms:g} ms, {text.difference(gained, 'without')}")
    return f" A kept chunk does: {text.listed(won)}." if won else ""


def _at_best(compared: pd.DataFrame) -> tuple[float, Interval]:
    """The speed above 0 ms at which the cache does best, and its difference there."""
    timed = compared.difference[[ms for ms in compared.index if ms]]
    ms = max(timed.index, key=lambda one: timed[one].estimate)
    return ms, timed[ms]


def _range(suite: str, cache: Setting, compared: pd.DataFrame) -> str:
    """Where the cache is shown to win and to lose; where it turns, if it does so once."""
    worse = compared.index[[interval.high < 0 for interval in compared.difference]]
    better = compared.index[compared.wins]
    neither = compared.index.difference([*worse, *better])
    ms, difference = _at_best(compared)
    turn = (
        " If its advantage grows with the time of an inference, the range in which it wins begins between "
        f"{max(worse):g} and {min(better):g} ms."
        if len(worse) and len(better) and max(worse) < min(better)
        else ""
    )
    return (
        f"in `{suite}` {tables.lever(cache)} is shown to win at {_speeds(better)} "
        f"and to lose at {_speeds(worse)}; neither is shown at {_speeds(neither)}. "
        f"Above 0 ms it does best at {ms:g} ms: it solves {text.difference(difference, 'without')}, "
        f"{text.count(int(compared.n[ms]), 'episode')}.{turn}"
    )


def _speeds(which: pd.Index) -> str:
    return f"{text.listed([f'{ms:g}' for ms in which])} ms" if len(which) else "no recorded speed"


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
    said = []
    for suite, by_ms in lost.items():
        costs, ms = [one for one, d in by_ms.items() if d.high < 0], max(by_ms)
        less = text.difference(by_ms[ms], "in a world that waits")
        said.append(
            f"In `{suite}` no reuse is shown to lose at {_speeds(pd.Index(costs))}. "
            f"At {ms:g} ms it solves {_k_of_n(records[suite][ms], NO_REUSE)}. That is {less}."
        )
    return f"**{lead}.** {' '.join(said)}"


def _with_itself(waits: Records, moves: Records) -> Pairs:
    return pair(successes(moves, NO_REUSE), successes(waits, NO_REUSE))


def _steps(records: BySuite, confidence: float) -> str:
    """Control steps to success of what solves most of each suite on its slowest machine."""
    said, shorter = [], []
    for suite, speeds in records.items():
        ms = max(speeds)
        setting = _best(speeds[ms])
        both = int((successes(speeds[ms], setting) & successes(speeds[ms], NO_REUSE)).sum())
        ratio = (
            setting != NO_REUSE
            and both >= FEWEST
            and control_steps.steps_ratio(speeds[ms], setting, NO_REUSE, confidence)
        )
        if ratio:
            shorter.append(ratio.high < 1)
            said.append(
                f"In `{suite}` at {ms:g} ms {tables.lever(setting)}: an episode takes {wording.ratio(ratio)} times "
                f"as many control steps as with no reuse. This is on the {text.count(both, 'episode')} that both solve."
            )
    if not said:
        return "**Time to success is not compared.** No reuse solves most, or too few episodes are solved by both."
    lead = (
        "What solves most also succeeds sooner"
        if all(shorter)
        else "What solves most is not everywhere shown to succeed sooner"
    )
    return f"**{lead}.** {' '.join(said)}"
