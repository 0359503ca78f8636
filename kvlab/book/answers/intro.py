"""What the start page says, out of the records of each suite."""

from collections.abc import Mapping

from kvlab.book import text
from kvlab.evidence import margins, summary
from kvlab.evidence.cost import cost
from kvlab.evidence.rows import recorded, successes
from kvlab.evidence.stats import Interval
from kvlab.study.records import Records
from kvlab.study.settings import Setting, parse_setting
from kvlab.study.times import Latency

NO_REUSE = Setting("none")
ANSWERS = {  # what the page answers with, each where it is recorded; how it did, its rows say
    "none steps=2": "Taking two denoising steps",
    "full when every(2)": "Keeping everything at every second replan",
    "prefix when every(2)": "Keeping images and instruction but not the robot state",
    "chunk when every(2)": "Going on in the old chunk",
}
SETTINGS = [
    "none", *(f"none steps={steps}" for steps in (5, 3, 2, 1)), *(f"none execute={many}" for many in (7, 10, 16)),
    "none steps=2 execute=10", *(text for text in ANSWERS if "when" in text), "prefix when vision >= 0.945",
    "full when vision >= 0.98",
]  # fmt: skip


def findings(records: Mapping[str, Records], machines: Mapping[str, Latency]) -> list[str]:
    """One finding for each of ANSWERS that is recorded in any suite."""
    told = {parse_setting(text): name for text, name in ANSWERS.items()}
    there = {setting for rows in records.values() for setting in recorded(rows)}
    return [_told(setting, name, records, machines) for setting, name in told.items() if setting in there]


def _told(setting: Setting, name: str, records: Mapping[str, Records], machines: Mapping[str, Latency]) -> str:
    rows = {suite: one for suite, one in records.items() if setting in recorded(one)}
    changes = {suite: summary.difference(one, setting, NO_REUSE) for suite, one in rows.items()}
    said = [
        f"`{suite}`: {int((solved := successes(one, setting)).sum())} of {text.count(len(solved), 'episode')}, "
        f"{text.difference(changes[suite], 'without reuse')}."
        for suite, one in rows.items()
    ]
    first = next(iter(rows.values()))
    shares = [cost(setting, first, times) / cost(NO_REUSE, first, times) for times in machines.values()]
    costs = [f"{text.percent(share)} ({name.upper()})" for share, name in zip(shares, machines, strict=True)]
    lead = f"{name} {_loss(changes)} and {'saves' if max(shares) < 1 else 'does not save'} inference"
    return f"**{lead}.** {' '.join(said)} Inference: {text.listed(costs)} of no reuse."


def _loss(changes: Mapping[str, Interval]) -> str:
    """What all suites together say of a loss of `margins.BUY`."""
    points = f"{100 * margins.BUY:.0f} points"
    found = {suite: margins.loss(change, margins.BUY) for suite, change in changes.items()}
    if all(one == margins.INSIDE for one in found.values()):
        return f"loses under {points}"
    if lost := [f"`{suite}`" for suite, one in found.items() if one == margins.OUTSIDE]:
        return f"loses over {points}" + ("" if len(lost) == len(found) else f" in {text.listed(lost)}")
    return f"is not shown to lose under {points}"
