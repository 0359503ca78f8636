"""The comparisons that were declared before their results were read, and the one family in which they are corrected.

Each is a setting against no reuse on the same episodes, in both suites. Only these have p-values that count as
confirmed (exact McNemar, Holm over all of them). Whatever else the book compares is shown as effect and interval.
"""

from collections.abc import Mapping

import pandas as pd

from kvlab.evidence.margins import MARGIN, loss
from kvlab.evidence.rows import pairs, recorded
from kvlab.evidence.stats import holm, mcnemar_p, paired_difference
from kvlab.study.records import Records
from kvlab.study.settings import Setting

SUITES = ("libero_spatial", "libero_10")
NO_REUSE = Setting("none")
PRIMARY = (
    "full when vision >= 0.985",  # the February report's threshold
    "full when vision >= 0.98",
    "prefix when vision >= 0.945",  # about every second replan
    "full when every(2)",
    "prefix when every(2)",
    "full when vision >= 0.98 & state >= 0.98",  # the report's synchronized gate
    "none steps=2",
    "none steps=2 execute=10",
    "chunk when every(2)",
)


def primary(records: Mapping[str, Records], confidence: float = 0.95) -> pd.DataFrame:
    """The declared comparisons, one row each; `records` by suite, with any further settings in them.

    Index: `suite`, `setting` (text). Columns: `lost`, `won`, `n`; `difference`, an Interval (Tango); `p`; `p_holm`;
    `margin`, the verdict of `margins.loss`. A comparison that is not recorded yet has missing values, but takes its
    place in the family with p = 1, so that recording it later makes no other p-value larger.
    """
    rows = {(suite, text): _compared(records.get(suite), text, confidence) for suite in SUITES for text in PRIMARY}
    index = pd.MultiIndex.from_tuples(rows, names=["suite", "setting"])
    table = pd.DataFrame([*rows.values()], index, ["lost", "won", "n", "difference", "p", "margin"])
    table["p_holm"] = holm(table["p"].astype(float).fillna(1.0)).where(table["p"].notna())
    return table


def _compared(records: Records | None, text: str, confidence: float) -> dict:
    settings = {} if records is None else {str(setting): setting for setting in recorded(records)}
    if text not in settings:
        return {"p": float("nan")}
    counts = pairs(records, settings[text], NO_REUSE)
    difference = paired_difference(counts, confidence)
    found = {"lost": counts.control_only, "won": counts.setting_only, "n": counts.n, "difference": difference}
    return found | {"p": mcnemar_p(counts), "margin": loss(difference, MARGIN)}
