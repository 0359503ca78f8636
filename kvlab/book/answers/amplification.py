"""Does denoising amplify? What *Why reuse fails* says of what each denoising step adds to a difference."""

from collections.abc import Mapping
from math import exp

import pandas as pd

from kvlab.book import tables, text
from kvlab.evidence import mechanism, verdicts, wording
from kvlab.evidence.stats import Interval
from kvlab.evidence.verdicts import Prediction

STEPS = 10  # denoising steps of the distances in data/mechanism
Predictions = Mapping[str, Prediction]
KEPT = {"full": "everything kept", "prefix": "images and instruction kept"}


def predictions(curves: pd.DataFrame, confidence: float = 0.95) -> Predictions:
    """That each denoising step adds more than the one before, for each mode of `curves` (as in data/mechanism)."""
    rates = mechanism.forced_growth(young(curves)).set_index("episode").groupby("mode")["rate"]
    return verdicts.above_zero({f"{mode}: L above 0": rates.get_group(mode) for mode in ("full", "prefix")}, confidence)


def young(curves: pd.DataFrame) -> pd.DataFrame:
    """Of `curves` those with a cache that is one replan old, over all replans and actions."""
    return curves[(curves[["age", "phase", "group"]] == [1, "any", "all"]).all(axis=1)]


def added_late(near: pd.DataFrame, confidence: float = 0.95) -> dict[str, Interval]:
    """How many times what the first half of the denoising steps adds the later half adds, by mode; of `young`."""
    steps = near.filter(like="step_").set_axis(near["mode"])
    first = steps.iloc[:, steps.shape[1] // 2 - 1]
    added = (steps.iloc[:, -1] - first) / first
    return {mode: verdicts.mean_ratio(added[mode], confidence) for mode in ("full", "prefix")}


def fitted_late(predicted: Predictions, half: int) -> dict[str, Interval]:
    """What growth at the fitted rates of `predictions` makes of `added_late`, over `half` of the steps, by mode."""
    rates = {says.split(":")[0]: one.effect for says, one in predicted.items()}
    return {
        mode: Interval(*(exp(half * end) for end in (r.estimate, r.low, r.high)), r.confidence, r.method)
        for mode, r in rates.items()
    }


def headline(predicted: Predictions, added: Mapping[str, Interval]) -> str:
    """The title of the figure of distances by denoising step; `added` is of `added_late`."""
    grows = {verdicts.SUPPORTED: "more than", verdicts.REFUTED: "less than"}
    if found := grows.get(verdicts.verdict(predicted)):
        return f"Each denoising step adds {found} the first"
    if more := _later_add_more(added):
        return f"{more[0].upper()}{more[1:]}"
    return "That the later half of the denoising steps adds more is not shown"


def finding(predicted: Predictions, added: Mapping[str, Interval]) -> str:
    """What the chapter says of it, by the fitted rates and by `added_late`, which fits nothing."""
    mode, first = next(iter(predicted.items()))
    verdict, more = verdicts.verdict(predicted), _later_add_more(added)
    lead = f"{verdict}; but {more}" if more and verdict != verdicts.SUPPORTED else verdict
    ratio = added[mode := mode.split(":")[0]]
    return (
        f"**Amplification at one exponential rate: {lead}.** With {KEPT[mode]}, what a denoising step adds grows by a "
        f"rate of {rate(first.effect)} in each later one. The later half of the steps adds {wording.ratio(ratio)} "
        "times what the first adds."
    )


def halves(predicted: Predictions, added: Mapping[str, Interval]) -> pd.DataFrame:
    """By what is kept: `added` (of `added_late`), which fits nothing, and what growth at the fitted rate would make it.

    The rates are those of `predicted`. It fits where the two intervals meet.
    """
    fitted = fitted_late(predicted, STEPS // 2)
    found = []
    for mode, ratio in added.items():
        fits = "does not fit" if fitted[mode].high < ratio.low else "not ruled out"
        for how, times, word in (("measured", ratio, ""), ("by the fitted rate", fitted[mode], fits)):
            row = {"kept": KEPT[mode], "later half": how, "times the first": wording.ratio(times)}
            found.append(row | {"one rate": word})
    return tables.headed(found)


def rate(interval: Interval) -> str:
    """A rate per denoising step with its interval: `0.006 (-0.003 to 0.015)`."""
    return f"{interval.estimate:z.3f} ({interval.low:z.3f} to {interval.high:z.3f})"


def _later_add_more(added: Mapping[str, Interval]) -> str:
    """That the later half of the steps adds more, and with what kept if not with all; empty where with nothing."""
    modes = [KEPT[mode] for mode, ratio in added.items() if ratio.low > 1]
    some = f" with {text.listed(modes)}" if len(modes) < len(added) else ""
    return f"the later half of the denoising steps adds more than the first half{some}" if modes else ""
