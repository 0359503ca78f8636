"""What *In real time* says of the settings that solve most: at which speeds they beat no reuse, and each other."""

from collections.abc import Mapping

from kvlab.book import tables, text
from kvlab.book.answers.speeds import NO_REUSE, BySuite, ranked, said, solved, timed
from kvlab.evidence import rows, summary
from kvlab.study.records import Records
from kvlab.study.settings import Setting


def finding(records: BySuite, confidence: float) -> str:
    """What solves most at the recorded speeds, and what of that is more than the luck of 100 episodes."""
    worlds = [each for *_, each in timed(records)]
    best = [ranked(each)[0] for each in worlds]
    if len({*best}) == 1:
        lead = f"Above 0 ms, {tables.lever(best[0])} solved most of the few settings recorded at each speed"
    elif all(map(_fewer, best)):
        told = any(_beaten(each, [*filter(_fewer, ranked(each))][1:2], confidence) for each in worlds)
        which = "" if told else "; which of them solves most is not decided"
        lead = f"Above 0 ms, fewer denoising steps without a cache solved most at every recorded speed{which}"
    elif any(_beaten(each, ranked(each)[1:2], confidence) for each in worlds):
        lead = "Which of the recorded settings solves most depends on the speed"
    else:
        lead = "At different speeds different settings solved most, and none is shown to be the best"
    return f"**{lead}.** {' '.join(_of_suite(suite, speeds, confidence) for suite, speeds in records.items())}"


def _fewer(setting: Setting) -> bool:
    return bool(setting.denoising_steps) and setting.mode == "none"


def _of_suite(suite: str, speeds: Mapping[float, Records], confidence: float) -> str:
    above = {ms: speeds[ms] for ms in sorted(speeds) if ms}
    many = sorted({len(rows.recorded(each)) for each in above.values()})
    ran = f"{' to '.join(map(str, many[:: max(1, len(many) - 1)]))} setting{'s' * (many[-1] > 1)} ran at each speed"
    more = [ms for ms, each in above.items() if _beaten(each, [NO_REUSE], confidence)]
    best = [ms for ms, each in above.items() if _beaten(each, ranked(each)[1:2], confidence)]
    rest = [ms for ms in above if ms not in more]
    return (
        f"In `{suite}` {ran}. The one that solved most is shown to solve more than no reuse at "
        f"{said(more)}{f', not at {said(rest)}' if more and rest else ''}. It is shown to beat the next best at "
        f"{said(best)}. {_slowest(max(above), above[max(above)], confidence)}"
    )


def _slowest(ms: float, records: Records, confidence: float) -> str:
    """What solves most at the slowest speed, by how much, and what comes next."""
    best, *others = ranked(records)
    told = f"At {ms:g} ms it is {tables.lever(best)} with {solved(records, best)}."
    if best == NO_REUSE:
        return told
    told += f" That is {text.difference(summary.difference(records, best, NO_REUSE, confidence), 'with no reuse')}."
    return f"{told} The next best is {tables.lever(others[0])} with {solved(records, others[0])}."


def _beaten(records: Records, others: list[Setting], confidence: float) -> bool:
    """Whether what solves most is shown to solve more than each of these; not where it is among them."""
    best = ranked(records)[0]
    ahead = [other != best and summary.difference(records, best, other, confidence).low > 0 for other in others]
    return bool(ahead) and all(ahead)
