"""What *In real time* says of the settings that solve most: where they beat no reuse."""

from collections.abc import Mapping

from kvlab.book import tables, text
from kvlab.book.answers.speeds import NO_REUSE, BySuite, ranked, said, solved, timed
from kvlab.evidence import rows, summary
from kvlab.evidence.rows import successes
from kvlab.study.records import Records
from kvlab.study.settings import Setting


def finding(records: BySuite, confidence: float) -> str:
    """What solves most of what goes on during an inference, and where that is shown to be more than no reuse."""
    worlds = [each for *_, each in timed(records)]
    best = [ranked(each)[0] for each in worlds]
    if all(map(_fewer, best)) and any(_beaten(each, [NO_REUSE], confidence) for each in worlds):
        lead = "Take fewer denoising steps and keep no cache"
    elif len({*best}) == 1:
        lead = f"Above 0 ms, {tables.lever(best[0])} solved most of the few settings recorded at each speed"
    elif any(_beaten(each, ranked(each)[1:2], confidence) for each in worlds):
        lead = "Which of the recorded settings solves most depends on the speed"
    else:
        lead = "At different speeds different settings solved most, and none is shown to be the best"
    suites = [
        f"{_of_suite(above, suite, confidence)}{_waiting(suite, above, records[suite], confidence)}"
        for suite, above in _above(records).items()
    ]
    return f"**{lead}.** {' '.join(suites)}"


def details(records: BySuite) -> list[str]:
    """What did not run, a sentence for each suite in which something did not."""
    told = [f"Not run in `{suite}`: {lacking}." for suite, lacking in _not_run(records).items() if lacking]
    return [" ".join(told)] if told else []


def _above(records: BySuite) -> dict[str, dict[float, Records]]:
    """By suite and speed, without the world that waits."""
    return {suite: {ms: each for which, ms, each in timed(records) if which == suite} for suite in records}


def _fewer(setting: Setting) -> bool:
    return bool(setting.denoising_steps) and setting.mode == "none"


def _of_suite(above: Mapping[float, Records], suite: str, confidence: float) -> str:
    """Where what solves most is shown to solve more than no reuse, and what does at the slowest speed."""
    more = [ms for ms, each in above.items() if _beaten(each, [NO_REUSE], confidence)]
    rest = [ms for ms in above if ms not in more]
    return (
        f"In `{suite}` the best is shown to solve more than no reuse at {said(more)}"
        f"{f', not at {said(rest)}' if more and rest else ''}.{_slowest(max(above), above[max(above)], confidence)}"
    )


def _waiting(suite: str, above: Mapping[float, Records], speeds: Mapping[float, Records], confidence: float) -> str:
    """Whether what wins on the fastest machine does so without any delay, too, and so not by its speed alone."""
    won = [ms for ms, each in above.items() if _beaten(each, [NO_REUSE], confidence)]
    best = ranked(above[min(won)])[0] if won else NO_REUSE
    if NO_REUSE == best or 0 not in speeds or best not in rows.recorded(speeds[0]):
        return ""
    also = summary.difference(speeds[0], best, NO_REUSE, confidence).low > 0
    return f" In `{suite}` more is solved with {tables.lever(best)} in a world that waits, too." if also else ""


def _first(records: Records) -> str:
    """What solves most; all that solve as many."""
    best = ranked(records)
    most = successes(records, best[0]).sum()
    return text.listed([tables.lever(setting) for setting in best if successes(records, setting).sum() == most], "or")


def _slowest(ms: float, records: Records, confidence: float) -> str:
    """What leads at the slowest speed, and by how much."""
    if (best := ranked(records)[0]) == NO_REUSE:
        return ""
    gained = text.difference(summary.difference(records, best, NO_REUSE, confidence), "without reuse")
    return f" At {ms:g} ms {_first(records)} solves {solved(records, best)}. That is {gained}."


def _not_run(records: BySuite) -> dict[str, str]:
    """By suite: which fewer steps without a cache ran elsewhere, and not at these speeds; empty where none."""
    every = sorted({ms for _, ms, _ in timed(records)})
    settings = dict.fromkeys(s for *_, each in timed(records) for s in rows.recorded(each) if _fewer(s))
    found = {}
    for suite, above in _above(records).items():
        lacking = {tables.lever(s): [ms for ms in above if s not in rows.recorded(above[ms])] for s in settings}
        lacking = {"any setting": [ms for ms in every if ms not in above]} | lacking
        found[suite] = "; ".join(f"{what} at {said(speeds)}" for what, speeds in lacking.items() if speeds)
    return found


def _beaten(records: Records, others: list[Setting], confidence: float) -> bool:
    """Whether what solves most is shown to solve more than each of these; not where it is among them."""
    best = ranked(records)[0]
    ahead = [other != best and summary.difference(records, best, other, confidence).low > 0 for other in others]
    return bool(ahead) and all(ahead)
