"""What a pilot of a few episodes would have said of settings that were run on many."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from kvlab.evidence.rows import check_shared, successes
from kvlab.evidence.stats import Pairs, pair, paired_difference, pilot_ranking
from kvlab.evidence.summary import first
from kvlab.study.records import Records
from kvlab.study.settings import Setting

SAID = {1: "right", 0: "level", -1: "wrong"}


def rankings(
    records: Records, settings: Sequence[Setting], sizes: Sequence[int], confidence: float = 0.95
) -> pd.DataFrame:
    """Every two settings that differ in successes, by pilots of each of `sizes` episodes: one row per pair and size.

    Index: `better` and `worse` by all episodes, and `episodes`, the pilot's. Columns: `points`, their difference in
    percent; `lucky`, the share of episodes that the worse setting alone solves; `decided`, whether all episodes tell
    them apart, as their paired interval lies beside 0 (Tango; the intervals of all pairs hold together at
    `confidence`); `right`, `level` and `wrong`, the chances in [0, 1] of what a pilot drawn at random says (exact,
    `pilot_ranking`); `first`, which of the three the first episodes by the studies' rule said.

    ValueError: fewer than two settings, settings on different episodes, no size, a pilot larger than the study.
    """
    if len(settings) < 2 or not sizes:
        raise ValueError(
            f"a ranking needs at least two settings and a pilot's size, got {[*map(str, settings)]} and {[*sizes]}"
        )
    check_shared(records, settings)
    found = {setting: successes(records, setting) for setting in settings}
    ordered = sorted(
        settings, key=lambda setting: -found[setting].sum()
    )  # stable: settings that are level stay as they were given
    pairs = {two: pair(found[two[0]], found[two[1]]) for two in combinations(ordered, 2)}
    each = 1 - (1 - confidence) / len(pairs)
    pilots = {size: {a: successes(first(records, size), a).sum() for a in settings} for size in sizes}
    rows = [
        {
            "better": better,
            "worse": worse,
            "episodes": size,
            "points": 100 * counts.difference,
            "decided": 0 not in paired_difference(counts, each),
        }
        | {"lucky": counts.control_only / counts.n, **_chances(counts, size)}
        | {"first": SAID[np.sign(pilots[size][better] - pilots[size][worse])]}
        for (better, worse), counts in pairs.items()
        if counts.difference
        for size in sizes
    ]
    if not rows:
        raise ValueError("all settings have the same successes: there is no order that a pilot could find")
    return pd.DataFrame(rows).set_index(["better", "worse", "episodes"])


def _chances(counts: Pairs, size: int) -> dict[str, float]:
    chances = pilot_ranking(counts, size)
    return {"right": chances.ahead, "level": chances.level, "wrong": chances.behind}


def of_pilots(ranked: pd.DataFrame) -> pd.DataFrame:
    """Means over the pairs of `rankings`, by whether all episodes decide them and by the pilot's size.

    Columns: `pairs`, their number; `right`, `level`, `wrong`, mean chances of a random pilot; `first right`, `first
    level`, `first wrong`, on how many pairs the first episodes said so.
    """
    groups = ranked.groupby(["decided", "episodes"])
    table = groups[["right", "level", "wrong"]].mean()
    table.insert(0, "pairs", groups.size())
    for word in SAID.values():
        table[f"first {word}"] = groups["first"].agg(lambda said, word=word: (said == word).sum())
    return table
