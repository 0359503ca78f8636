"""What *Synchronized gating* says of gates that look at nothing, in both counts of reuse."""

from collections.abc import Mapping, Sequence

import pandas as pd

from kvlab.book import tables, text
from kvlab.book.answers.gate_kinds import CLOCK, kind
from kvlab.evidence import matching
from kvlab.evidence.share import mean_age, reuse_share
from kvlab.evidence.stats import Interval
from kvlab.study.records import Records
from kvlab.study.settings import Setting

NO_REUSE = Setting("none")


def clock(
    gained: Mapping[str, pd.DataFrame], needed: Mapping[str, pd.DataFrame], records: Mapping[str, Records]
) -> str | None:
    """Gates that look at nothing, in both counts of reuse and by suite; told of the one of which the counts differ
    most, with the mean ages of its caches and of an image gate's.
    """
    told, said = set(), []
    for suite, table in gained.items():
        both = {s: (gain, needed[suite].gain[s]) for s, gain in table.gain.items() if kind(s) == CLOCK}
        both = {s: counts for s, counts in both.items() if None not in counts}
        if not both:
            continue
        setting = max(both, key=lambda one: abs(both[one][1].estimate - both[one][0].estimate))
        every, within = (text.difference(gain, "with the image gate") for gain in both[setting])
        told |= {_than_looking(gains) for gains in zip(*both.values(), strict=True)}
        said.append(
            f"In `{suite}`, at equal reuse over all replans, `{setting.gate}` solves {every}. Counting only as many "
            f"replans as no reuse took, it solves {within}. {_ages(records[suite], setting)}"
        )
    if not said:
        return None
    one = f"A clock is {next(iter(told))}"
    lead = one if len(told) == 1 else "Whether a clock does better than looking depends on the suite and on the count"
    apart = "What age and moments do apart: [Why reuse fails](why_reuse_fails.ipynb)."
    return f"**{lead}.** A clock looks at nothing. {' '.join([*said, apart])}"


def _ages(records: Records, clock: Setting) -> str:
    """How old the caches of a clock are, and those of the image gate that reuses about as often, in that count."""

    def share(setting: Setting) -> float:
        return reuse_share(records, setting, NO_REUSE)

    near = min(matching.image_gates(records, clock.mode), key=lambda one: abs(share(one) - share(clock)))
    mine, its = (mean_age(records, one, NO_REUSE) for one in (clock, near))
    return (
        f"In that count its caches are {mine:.1f} replans old in the mean, those of {tables.gate(near)} are {its:.1f}."
    )


def _than_looking(gains: Sequence[Interval]) -> str:
    """What one count of reuse says of all clocks of a suite."""
    better, worse = any(gain.low > 0 for gain in gains), any(gain.high < 0 for gain in gains)
    if better == worse:
        return "now better and now worse than looking" if better else "not told apart from looking"
    return "better than looking" if better else "worse than looking"
