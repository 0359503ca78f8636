"""Verdicts on explanations: the rule on intervals that can be seen to lie where they lie, and who makes them."""

import numpy as np
import pandas as pd
import pytest

from kvlab.evidence import control_steps, verdicts, wording
from kvlab.evidence.stats import Interval, Pairs, paired_difference
from kvlab.evidence.verdicts import IN_PART, MIXED, NOT_SHOWN, REFUTED, SUPPORTED, Prediction, verdict


def between(low: float, high: float, **rule) -> Prediction:
    return Prediction(Interval((low + high) / 2, low, high, 0.95, "made up"), **{"side": -1} | rule)


@pytest.mark.parametrize(
    ("prediction", "holds", "fails"),
    [
        (between(-0.5, -0.1), True, False),
        (between(-0.5, 0.0), False, False),  # nothing is in the interval
        (between(-0.2, 0.1), False, False),
        (between(0.1, 0.5), False, True),  # the other way round
        (between(-0.001, 0.5), False, False),  # an effect as small as that is left
        (between(-0.05, -0.01), True, False),  # small, and yet there
        (between(1.2, 1.5, side=1, nothing=1.0), True, False),
        (between(0.9, 1.5, side=1, nothing=1.0), False, False),
        (between(0.5, 0.9, side=1, nothing=1.0), False, True),
    ],
)
def test_a_prediction_holds_or_fails_only_by_its_whole_interval(prediction, holds, fails):
    assert (prediction.holds, prediction.fails) == (holds, fails)


def test_all_must_hold_to_support_and_all_fail_to_refute():
    holds, open_, fails = between(-0.5, -0.1), between(-0.5, 0.1), between(0.1, 0.5)
    assert verdict({"a": holds, "b": holds}) == SUPPORTED
    assert verdict({"a": holds, "b": open_}) == verdict({"a": open_}) == NOT_SHOWN
    assert verdict({"a": holds, "b": open_, "c": fails}) == MIXED
    assert verdict({"a": open_, "b": fails}) == IN_PART
    assert verdict({"a": fails, "b": fails}) == REFUTED
    with pytest.raises(ValueError, match="without predictions"):
        verdict({})


def test_what_is_left_is_the_largest_predicted_effect_of_the_interval():
    assert between(-0.5, 0.1).left == 0.5 and between(0.1, 0.5).left == -0.1
    assert between(0.9, 1.5, side=1, nothing=1.0).left == 0.5


def test_how_many_more_episodes_would_decide_follows_from_the_distance_to_nothing():
    assert between(-0.3, 0.1).more == pytest.approx(4)  # twice as wide as far
    assert between(0.8, 1.0, side=1, nothing=1.0).more == pytest.approx(1)  # its end is at nothing
    assert between(-0.1, 0.1).more == float("inf")


def test_a_bare_difference_decides_nothing():
    """Three lost episodes and none won: 30 points fewer, and yet not beyond chance with ten pairs."""
    few = verdicts.fewer({"worse": Pairs(both=7, setting_only=0, control_only=3, neither=0)})
    assert few["worse"].effect.estimate == pytest.approx(-0.3) and verdict(few) == NOT_SHOWN
    many = verdicts.fewer({"worse": Pairs(both=70, setting_only=0, control_only=30, neither=0)})
    assert verdict(many) == SUPPORTED
    same = verdicts.fewer({"worse": Pairs(both=100, setting_only=0, control_only=0, neither=0)})
    assert verdict(same) == NOT_SHOWN
    assert same["worse"].left == pytest.approx(0.037, abs=0.001)  # Tango's z^2 / (n + z^2)


def test_predictions_that_are_judged_together_share_the_error():
    pairs = Pairs(both=80, setting_only=5, control_only=15, neither=0)
    assert verdict(verdicts.fewer({"a": pairs})) == SUPPORTED
    four = verdicts.fewer(dict.fromkeys("abcd", pairs))
    assert four["a"].effect == paired_difference(pairs, 0.9875) and verdict(four) == NOT_SHOWN
    values = dict.fromkeys("abcd", pd.Series([1.0, 2.0, 4.0]))
    assert verdicts.above_one(values)["a"].effect == control_steps.mean_ratio(values["a"], 0.9875)
    assert verdicts.above_zero(values)["a"].effect == control_steps.mean(values["a"], 0.9875)


def test_means_above_and_below_zero():
    around = np.linspace(-0.01, 0.01, 10)
    assert verdict(verdicts.above_zero({"a": pd.Series(0.02 + around)})) == SUPPORTED
    assert verdict(verdicts.above_zero({"a": pd.Series(around)})) == NOT_SHOWN
    assert verdict(verdicts.above_zero({"a": pd.Series(around - 0.05)})) == REFUTED


def test_ratios_above_and_below_one():
    around = np.exp(np.linspace(-0.1, 0.1, 10))
    high, low, unclear = (pd.Series(middle * around) for middle in (1.5, 0.6, 1.0))
    assert verdict(verdicts.above_one({"a": high})) == SUPPORTED
    assert verdict(verdicts.above_one({"a": high, "b": low})) == MIXED
    assert verdict(verdicts.above_one({"a": low})) == REFUTED
    assert verdict(verdicts.above_one({"a": high, "b": unclear})) == NOT_SHOWN
    assert verdict(verdicts.below({"a": low})) == SUPPORTED
    assert verdict(verdicts.below({"a": low, "b": high})) == MIXED
    assert verdict(verdicts.below({"a": unclear})) == NOT_SHOWN
    assert verdict(verdicts.below({"a": unclear}, limit=1.2)) == SUPPORTED


def test_values_that_are_larger_than_those_of_other_episodes():
    around = pd.Series(np.linspace(-0.1, 0.1, 10))
    assert verdict(verdicts.larger({"a": (1 + around, around[:5])})) == SUPPORTED
    assert verdict(verdicts.larger({"a": (around, 1 + around)})) == REFUTED
    assert verdict(verdicts.larger({"a": (around, around)})) == NOT_SHOWN


def test_the_table_says_effect_and_outcome():
    shown = verdicts.table({"a": between(-0.5, -0.1), "b": between(-0.5, 0.1), "c": between(0.1, 0.5)})
    assert list(shown.prediction) == ["holds", "open", "fails"]
    assert shown.effect["a"] == "-30 (-50 to -10)" and list(shown.index) == ["a", "b", "c"]
    ratios = verdicts.table({"a": between(1.5, 2.5, side=1, nothing=1.0)}, wording.ratio)
    assert ratios.effect["a"] == "2.00 (1.50 to 2.50)"
