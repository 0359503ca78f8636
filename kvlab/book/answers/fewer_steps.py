"""What *What to buy instead* says of why fewer denoising steps might cost little, out of data/mechanism/denoising.csv.

The predictions are those of `kvlab.evidence.denoising`.
"""

from collections.abc import Mapping

import pandas as pd

from kvlab.book import text
from kvlab.evidence import verdicts, wording
from kvlab.evidence.stats import Interval
from kvlab.evidence.verdicts import Prediction

FEW, FULL = (1, 2), 10  # denoising steps
RISES, STAYS = "libero_10", "libero_spatial"  # success with few steps, by the first seed
MARGIN = 0.05
SPREAD, MEAN, NEARER, REASON = (
    "less spread", "mean as near", "one chunk nearer", "the spread falls further where more is solved",
)  # fmt: skip
MEASURES = {"error": "error of one chunk", "bias": "error of the mean", "spread": "spread over the noise"}
Explained = Mapping[str, Mapping[str, Prediction]]


def executed(rows: pd.DataFrame, measure: str) -> pd.DataFrame:
    """A measure of the executed actions by suite and demonstration (rows) and number of steps (columns)."""
    rows = rows[rows["actions"] == "executed"]
    return rows.pivot(index=["suite", "task", "initial_state"], columns="steps", values=measure)


def explanations(rows: pd.DataFrame, confidence: float = 0.95) -> Explained:
    """The predictions with what was measured; those under one name share the error."""

    def over_full(measure: str) -> dict[str, pd.Series]:
        """Of each suite, few steps over ten, one ratio a demonstration."""
        return {
            f"{suite}: {MEASURES[measure]}, {text.count(few, 'step')} over {FULL}": one[few] / one[FULL]
            for suite, one in executed(rows, measure).groupby(level="suite", sort=False)
            for few in FEW
        }

    spread = executed(rows, "spread")
    falls = {
        f"{text.count(few, 'step')}: how much further the spread falls in {RISES}": spread[FULL] - spread[few]
        for few in FEW
    }
    further = {says: (each.loc[RISES], each.loc[STAYS]) for says, each in falls.items()}
    return {
        SPREAD: verdicts.below(over_full("spread"), confidence=confidence),
        MEAN: verdicts.below(over_full("bias"), 1 + MARGIN, confidence),
        NEARER: verdicts.below(over_full("error"), confidence=confidence),
        REASON: verdicts.larger(further, confidence),
    }


def fall(interval: Interval) -> str:
    """A difference of spreads with its interval: `0.021 (0.013 to 0.029)`."""
    return f"{interval.estimate:z.3f} ({interval.low:z.3f} to {interval.high:z.3f})"


SHOWN = {SPREAD: wording.ratio, MEAN: wording.ratio, NEARER: wording.ratio, REASON: fall}


def table(explained: Explained) -> pd.DataFrame:
    """One row per prediction, under what it is part of and the verdict on that."""
    return verdicts.tables(explained, SHOWN)


def headline(explained: Explained) -> str:
    """The title of the figure."""
    spread, error = (verdicts.verdict(explained[name]) for name in (SPREAD, NEARER))
    if spread != verdicts.SUPPORTED:
        return "Fewer steps do not always make chunks depend less on the noise"
    nearer = "and nearer to" if error == verdicts.SUPPORTED else "but not always nearer to"
    return f"Fewer steps: chunks that depend less on the noise, {nearer} demonstrations"


def said(explained: Explained) -> str:
    """Whether the reason is known, and the verdict on each prediction; the effects stand in `table`."""
    found: dict[str, list[str]] = {}
    for name, predictions in explained.items():
        found.setdefault(verdicts.verdict(predictions), []).append(name)
    lead = (
        "All predictions came out, so that spread may be the reason"
        if [*found] == [verdicts.SUPPORTED]
        else "Not all predictions came out: the reason is open"
    )
    told = [f"{verdict.capitalize()}: {'; '.join(names)}." for verdict, names in found.items()]
    return " ".join([f"**{lead}.**", *told])
