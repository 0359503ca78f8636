"""In real time: at which speeds of a machine does one setting win over another?"""

from collections.abc import Mapping

import pandas as pd

from kvlab.evidence.rows import pairs
from kvlab.evidence.stats import paired_difference
from kvlab.study.records import Records
from kvlab.study.settings import Setting


def by_speed(
    records: Mapping[float, Records], setting: Setting, other: Setting, confidence: float = 0.95
) -> pd.DataFrame:
    """One row per speed, in the order of `ms`, what a full inference takes there: success of both settings, paired.

    `records` by that time, in real time. Columns: `k`, `other_k` of `n`; `difference`, setting minus other, Intervals
    (Tango) that hold together at `confidence` (Bonferroni over the speeds); `wins`, whether the whole interval is above
    0. ValueError: no speed, and as in `rows.pairs`.
    """
    if not records:
        raise ValueError("no speed is named, so there is nothing to compare")
    each, rows = 1 - (1 - confidence) / len(records), {}
    for ms in sorted(records):
        counts = pairs(records[ms], setting, other)
        difference = paired_difference(counts, each)
        rows[ms] = {"k": counts.both + counts.setting_only, "other_k": counts.both + counts.control_only, "n": counts.n}
        rows[ms] |= {"difference": difference, "wins": difference.low > 0}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("ms")
