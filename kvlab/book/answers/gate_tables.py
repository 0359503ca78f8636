"""The tables of *Synchronized gating*, out of `matching.matched` of each suite."""

from collections.abc import Mapping, Sequence

import pandas as pd

from kvlab.book import tables, text
from kvlab.book.answers.gate_kinds import BEFORE, in_both, kind
from kvlab.evidence import drift, summary
from kvlab.evidence.rows import recorded
from kvlab.evidence.wording import points
from kvlab.study.records import Records
from kvlab.study.settings import Setting


def gates(gained: Mapping[str, pd.DataFrame], records: Mapping[str, Records]) -> pd.DataFrame:
    """Every gate: share of replans that reuse, successes, points compared with the image gate at equal reuse."""
    rows = []
    for suite, table in gained.items():
        for setting, row in table.iterrows():
            success = summary.successes(records[suite], setting)
            cells = {"suite": suite, "gate": tables.gate(setting)}
            cells |= {"replans that reuse": text.percent(row.reuse), "successes": f"{success.sum()} of {len(success)}"}
            rows.append(cells | {"points at equal reuse": points(row.gain) or "no image gate reuses so often"})
    return pd.DataFrame(rows).set_index("suite").rename_axis(index=None, columns="suite")


def thresholds(same: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """`synchronized_gating.stricter` by suite: successes and shares of both gates, points, and what refused reuse."""
    rows, refused = [], {"state_anchor": "refused by state", "vision_anchor": "by images", "several": "by both"}
    for suite, table in same.items():
        for _, row in table.iterrows():
            cells = {"suite": suite, "gate": tables.gate(row.images)}
            cells["images alone"] = f"{row.images_k} ({text.percent(row.images_reuse)})"
            cells["with robot state"] = f"{row.k} ({text.percent(row.reuse)})"
            cells["points"] = points(row.difference)
            rows.append(cells | {words: text.percent(row[name]) for name, words in refused.items()})
    return (
        pd.DataFrame(rows, columns=["suite", "gate", "images alone", "with robot state", "points", *refused.values()])
        .set_index("suite")
        .rename_axis(index=None, columns="suite")
    )


def counted(gained: Mapping[str, pd.DataFrame], needed: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Every gate in the second count of reuse, and what both counts show together."""
    rows = [
        {"suite": suite, "gate": tables.gate(setting), "reuse": text.percent(table.reuse[setting])}
        | {"points at equal reuse": points(gain) or "no image gate reuses so often"}
        | {"in both counts": in_both(gained[suite].gain[setting], gain)}
        for suite, table in needed.items()
        for setting, gain in table.gain.items()
    ]
    columns = ["suite", "gate", "reuse", "points at equal reuse", "in both counts"]
    return pd.DataFrame(rows, columns=columns).set_index("suite").rename_axis(index=None, columns="suite")


def references(records: Records, settings: Sequence[Setting]) -> pd.DataFrame:
    """Of `settings` the gates on images of the replan before, each below the one on the last computed replan.

    How often they reuse and how old their caches get; no row where one of the two is not recorded.
    """
    known = recorded(records)
    before = [(Setting(s.mode, s.gate.replace("@previous", "")), s) for s in settings if kind(s) == BEFORE]
    both = [setting for pair in before if {*pair} <= {*known} for setting in pair]
    columns = ["gate", "replans that reuse", "successes", "mean age, replans", "oldest", "similarity, lowest 5 %"]
    rows = [
        (tables.gate(setting), text.percent(row.reuse), summary.successes(records, setting).sum())
        + (f"{row.age:.1f}", f"{row.oldest:.0f}", f"{row.vision:.2f}")
        for setting, row in (drift.kept(records, both).iterrows() if both else ())
    ]
    return pd.DataFrame(rows, columns=columns).set_index("gate").rename_axis(index=None, columns="gate")
