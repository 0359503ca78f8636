"""What to take: settings of a policy held against a time budget and a margin of success, the cheaper levers first."""

import pandas as pd

from kvlab.evidence.cost import cost
from kvlab.evidence.margins import INSIDE, UNDECIDED, loss
from kvlab.evidence.rows import pairs, recorded
from kvlab.evidence.share import reuse_share
from kvlab.evidence.stats import episodes_inside, paired_difference
from kvlab.study.records import Records
from kvlab.study.settings import Setting
from kvlab.study.times import Latency

COLUMNS = ["ms", "fits", "reuse", "difference", "loss", "differ", "n", "needed"]


def judge(
    records: Records, control: Setting, times: Latency, budget_ms: float, margin: float, confidence: float = 0.95
) -> pd.DataFrame:
    """One row per recorded setting, the cheapest first.

    `ms` of inference per control step; `fits`, whether that is within `budget_ms`; `reuse`, the share of replans that
    reuse. Missing in the row of no reuse (`control`): `difference`, paired (Interval); `loss`, its verdict by
    `margins.loss`; `differ` of `n` episodes that end differently; `needed`, how many would exclude the loss.
    ValueError as in `rows.pairs` and `cost.cost`.
    """
    found = {}
    for setting in recorded(records):
        ms = cost(setting, records, times)
        row = {"ms": ms, "fits": ms <= budget_ms, "reuse": reuse_share(records, setting)}
        if setting != control:
            counts = pairs(records, setting, control)
            lost, differ = paired_difference(counts, confidence), counts.setting_only + counts.control_only
            row |= {"difference": lost, "loss": loss(lost, margin), "differ": differ, "n": counts.n}
            row["needed"] = needed(differ, counts.n, margin, confidence)
        found[setting] = row
    table = pd.DataFrame([*found.values()], pd.Index(found, tupleize_cols=False, name="setting"), COLUMNS)
    return table.astype(dict.fromkeys(COLUMNS[-3:], "Int64")).sort_values("ms", kind="stable")


def needed(differ: int, n: int, margin: float, confidence: float = 0.95) -> int:
    """How many pairs exclude a loss of `margin`, at the share of pairs that ended differently, `differ` of `n`.

    For a setting as good as no reuse, with a chance of 0.8. Where none differed one is taken to, as none may be luck.
    """
    return episodes_inside(margin, max(differ, 1) / n, confidence=confidence)


def choice(judged: pd.DataFrame) -> tuple[str, list[Setting]]:
    """The first step of the ladder that `judged` reaches, and the settings there, what comes first in question first.

    `enough`: no reuse fits. `lever`, `reuse`: those that fit and are inside the margin, without reuse first, and of
    these the cheapest first. `undecided`: of those that fit first what may lose least. `outside`: what fits loses more,
    so there is none. `nothing` fits: the cheapest.
    """
    fits = judged[judged.fits]
    if len(enough := fits.index[fits.loss.isna()]):
        return "enough", [*enough]
    inside, undecided = (fits.index[fits.loss == verdict] for verdict in (INSIDE, UNDECIDED))
    if without := [setting for setting in inside if setting.mode == "none"]:
        return "lever", without
    if len(inside):
        return "reuse", [*inside]
    if len(undecided):
        return "undecided", sorted(undecided, key=lambda setting: -fits.difference[setting].low)
    return ("outside", []) if len(fits) else ("nothing", [judged.index[0]])
