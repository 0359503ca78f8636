"""What *In real time* says of the settings that solve most: where they beat no reuse, and each other."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations

from kvlab.book import tables, text
from kvlab.book.answers import delays
from kvlab.book.answers.speeds import NO_REUSE, BySuite, ranked, said, solved, timed
from kvlab.evidence import rows, summary
from kvlab.evidence.rows import successes
from kvlab.evidence.stats import Pairs, paired_difference
from kvlab.study.clock import Clock
from kvlab.study.records import Records
from kvlab.study.settings import Setting


def finding(records: BySuite, confidence: float) -> str:
    """What solves most of what goes on during an inference, and where that is shown to be more than no reuse."""
    worlds = [each for *_, each in timed(records)]
    best = [ranked(each)[0] for each in worlds]
    decided, _ = _numbers(records, confidence)
    if all(map(_fewer, best)) and any(_beaten(each, [NO_REUSE], confidence) for each in worlds):
        lead = f"Take fewer denoising steps and keep no cache{decided}"
    elif len({*best}) == 1:
        lead = f"Above 0 ms, {tables.lever(best[0])} solved most of the few settings recorded at each speed"
    elif any(_beaten(each, ranked(each)[1:2], confidence) for each in worlds):
        lead = "Which of the recorded settings solves most depends on the speed"
    else:
        lead = "At different speeds different settings solved most, and none is shown to be the best"
    suites = [_of_suite(above, suite, confidence) for suite, above in _above(records).items()]
    return (
        f"**{lead}.** This is of robots that go on during an inference; one that stands still is apart, below. "
        f"{' '.join(suites)}"
    )


def details(records: BySuite, confidence: float) -> list[str]:
    """What stands behind `finding`: the next best, what did not run, fewer steps held against each other, delays."""
    told = [
        f"In `{suite}` {_next(above, confidence)}{_not_run(above, records)}" for suite, above in _above(records).items()
    ]
    return [*told, f"{_numbers(records, confidence)[1]}{_elsewhere(records)}".strip()]


def _above(records: BySuite) -> dict[str, dict[float, Records]]:
    """By suite and speed, without the world that waits."""
    return {suite: {ms: each for which, ms, each in timed(records) if which == suite} for suite in records}


def _fewer(setting: Setting) -> bool:
    return bool(setting.denoising_steps) and setting.mode == "none"


def _of_suite(above: Mapping[float, Records], suite: str, confidence: float) -> str:
    many = sorted({len(rows.recorded(each)) for each in above.values()})
    most = [f"{solved(each, ranked(each)[0])} at {ms:g} ms ({_first(each)})" for ms, each in above.items()]
    more = [ms for ms, each in above.items() if _beaten(each, [NO_REUSE], confidence)]
    rest = [ms for ms in above if ms not in more]
    return (
        f"In `{suite}` the best of {' to '.join(map(str, many[:: max(1, len(many) - 1)]))} settings solves: "
        f"{'; '.join(most)}. It is shown to solve more than no reuse at "
        f"{said(more)}{f', not at {said(rest)}' if more and rest else ''}."
        f"{_slowest(max(above), above[max(above)], confidence)}"
    )


def _first(records: Records) -> str:
    """What solves most; all that solve as many."""
    best = ranked(records)
    most = successes(records, best[0]).sum()
    return text.listed([tables.lever(setting) for setting in best if successes(records, setting).sum() == most])


def _slowest(ms: float, records: Records, confidence: float) -> str:
    """By how much the best leads at the slowest speed."""
    if (best := ranked(records)[0]) == NO_REUSE:
        return ""
    gained = text.difference(summary.difference(records, best, NO_REUSE, confidence), "with no reuse")
    return f" At {ms:g} ms the best solves {gained}."


def _next(above: Mapping[float, Records], confidence: float) -> str:
    """Where the best is shown to beat the next best, and what that is at the slowest speed."""
    alone = [ms for ms, each in above.items() if ranked(each)[1:2] == [NO_REUSE]]
    best = [ms for ms, each in above.items() if ms not in alone and _beaten(each, ranked(each)[1:2], confidence)]
    _, *others = ranked(above[slowest := max(above)])
    then = (
        f" The next best at {slowest:g} ms is {tables.lever(others[0])}: {solved(above[slowest], others[0])}."
        if others
        else ""
    )
    return (
        f"the best is shown to beat the next best at {said(best)}"
        f"{f'; at {said(alone)} no reuse is the next' if alone else ''}.{then}"
    )


def _not_run(above: Mapping[float, Records], records: BySuite) -> str:
    """Which fewer steps without a cache ran elsewhere, and not at these speeds of this suite."""
    every = sorted({ms for _, ms, _ in timed(records)})
    settings = dict.fromkeys(s for *_, each in timed(records) for s in rows.recorded(each) if _fewer(s))
    lacking = {tables.lever(s): [ms for ms in above if s not in rows.recorded(above[ms])] for s in settings}
    lacking = {"any setting": [ms for ms in every if ms not in above]} | lacking
    listed = "; ".join(f"{what} at {said(speeds)}" for what, speeds in lacking.items() if speeds)
    return f" Not run: {listed}." if listed else ""


def _beaten(records: Records, others: list[Setting], confidence: float) -> bool:
    """Whether what solves most is shown to solve more than each of these; not where it is among them."""
    best = ranked(records)[0]
    ahead = [other != best and summary.difference(records, best, other, confidence).low > 0 for other in others]
    return bool(ahead) and all(ahead)


def _numbers(records: BySuite, confidence: float) -> tuple[str, str]:
    """Every two numbers of fewer steps compared, in the lead's clause and in sentences.

    Of two numbers one is decided on where it is shown to solve more, and never fewer, by intervals that hold together.
    """
    open_, told = set(), ""
    for (few, more), found in _pairs(records).items():
        won, lost = _shown(found, confidence)
        together = _shown(found, 1 - (1 - confidence) / len(found))
        open_ |= {few, more} if all(together) or not any(together) else set()
        told += (
            f" {text.count(few, 'denoising step')} and {more}, with as many executed actions, are compared "
            f"{text.count(len(found), 'time')}. {few} is shown to solve more {_where(won)}; {more}, {_where(lost)}."
        )
        if won or lost:
            which = f"{few} is {_where(together[0])}; {more}, {_where(together[1])}"
            told += f" By intervals that hold together {which if any(together) else 'neither is anywhere'}."
    return f"; whether {' or '.join(map(str, sorted(open_)))} is not decided" if open_ else "", told


def _pairs(records: BySuite) -> dict[tuple[int, int], dict[str, Pairs]]:
    """Fewer steps without a cache, paired with more that execute as many actions: by both numbers, then by world."""
    found: dict[tuple[int, int], dict[str, Pairs]] = {}
    for suite, ms, each in timed(records):
        settings = sorted(filter(_fewer, rows.recorded(each)), key=lambda setting: setting.denoising_steps)
        for few, more in combinations(settings, 2):
            if few.denoising_steps < more.denoising_steps and few == replace(more, denoising_steps=few.denoising_steps):
                which = f"in `{suite}` at {ms:g} ms{f' (executes {few.execute})' if few.execute else ''}"
                numbers = few.denoising_steps, more.denoising_steps
                found.setdefault(numbers, {})[which] = rows.pairs(each, few, more)
    return found


def _shown(found: Mapping[str, Pairs], confidence: float) -> tuple[list[str], list[str]]:
    """Where the fewer steps are shown to solve more, and where the more."""
    gained = {where: paired_difference(pairs, confidence) for where, pairs in found.items()}
    return [where for where, d in gained.items() if d.low > 0], [where for where, d in gained.items() if d.high < 0]


def _where(worlds: list[str]) -> str:
    return text.listed(worlds or ["nowhere"])


def _elsewhere(records: BySuite) -> str:
    """Which fewer steps without a cache would wait longer, or less long, by another machine's shares of the stages."""
    there = dict.fromkeys((s, ms) for _, ms, each in timed(records) for s in rows.recorded(each) if _fewer(s))
    changed: dict[tuple[str, str], list[float]] = {}
    for setting, ms in sorted(there, key=lambda which: which[1]):
        here, other = (clock.delays(setting).computed for clock in (Clock(ms), Clock(ms, delays.OTHER)))
        if here != other:
            changed.setdefault((tables.lever(setting), "longer" if other > here else "less long"), []).append(ms)
    return "".join(
        f" By an H100's shares of the stages {setting} would wait {how} at {said(speeds)}; that is not recorded."
        for (setting, how), speeds in changed.items()
    )
