"""What the start page says, out of the records of each suite."""

from collections.abc import Mapping

from kvlab.book import text
from kvlab.evidence import summary
from kvlab.evidence.cost import cost
from kvlab.evidence.rows import recorded, successes
from kvlab.study.records import Records
from kvlab.study.settings import Setting, parse_setting
from kvlab.study.times import Latency

NO_REUSE = Setting("none")
LEADS = {  # what the page answers with, each where it is recorded
    "none steps=2": "Take fewer denoising steps first",
    "full when every(2)": "Do not keep everything",
    "prefix when every(2)": "With a fresh robot state, old images and an old instruction cost less",
    "chunk when every(2)": "Going on in the old chunk saves more than a cache",
}
SETTINGS = [
    "none", *(f"none steps={steps}" for steps in (5, 3, 2, 1)), *(f"none execute={many}" for many in (7, 10, 16)),
    "none steps=2 execute=10", *(text for text in LEADS if "when" in text), "prefix when vision >= 0.945",
    "full when vision >= 0.98",
]  # fmt: skip


def findings(records: Mapping[str, Records], machines: Mapping[str, Latency]) -> list[str]:
    """One finding for each of LEADS that is recorded in any suite."""
    told = {text: _told(parse_setting(text), records, machines) for text in LEADS}
    return [f"**{lead}.** {told[text]}" for text, lead in LEADS.items() if told[text]]


def _told(setting: Setting, records: Mapping[str, Records], machines: Mapping[str, Latency]) -> str:
    said = []
    for suite, rows in records.items():
        if setting not in recorded(rows):
            continue
        k, n = int(successes(rows, setting).sum()), len(successes(rows, setting))
        change = text.difference(summary.difference(rows, setting, NO_REUSE), "without reuse")
        said.append(f"In `{suite}` {k} of {text.count(n, 'episode')} succeed with `{setting}`, {change}.")
    if not said:
        return ""
    rows = next(rows for rows in records.values() if setting in recorded(rows))
    shares = [
        f"{text.percent(cost(setting, rows, times) / cost(NO_REUSE, rows, times))} ({times.name})"
        for times in machines.values()
    ]
    return f"{' '.join(said)} A control step takes {text.listed(shares)} of the inference without reuse."
