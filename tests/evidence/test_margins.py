"""Inside, outside, undecided: by where the whole interval lies."""

import pytest

from kvlab.evidence import margins, wording
from kvlab.evidence.margins import INSIDE, OUTSIDE, UNDECIDED
from kvlab.evidence.stats import Interval, Pairs, paired_difference


def between(low: float, high: float) -> Interval:
    return Interval((low + high) / 2, low, high, 0.95, "made up")


@pytest.mark.parametrize(
    ("low", "high", "apart", "loss"),
    [
        (-0.05, 0.05, INSIDE, INSIDE),
        (-0.12, 0.02, UNDECIDED, UNDECIDED),
        (-0.02, 0.12, UNDECIDED, INSIDE),  # a gain is no loss
        (0.11, 0.30, OUTSIDE, INSIDE),
        (-0.30, -0.11, OUTSIDE, OUTSIDE),
        (-0.08, -0.02, INSIDE, INSIDE),  # a loss for sure, and a small one
        (-0.10, 0.0, UNDECIDED, UNDECIDED),  # the margin itself is not inside
    ],
)
def test_the_word_follows_the_whole_interval(low, high, apart, loss):
    assert margins.apart(between(low, high), 0.1) == apart
    assert margins.loss(between(low, high), 0.1) == loss


def test_the_words_name_the_margin_or_the_bound():
    assert margins.loss_words(between(-0.054, 0.03)) == "the loss, if any, is under 6 points"
    assert margins.loss_words(between(-0.008, 0.1)) == "the loss, if any, is under 1 point"
    assert margins.loss_words(between(0.0, 0.2)) == "no loss is shown"
    assert margins.loss_words(between(-0.09, 0.03), 0.05) == "whether it loses over 5 points is open"
    assert margins.loss_words(between(-0.13, -0.01), 0.05) == "1 to 13 points are lost; whether more than 5 is open"
    assert margins.loss_words(between(-0.04, -0.01), 0.05) == "the loss is under 4 points"
    assert margins.loss_words(between(-0.5, -0.2)) == "the loss is over 10 points"
    assert margins.apart_words(between(-0.05, 0.05)) == "they differ by less than 10 points"
    assert margins.apart_words(between(-0.05, 0.15)) == "whether they differ by 10 points is not decided"


@pytest.mark.parametrize(
    ("low", "high", "printed"),
    [
        (-0.049, 0.049, "0 (-4.9 to 4.9)"),  # under 5 points
        (-0.053, 0.051, "0 (-5.3 to 5.1)"),  # open
        (-0.5, -0.1004, "-30 (-50 to -10.04)"),
        (-0.123, 0.003, "-6 (-12 to 0.3)"),  # a loss that is not shown
        (-0.1, 0.0, "-5 (-10 to 0)"),  # the margin itself
        (-0.043, 0.087, "2 (-4 to 9)"),
    ],
)
def test_what_is_printed_shows_on_which_side_of_a_margin_a_bound_lies(low, high, printed):
    assert wording.points(between(low, high)) == printed


def test_the_margin_may_be_another():
    assert wording.points(between(-0.078, 0.0)) == "-4 (-8 to 0)"
    assert wording.points(between(-0.078, 0.0), 0.08) == "-4 (-7.8 to 0)"
    assert margins.loss_words(between(-0.13, -0.003), 0.05) == "0.3 to 13 points are lost; whether more than 5 is open"


def test_a_hundred_equal_pairs_are_inside_five_points_and_thirty_are_not():
    assert margins.loss(paired_difference(Pairs(100, 0, 0, 0)), margins.BUY) == INSIDE
    assert margins.loss(paired_difference(Pairs(30, 0, 0, 0)), margins.BUY) == UNDECIDED


def test_a_margin_is_a_share():
    with pytest.raises(ValueError, match="margin = 10 must lie strictly between 0 and 1"):
        margins.loss(between(-0.1, 0.1), 10)


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (-0.04, 0.05, "under 5"),
        (-0.13, -0.06, "over 5"),
        (-0.06, 0.04, "open"),
        (-0.13, -0.01, "loses"),  # a loss for sure
        (-0.04, -0.01, "under 5"),
    ],
)
def test_a_table_says_the_verdict_with_its_margin(low, high, word):
    assert margins.word(between(low, high), 0.05) == word
