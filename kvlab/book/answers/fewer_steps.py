"""What *What to buy instead* says of why fewer denoising steps might cost little, out of data/mechanism/denoising.csv.

The predictions are those of `kvlab.evidence.denoising`.
"""

from collections.abc import Mapping

import pandas as pd

from kvlab.book import text
from kvlab.evidence import summary, verdicts, wording
from kvlab.evidence.rows import recorded
from kvlab.evidence.stats import Interval
from kvlab.evidence.verdicts import Prediction
from kvlab.study.records import Records
from kvlab.study.settings import Setting

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


def gains(records: Mapping[str, Records], confidence: float) -> dict[str, Interval]:
    """Success with 2 denoising steps minus that with 10, paired, of each suite where both are recorded."""
    few, full = Setting("none", denoising_steps=FEW[-1]), Setting("none")
    return {
        suite: summary.difference(rows, few, full, confidence)
        for suite, rows in records.items()
        if {few, full} <= {*recorded(rows)}
    }


def headline(explained: Explained) -> str:
    """The title of the figure."""
    spread, error = (verdicts.verdict(explained[name]) for name in (SPREAD, NEARER))
    if spread != verdicts.SUPPORTED:
        return "Fewer steps do not always make chunks depend less on the noise"
    nearer = "and nearer to" if error == verdicts.SUPPORTED else "but not always nearer to"
    return f"Fewer steps: chunks that depend less on the noise, {nearer} demonstrations"


def said(explained: Explained, gained: Mapping[str, Interval]) -> list[str]:
    """What was predicted, what came out, and whether the reason is known. Effects are those of 2 steps."""
    found = {name: verdicts.verdict(predictions) for name, predictions in explained.items()}
    leads = {
        SPREAD: ("Chunks of fewer steps depend less on the noise", "the spread over the noise"),
        MEAN: ("Their mean is as near to the demonstrations", "the error of the mean"),
        NEARER: ("A single chunk is nearer to them", "the error of one chunk"),
    }
    claims = [
        f"**{lead}: {found[name]}.** {_effects(explained[name], measure)}" for name, (lead, measure) in leads.items()
    ]
    *_, last = explained[REASON].values()
    came = "".join(
        f"In `{suite}` episodes with two steps have {text.difference(gain, 'with ten')}. "
        for suite, gain in gained.items()
    )
    return [
        *claims,
        f"**Where more is solved, the spread falls further: {found[REASON]}.** {came}From ten steps to two, the "
        f"fall of the spread in `{RISES}` minus that in `{STAYS}` is {fall(last.effect)} standard deviations of the "
        "actions. "
        f"{_conclusion(found)}",
    ]


def _effects(predictions: Mapping[str, Prediction], measure: str) -> str:
    """The effect of the larger number of few steps in each suite."""
    effects = {says.split(":")[0]: wording.ratio(one.effect) for says, one in predictions.items()}
    each = "; ".join(f"{effect} in `{suite}`" for suite, effect in effects.items())
    held = sum(one.holds for one in predictions.values())
    missed = [
        f"{says.split(':')[0]}, {says.split(', ')[-1].removesuffix(f' over {FULL}')}: {wording.ratio(one.effect)}"
        for says, one in predictions.items()
        if not one.holds
    ]
    return (
        f"Relative to ten steps, {measure} with two is {each}. With one or two steps, {held} of "
        f"{text.count(len(predictions), 'prediction')} hold{'s' * (held == 1)}"
        f"{'; not '.join(['', *missed])}."
    )


def _conclusion(found: Mapping[str, str]) -> str:
    if all(verdict == verdicts.SUPPORTED for verdict in found.values()):
        return "All predictions came out, so that spread may be the reason."
    return "Not all predictions came out: the reason is open."
