"""Verdicts on explanations, by one rule: what an explanation predicts, with the interval of what was measured.

An explanation is put as predictions, effects that must lie on one side of nothing if it is right. Predictions that are
judged together share the error: each interval has confidence 1 - (1 - confidence) / m for m of them (Bonferroni), so
that all of them hold their true values together in `confidence` of studies. A sentence prints `Prediction.effect`, the
interval that stands in the table, and never one computed again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf

import pandas as pd

from kvlab.evidence import wording
from kvlab.evidence.control_steps import mean, mean_difference, mean_ratio
from kvlab.evidence.stats import Interval, Pairs, paired_difference

SUPPORTED, REFUTED, IN_PART = "supported", "refuted", "refuted in part"
MIXED, NOT_SHOWN = "supported in part and refuted in part", "not shown"


@dataclass(frozen=True)
class Prediction:
    """An effect and the side of `nothing` on which an explanation puts it: `side` 1 is above, -1 below."""

    effect: Interval
    side: int
    nothing: float = 0.0

    @property
    def holds(self) -> bool:
        """The whole interval is on the predicted side."""
        return self._ends[0] > 0

    @property
    def fails(self) -> bool:
        """The whole interval is on the other side: no predicted effect, however small, is in it."""
        return self.left < 0

    @property
    def left(self) -> float:
        """The largest predicted effect that the interval leaves, in the effect's unit; below 0 where it leaves none."""
        return self._ends[1]

    @property
    def more(self) -> float:
        """How many times as many episodes would decide, were the effect what it now seems; inf where it is nothing.

        An interval narrows with the root of their number.
        """
        half, apart = (self.effect.high - self.effect.low) / 2, abs(self.effect.estimate - self.nothing)
        return (half / apart) ** 2 if apart else inf

    @property
    def _ends(self) -> tuple[float, float]:
        """How far the interval's ends lie on the predicted side, the nearer first."""
        low, high = sorted(self.side * (end - self.nothing) for end in (self.effect.low, self.effect.high))
        return low, high


def verdict(predictions: Mapping[str, Prediction]) -> str:
    """By how its predictions came out. ValueError: no prediction.

    SUPPORTED, every one holds; REFUTED, every one fails; IN_PART, some fail and none holds; MIXED, some fail and some
    hold; NOT_SHOWN, none fails, and not all hold.
    """
    if not predictions:
        raise ValueError("an explanation without predictions cannot be judged; state at least one")
    held, failed = ([getattr(p, kind) for p in predictions.values()] for kind in ("holds", "fails"))
    if all(held) or all(failed):
        return SUPPORTED if all(held) else REFUTED
    return NOT_SHOWN if not any(failed) else MIXED if any(held) else IN_PART


def fewer(pairs: Mapping[str, Pairs], confidence: float = 0.95) -> dict[str, Prediction]:
    """The prediction that a setting succeeds less often than the other, for each pair, by Tango's interval."""
    each = _each(confidence, len(pairs))
    return {says: Prediction(paired_difference(counts, each), side=-1) for says, counts in pairs.items()}


def above_one(ratios: Mapping[str, pd.Series], confidence: float = 0.95) -> dict[str, Prediction]:
    """The prediction that a ratio is above 1, for each series of ratios, one an episode (see `mean_ratio`)."""
    each = _each(confidence, len(ratios))
    return {says: Prediction(mean_ratio(values, each), side=1, nothing=1.0) for says, values in ratios.items()}


def below(ratios: Mapping[str, pd.Series], limit: float = 1.0, confidence: float = 0.95) -> dict[str, Prediction]:
    """The prediction that a ratio is below `limit`, for each series of ratios, one an episode (see `mean_ratio`)."""
    each = _each(confidence, len(ratios))
    return {says: Prediction(mean_ratio(values, each), side=-1, nothing=limit) for says, values in ratios.items()}


def larger(samples: Mapping[str, tuple[pd.Series, pd.Series]], confidence: float = 0.95) -> dict[str, Prediction]:
    """The prediction that values are larger than others of other episodes, in the mean, for each pair (Welch)."""
    each = _each(confidence, len(samples))
    return {says: Prediction(mean_difference(*pair, each), side=1) for says, pair in samples.items()}


def above_zero(values: Mapping[str, pd.Series], confidence: float = 0.95) -> dict[str, Prediction]:
    """The prediction that a mean over episodes is above 0, for each series of values, one an episode (Student)."""
    each = _each(confidence, len(values))
    return {says: Prediction(mean(one, each), side=1) for says, one in values.items()}


def _each(confidence: float, many: int) -> float:
    return 1 - (1 - confidence) / max(many, 1)


def table(predictions: Mapping[str, Prediction], shown: Callable[[Interval], str] = wording.points) -> pd.DataFrame:
    """One row per prediction: its effect as `shown` writes it, and whether the prediction holds, fails or is open."""
    rows = {
        says: [shown(p.effect), "holds" if p.holds else "fails" if p.fails else "open"]
        for says, p in predictions.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=["effect", "prediction"]).rename_axis("predicted")


def tables(
    explained: Mapping[str, Mapping[str, Prediction]], shown: Mapping[str, Callable[[Interval], str]]
) -> pd.DataFrame:
    """`table` of each explanation, under its name and the verdict on it; `shown` by name, where no effect is a rate."""
    found = {
        f"{name}: {verdict(predictions)}": table(predictions, shown.get(name, wording.points))
        for name, predictions in explained.items()
    }
    return pd.concat(found).rename_axis(index=[None, None], columns="explanation and prediction")
