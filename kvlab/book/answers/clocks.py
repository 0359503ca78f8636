"""What *Synchronized gating* says of gates that look at nothing, in both counts of reuse."""

from collections.abc import Mapping, Sequence

import pandas as pd

from kvlab.book import tables, text
from kvlab.book.answers.gate_kinds import BOTH_BETTER, BOTH_WORSE, CLOCK, COUNTS, OPEN, in_both, kind
from kvlab.evidence.share import mean_age
from kvlab.evidence.stats import Interval
from kvlab.evidence.wording import points
from kvlab.study.records import Records
from kvlab.study.settings import Setting

NO_REUSE = Setting("none")
Clock = tuple[str, Setting, float, tuple[Interval, Interval]]  # suite, mean age of its caches, gains in both COUNTS


def clock(
    gained: Mapping[str, pd.DataFrame], needed: Mapping[str, pd.DataFrame], records: Mapping[str, Records]
) -> str | None:
    """How many clocks are worse than the image gate in both counts of reuse, of how many the counts disagree, and how
    old the caches are of these and of the others.
    """
    if not (found := _clocks(gained, needed, records)):
        return None
    worse, better = ([one for one in found if in_both(*one[-1]) == word] for word in (BOTH_WORSE, BOTH_BETTER))
    others = [one for one in found if one not in worse + better]
    lead = (
        f"Of {text.count(len(found), 'clock')}, which look at nothing, {len(worse) or 'none'} "
        f"{'are' if len(worse) > 1 else 'is'} shown to be worse than the image gate at equal reuse, "
        f"{len(better) or 'none'} better"
    )
    groups = (("worse", worse), ("better", better), ("undecided", others))
    ages = "; ".join(f"{word} {_ages(some)}" for word, some in groups if some)
    disagree = sum(in_both(*one[-1]) != OPEN for one in others)
    return (
        f"**{lead}.** For {disagree or 'none'} the counts disagree. Mean ages of their caches, in replans: {ages}. Age "
        "and moments apart: [Why reuse fails](why_reuse_fails.ipynb)."
    )


def table(
    gained: Mapping[str, pd.DataFrame], needed: Mapping[str, pd.DataFrame], records: Mapping[str, Records]
) -> pd.DataFrame:
    """Every clock, of younger caches first: their mean age, points over needed replans, what both counts show."""
    return tables.headed(
        [
            {"suite": suite, "clock": tables.gate(setting), "mean age, replans": f"{age:.1f}"}
            | {f"points {COUNTS[1]}": points(gains[1])}
            | {"in both counts": in_both(*gains)}
            for suite, setting, age, gains in _clocks(gained, needed, records)
        ]
    )


def _clocks(
    gained: Mapping[str, pd.DataFrame], needed: Mapping[str, pd.DataFrame], records: Mapping[str, Records]
) -> list[Clock]:
    """The clocks that the curve reaches in both counts, of younger caches first; ages are over needed replans."""
    found = [
        (suite, setting, mean_age(records[suite], setting, NO_REUSE), (gain, needed[suite].gain[setting]))
        for suite, table in gained.items()
        for setting, gain in table.gain.items()
        if kind(setting) == CLOCK and gain is not None and needed[suite].gain[setting] is not None
    ]
    return sorted(found, key=lambda one: one[2])


def _ages(clocks: Sequence[Clock]) -> str:
    least, *_, most = sorted([f"{age:.1f}" for _, _, age, _ in clocks] * 2, key=float)
    return least if least == most else f"{least} to {most}"
